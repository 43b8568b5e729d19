package idem

import (
	"context"
	"fmt"
	"time"

	"cairn.care/services/chassis/pg"
)

// Sweep deletes the answers that are older than age.
func Sweep(ctx context.Context, q pg.Querier, age time.Duration) error {
	for {
		tag, err := q.Exec(ctx, `
			DELETE FROM idempotency WHERE key IN (
				SELECT key FROM idempotency WHERE created_at < clock_timestamp() - $1::interval ORDER BY created_at LIMIT 5000)`, age)
		if err != nil {
			return fmt.Errorf("sweep idempotency: %w", err)
		}
		if tag.RowsAffected() < 5000 {
			return nil
		}
	}
}
