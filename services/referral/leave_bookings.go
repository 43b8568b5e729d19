package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/archive"
)

// exportBookings adds to a person's archive the places that were booked for her, and returns their names. hers selects the ids of
// her referrals.
func (s *server) exportBookings(ctx context.Context, out *archive.Writer, hers string, args pgx.NamedArgs) ([]string, error) {
	var booked []*bookingRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+bookingColumns+fromBookings+`WHERE b.answer_revision > 0 AND b.referral_id IN (`+hers+`) ORDER BY b.start_time, b.id`, args).Query(collect(&booked))
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find bookings to export: %w", err)
	}
	var names []string
	for _, row := range booked {
		if err := out.Add("booking", row.name(), row.toProto()); err != nil {
			return nil, err
		}
		names = append(names, row.name())
	}
	return names, nil
}

// eraseBookings queues that nobody knows any more where an erased person was expected.
func eraseBookings(b *pgx.Batch, referral uuid.UUID) {
	b.Queue(`DELETE FROM bookings WHERE referral_id = $1`, referral)
}
