package referral

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/audit"
)

// showReferrals records that a listing shows referrals: that it was asked for, each of them, and to whom it is disclosed.
func (s *server) showReferrals(ctx context.Context, tx pgx.Tx, rows []*row) error {
	b := new(pgx.Batch)
	s.discloseRows(ctx, b, rows...)
	return show(ctx, tx, b, "referrals/-", rows)
}

// show records that a listing shows something, in one batch with what else is to be recorded of it.
func show[T interface{ name() string }](ctx context.Context, tx pgx.Tx, b *pgx.Batch, collection string, shown []T) error {
	names := make([]string, len(shown))
	for i := range shown {
		names[i] = shown[i].name()
	}
	audit.Queue(ctx, b, collection)
	audit.QueueEach(ctx, b, names)
	return sendBatch(ctx, tx, b)
}

// upTo returns the rows that a page shows of those that were read.
func upTo[T any](size int, rows []T) []T { return rows[:min(len(rows), size)] }
