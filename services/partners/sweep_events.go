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

// sweepEvents drops the events that are no longer kept, oldest first, and says up to where it did, also to subscriptions for which
// they still waited.
func (s *service) sweepEvents(ctx context.Context) error {
	before := s.clock.Now().Add(-keepEvents)
	for dropped := int64(sweptAtOnce); dropped == sweptAtOnce; {
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, `
				DELETE FROM webhook_deliveries WHERE id IN (
					SELECT id FROM webhook_deliveries
					WHERE position < coalesce((SELECT min(position) FROM event_log), 0) AND create_time < @before AND (position < 0 OR state <> 'PENDING')
					ORDER BY position LIMIT @limit)`, pgx.NamedArgs{"before": before, "limit": sweptAtOnce})
			dropped = tag.RowsAffected()
			return err
		}); err != nil {
			return fmt.Errorf("drop notices and what has outlived its event: %w", err)
		}
	}
	for {
		dropped := 0
		err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			// Alone before it looks, so that it sees the deliveries of whoever has put old events in line again.
			if _, err := tx.Exec(ctx, `SELECT FROM event_log_end FOR UPDATE`); err != nil {
				return fmt.Errorf("lock the end of the log: %w", err)
			}
			err := tx.QueryRow(ctx, `
				WITH first AS (
					SELECT position, changed_xid, log_time FROM event_log ORDER BY position LIMIT @limit
				), old AS (
					SELECT * FROM first WHERE log_time < @before
				), dropped AS (
					DELETE FROM event_log WHERE position IN (SELECT position FROM old)
				), undone AS (
					DELETE FROM webhook_deliveries d USING old WHERE d.position = old.position RETURNING d.subscription_id, d.state, old.log_time
				), told AS (
					UPDATE webhook_subscriptions s SET dropped_before_time = lost.time
					FROM (SELECT subscription_id, max(log_time) AS time FROM undone WHERE state = 'PENDING' GROUP BY 1) AS lost WHERE s.id = lost.subscription_id
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
