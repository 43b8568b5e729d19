package scheduling

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/emptypb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// DeleteCalendar ends a calendar's link.
func (s *server) DeleteCalendar(ctx context.Context, req *schedulingv1.DeleteCalendarRequest) (*emptypb.Empty, error) {
	id, err := aip.ParseName("name", "calendars", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant, empty := auth.TenantFrom(ctx), &emptypb.Empty{}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		var member uuid.UUID
		err := tx.QueryRow(ctx, `DELETE FROM member_calendars WHERE id = @id AND (@all OR org_id = @org) RETURNING member_id`,
			pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}).Scan(&member)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !mayActFor(ctx, member) {
			return fault.NotFound(aip.Name("calendars", id))
		}
		if err != nil {
			return fmt.Errorf("delete calendar: %w", err)
		}
		if err := audit.Insert(ctx, tx, aip.Name("calendars", id)); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, empty)
	})
	if err != nil {
		return nil, err
	}
	return empty, nil
}
