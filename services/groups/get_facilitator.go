package groups

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// GetFacilitator reads a facilitator.
func (s *server) GetFacilitator(ctx context.Context, req *groupsv1.GetFacilitatorRequest) (*groupsv1.Facilitator, error) {
	id, err := aip.ParseName("name", "facilitators", req.GetName())
	if err != nil {
		return nil, err
	}
	t := auth.TenantFrom(ctx)
	var r facilitatorRow
	args := pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All}
	b := s.db.Batch(ctx)
	b.Queue(selectFacilitator, args).QueryRow(r.scan)
	audit.QueueIf(ctx, b, req.GetName(), selectFacilitator, args)
	if err := s.db.Send(ctx, b); errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	} else if err != nil {
		return nil, fmt.Errorf("read facilitator: %w", err)
	}
	return r.toFullProto(s.keys)
}
