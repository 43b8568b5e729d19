package scheduling

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
)

// ReadGroupCalendar returns what a group's calendar shows. Whether the caller's caller may see the group is for the caller to find out.
func (s *server) ReadGroupCalendar(ctx context.Context, req *schedulingv1.ReadGroupCalendarRequest) (*schedulingv1.CalendarContents, error) {
	id, err := aip.ParseName("group", "groups", req.GetGroup())
	if err != nil {
		return nil, err
	}
	var out *schedulingv1.CalendarContents
	err = s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		out, err = s.contents(ctx, tx, []uuid.UUID{id}, s.clock.Now())
		return err
	})
	return out, err
}
