package scheduling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// ReadMemberCalendar returns what a secret calendar shows: the sessions of the groups in which its member takes part now.
func (s *server) ReadMemberCalendar(ctx context.Context, req *schedulingv1.ReadMemberCalendarRequest) (*schedulingv1.CalendarContents, error) {
	now := s.clock.Now()
	var out *schedulingv1.CalendarContents
	var groups []uuid.UUID
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+memberCalendarColumns+` FROM member_calendars WHERE secret_hash = $1`, secretHash(req.GetToken()))
		if err != nil {
			return fmt.Errorf("select calendar: %w", err)
		}
		row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[memberCalendarRow])
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.NotFound("calendars/-")
		}
		if err != nil {
			return fmt.Errorf("select calendar: %w", err)
		}
		rows, err = tx.Query(ctx, `SELECT DISTINCT group_id FROM attendees WHERE member_id = $1 AND active ORDER BY group_id`, row.MemberID)
		if err != nil {
			return fmt.Errorf("select groups: %w", err)
		}
		if groups, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
			return fmt.Errorf("select groups: %w", err)
		}
		if out, err = s.contents(ctx, tx, groups, now); err != nil {
			return err
		}
		out.Calendar = row.toProto()
		today := now.UTC().Truncate(24 * time.Hour)
		if row.ReadDay == nil || row.ReadDay.Before(today) {
			if _, err := tx.Exec(ctx, `UPDATE member_calendars SET read_day = $2 WHERE id = $1`, row.ID, today); err != nil {
				return fmt.Errorf("note that a calendar was read: %w", err)
			}
		}
		return audit.Insert(ctx, tx, row.name())
	})
	if err != nil {
		return nil, err
	}
	out.Groups, err = s.known(ctx, groups)
	return out, err
}

// known returns those of the groups that there still are, with what only their members may see.
func (s *server) known(ctx context.Context, ids []uuid.UUID) ([]*groupsv1.Group, error) {
	found := make([]*groupsv1.Group, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, id := range ids {
		g.Go(func() error {
			group, err := s.groups.GetGroup(auth.System(ctx, service), &groupsv1.GetGroupRequest{Name: aip.Name("groups", id)})
			if status.Code(err) == codes.NotFound {
				return nil
			}
			if err != nil {
				return fmt.Errorf("get group: %w", err)
			}
			found[i] = group
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(g *groupsv1.Group) bool { return g == nil }), nil
}
