package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/pg"
)

const (
	presenceClass = 0x6a6f6273 // "jobs": first key of the advisory locks of living clients
	look          = 2 * time.Second
)

// presence shows the others that this client lives, by an advisory lock on a connection of
// its own, and gives back the jobs of clients that no longer do: River alone would let a
// killed process's jobs stand as running for its rescue time.
type presence struct {
	db     *pg.DB
	client string
	log    *slog.Logger
}

// enter takes the lock. It must hold before the client takes a job.
func (p *presence) enter(ctx context.Context) (*pgx.Conn, error) {
	pooled, err := p.db.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	conn := pooled.Hijack()
	if _, err := conn.Exec(ctx, `SET idle_session_timeout = 0`); err != nil {
		return nil, fmt.Errorf("presence: %w", closing(ctx, conn, err))
	}
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1, hashtext($2))`, presenceClass, p.client); err != nil {
		return nil, fmt.Errorf("presence: %w", closing(ctx, conn, err))
	}
	return conn, nil
}

// keep looks after the dead until ctx ends, and enters again when the connection is lost.
func (p *presence) keep(ctx context.Context, conn *pgx.Conn) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for ctx.Err() == nil {
		var err error
		if conn == nil {
			conn, err = p.enter(ctx)
		}
		if err == nil {
			err = p.release(ctx, conn)
		}
		if err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "jobs of dead processes wait", "error", err)
		}
		if err != nil && conn != nil {
			_ = closing(ctx, conn, err) //nolint:errcheck // err is logged above
			conn = nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if conn != nil {
		if err := closing(ctx, conn, nil); err != nil {
			p.log.DebugContext(ctx, "close presence", "error", err)
		}
	}
}

// release lets jobs run again whose client holds no lock. One that has used up its attempts
// is over: while it stood as running, a periodic job that is unique would not be enqueued again.
func (p *presence) release(ctx context.Context, conn *pgx.Conn) error {
	tag, err := conn.Exec(ctx, `
		UPDATE river_job SET scheduled_at = now(),
			state = (CASE WHEN attempt < max_attempts THEN 'available' ELSE 'discarded' END)::river_job_state,
			finalized_at = CASE WHEN attempt < max_attempts THEN NULL ELSE now() END
		WHERE state = 'running' AND NOT EXISTS (
			SELECT FROM pg_locks l
			WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.classid = $1::int::oid
				AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
				AND l.objid::bigint = hashtext(attempted_by[cardinality(attempted_by)])::bigint & 4294967295)`, presenceClass)
	if err != nil {
		return fmt.Errorf("release jobs: %w", err)
	}
	if n := tag.RowsAffected(); n > 0 {
		p.log.InfoContext(ctx, "jobs of a dead process run again or are over", "jobs", n)
	}
	return nil
}

func closing(ctx context.Context, conn *pgx.Conn, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if closed := conn.Close(ctx); err == nil {
		return closed
	}
	return err
}
