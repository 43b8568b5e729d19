package scheduling

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
)

// GetRsvp returns one answer.
func (s *server) GetRsvp(ctx context.Context, req *schedulingv1.GetRsvpRequest) (*schedulingv1.Rsvp, error) {
	parent, id, _ := strings.Cut(req.GetName(), "/rsvps/")
	session, err := aip.ParseName("name", "sessions", parent)
	if err != nil {
		return nil, err
	}
	membership, err := aip.ParseName("name", "rsvps", "rsvps/"+id)
	if err != nil {
		return nil, err
	}
	var row rsvpRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		args := ofRsvps(ctx)
		args["session"], args["membership"] = session, membership
		rows, err := tx.Query(ctx, `SELECT `+rsvpColumns+` FROM rsvps r JOIN sessions s ON s.id = r.session_id
			WHERE r.session_id = @session AND r.membership_id = @membership AND `+rsvpsOfCaller, args)
		if err != nil {
			return err
		}
		if row, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[rsvpRow]); err != nil {
			return err
		}
		return audit.Insert(ctx, tx, row.name())
	}); errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	} else if err != nil {
		return nil, fmt.Errorf("get rsvp: %w", err)
	}
	return row.toProto(), nil
}
