package partners

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// keepEvents is how long events, and what became of their deliveries, are kept.
	keepEvents = 30 * 24 * time.Hour

	sweptAtOnce = 5000 // rows of a transaction: a long one would hold every reader of the log back
)

// sweepEvents drops the events that are no longer kept, oldest first, and says up to where it did.
func (s *service) sweepEvents(ctx context.Context) error {
	before := s.clock.Now().Add(-keepEvents)
	for {
		dropped := 0
		err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			err := tx.QueryRow(ctx, `
				WITH first AS (
					SELECT position, changed_xid, log_time FROM event_log ORDER BY position LIMIT @limit
				), old AS (
					SELECT * FROM first WHERE log_time < @before
				), dropped AS (
					DELETE FROM event_log WHERE position IN (SELECT position FROM old)
				), marked AS (
					UPDATE event_log_end SET purged_xid = greatest(purged_xid, newest.xid), log_time = greatest(log_time, newest.time)
					FROM (SELECT max(changed_xid) AS xid, max(log_time) AS time FROM old) AS newest WHERE newest.xid IS NOT NULL
				)
				SELECT count(*) FROM old`, pgx.NamedArgs{"limit": sweptAtOnce, "before": before}).Scan(&dropped)
			if err != nil {
				return fmt.Errorf("drop old events: %w", err)
			}
			return nil
		})
		if err != nil || dropped < sweptAtOnce {
			return err
		}
	}
}
