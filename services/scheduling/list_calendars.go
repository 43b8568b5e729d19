package scheduling

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
)

// ListCalendars lists the calendars of a member; there are so few that they are one page.
func (s *server) ListCalendars(ctx context.Context, req *schedulingv1.ListCalendarsRequest) (*schedulingv1.ListCalendarsResponse, error) {
	member, err := aip.ParseName("parent", "members", req.GetParent())
	if err != nil {
		return nil, err
	}
	if req.GetPageToken() != "" {
		return nil, fault.Invalid(fault.Field("page_token", "is not one that was given: there is one page"))
	}
	resp := &schedulingv1.ListCalendarsResponse{}
	return resp, s.db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := orgOf(ctx, tx, member); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+memberCalendarColumns+` FROM member_calendars WHERE member_id = $1 ORDER BY id`, member)
		if err != nil {
			return fmt.Errorf("select calendars: %w", err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByName[memberCalendarRow])
		if err != nil {
			return fmt.Errorf("select calendars: %w", err)
		}
		for _, r := range list {
			resp.Calendars = append(resp.Calendars, r.toProto())
		}
		return audit.Insert(ctx, tx, "calendars/-")
	})
}
