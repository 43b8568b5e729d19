package events

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/pg"
)

// The session of a leader: a lost network is noticed by either side within some 15 s, and
// nothing that is written on it needs to survive a crash of PostgreSQL, because losing it only
// makes work be repeated. Its few statements all have their index; a plan that was made while
// the outbox was small must not scan it when it is large.
const leaderSession = `
SET idle_session_timeout = 0;
SET statement_timeout = '15s';
SET synchronous_commit = off;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 3;
SET tcp_keepalives_count = 3`

// lead runs work in one process at a time among those of the service, for as long as ctx lives.
// Leadership is a session advisory lock on a connection of its own, which work gets: when
// the connection is lost, so is the leadership, and work must return.
func lead(ctx context.Context, db *pg.DB, name string, log *slog.Logger, work func(context.Context, *pgx.Conn) error) {
	retry := backoff{first: 50 * time.Millisecond, most: 2 * time.Second}
	for ctx.Err() == nil {
		began := time.Now()
		err := leadOnce(ctx, db, name, log, work)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > 10*time.Second {
			retry.reset()
		}
		log.WarnContext(ctx, "lost leadership", "of", name, "error", err)
		retry.wait(ctx)
	}
}

func leadOnce(ctx context.Context, db *pg.DB, name string, log *slog.Logger, work func(context.Context, *pgx.Conn) error) error {
	pooled, err := db.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("leader's connection: %w", err)
	}
	conn := pooled.Hijack()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := conn.Close(closing); err != nil {
			log.DebugContext(ctx, "close leader's connection", "of", name, "error", err)
		}
	}()
	if _, err := conn.Exec(ctx, leaderSession); err != nil {
		return fmt.Errorf("leader's session: %w", err)
	}
	for {
		// Not pg_advisory_lock: a waiting statement would hold back vacuum.
		leads := false
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended('cairn leader ' || $1, 0))`, name).Scan(&leads); err != nil {
			return fmt.Errorf("leader's lock: %w", err)
		}
		if leads {
			break
		}
		if !pause(ctx, 200*time.Millisecond+rand.N(100*time.Millisecond)) { //nolint:gosec // jitter
			return ctx.Err()
		}
	}
	log.InfoContext(ctx, "leads", "of", name)
	return work(ctx, conn)
}

// backoff is a wait that doubles, with jitter.
type backoff struct{ first, most, next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// wait waits and tells whether ctx still lives.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(2*b.next, b.first), b.most)
	return pause(ctx, b.next/2+rand.N(b.next/2+1)) //nolint:gosec // jitter
}

// pause waits for d and tells whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
