package referral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

const selectBooking = `SELECT ` + bookingColumns + fromBookings + `WHERE b.id = @id AND b.answer_revision > 0 AND ` + visible

// GetBooking implements BookingsService.
func (s *server) GetBooking(ctx context.Context, req *referralv1.GetBookingRequest) (*referralv1.Booking, error) {
	id, err := aip.ParseName("name", "bookings", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	var found []*bookingRow
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	b := s.db.Batch(ctx)
	b.Queue(selectBooking, args).Query(collect(&found))
	audit.QueueIf(ctx, b, req.GetName(), selectBooking, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find booking: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetName())
	}
	return found[0].toProto(), nil
}
