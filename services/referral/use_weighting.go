package referral

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// UseWeighting implements WeightingsService.
func (s *server) UseWeighting(ctx context.Context, req *referralv1.UseWeightingRequest) (answer *referralv1.Weighting, err error) {
	version := strings.TrimPrefix(req.GetName(), weightingPrefix)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		// One change at a time: two at once would both find the same one in use.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('weightings', 0))`); err != nil {
			return fmt.Errorf("lock weights: %w", err)
		}
		row, err := findWeighting(ctx, tx, version)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.NotFound(req.GetName())
		}
		if err != nil {
			return err
		}
		if !row.InUse {
			now := s.clock.Now()
			b := new(pgx.Batch)
			b.Queue(`UPDATE weightings SET in_use = false WHERE in_use`)
			b.Queue(`UPDATE weightings SET in_use = true, use_time = @now WHERE version = @version`, pgx.NamedArgs{"now": now, "version": version})
			if err := sendBatch(ctx, tx, b); err != nil {
				return fmt.Errorf("use weights: %w", err)
			}
			row.InUse, row.UseTime = true, &now
		}
		if answer, err = row.toProto(); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, answer)
	})
	return answer, err
}
