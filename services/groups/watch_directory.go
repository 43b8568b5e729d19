package groups

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

const (
	heartbeat = 15 * time.Second      // between signs of life
	pulseRate = 25 * time.Millisecond // between looks at the feed
)

// WatchDirectory streams changes as they come.
func (s *server) WatchDirectory(req *groupsv1.WatchDirectoryRequest, stream grpc.ServerStreamingServer[groupsv1.WatchDirectoryResponse]) error {
	ctx := stream.Context()
	f := &changeFeed{server: s, organization: req.GetOrganization(), size: directoryPage}
	if err := f.open(ctx, req.GetSyncToken()); err != nil {
		return err
	}
	defer s.pulse.join(ctx)()
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	for sign := true; ; {
		moved := s.pulse.next() // before the look, so that nothing falls between the two
		changes, more, err := f.next(ctx)
		if err != nil {
			return err
		}
		if len(changes) > 0 || sign {
			token, err := f.token()
			if err != nil {
				return err
			}
			if err := stream.Send(&groupsv1.WatchDirectoryResponse{Changes: changes, NextSyncToken: token}); err != nil {
				return err
			}
			alive.Reset(heartbeat)
		}
		sign = false
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		case <-alive.C:
			sign = true
		}
	}
}

// pulse tells watchers that the feed has moved. One look at the database serves all of them, and there is none while nobody
// watches.
type pulse struct {
	db  *pg.DB
	log *slog.Logger

	mu       sync.Mutex
	watchers int
	end      context.CancelFunc // of the looking
	moved    chan struct{}
}

func newPulse(db *pg.DB, log *slog.Logger) *pulse {
	return &pulse{db: db, log: log, moved: make(chan struct{})}
}

// next returns a channel that is closed when the feed moves.
func (p *pulse) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved
}

// join has the feed looked at until the returned function is called.
func (p *pulse) join(ctx context.Context) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watchers++; p.watchers == 1 {
		var look context.Context
		look, p.end = context.WithCancel(auth.System(context.WithoutCancel(ctx), "groups"))
		go p.run(look)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.watchers--; p.watchers == 0 {
			p.end()
		}
	}
}

func (p *pulse) run(ctx context.Context) {
	ticker := time.NewTicker(pulseRate)
	defer ticker.Stop()
	var last uint64
	for {
		now, err := p.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.log.WarnContext(ctx, "cannot look at the change feed", "err", err)
		case now != last:
			last = now
			p.mu.Lock()
			close(p.moved)
			p.moved = make(chan struct{})
			p.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look returns the last transaction of the feed that all readers see. Whenever one more is seen it is another than before.
func (p *pulse) look(ctx context.Context) (xid uint64, err error) {
	b := p.db.Batch(ctx)
	b.Queue(`
		SELECT coalesce((
			SELECT changed_xid FROM groups
			WHERE changed_xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY changed_xid DESC LIMIT 1), '0'::xid8)`).
		QueryRow(func(row pgx.Row) error { return row.Scan(&xid) })
	if err := p.db.Send(ctx, b); err != nil {
		return 0, fmt.Errorf("look at change feed: %w", err)
	}
	return xid, nil
}
