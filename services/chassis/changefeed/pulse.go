package changefeed

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

const (
	pulseRate = 25 * time.Millisecond // between looks at a feed
	pokedRate = 3 * time.Millisecond  // the same, after somebody has said that it moves
	pokedFor  = 8                     // looks; a transaction elsewhere may hold the feed back for a while
)

// Pulse tells watchers that a feed has moved. One look at the database serves all of them, and there is none while nobody
// watches.
type Pulse struct {
	db      *pg.DB
	log     *slog.Logger
	service string
	last    string
	poked   chan struct{}

	mu       sync.Mutex
	watchers int
	end      context.CancelFunc // of the looking
	moved    chan struct{}
}

// NewPulse returns the pulse of a service's tables with a column changed_xid.
func NewPulse(db *pg.DB, service string, log *slog.Logger, tables ...string) *Pulse {
	last := `'0'::xid8`
	for _, table := range tables {
		last += `, (SELECT changed_xid FROM ` + table + ` WHERE changed_xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY changed_xid DESC LIMIT 1)`
	}
	return &Pulse{db: db, service: service, log: log, last: `SELECT greatest(` + last + `)`, poked: make(chan struct{}, 1), moved: make(chan struct{})}
}

// Next returns a channel that is closed when the feed moves. Take it before a look, so that nothing falls between the two.
func (p *Pulse) Next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved
}

// Poke says that the feed has moved, so that watchers need not wait for the next look.
func (p *Pulse) Poke() {
	select {
	case p.poked <- struct{}{}:
	default: // said already
	}
}

// Join has the feed looked at until the returned function is called.
func (p *Pulse) Join(ctx context.Context) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watchers++; p.watchers == 1 {
		var look context.Context
		look, p.end = context.WithCancel(auth.System(context.WithoutCancel(ctx), p.service))
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

func (p *Pulse) run(ctx context.Context) {
	ticker := time.NewTicker(pulseRate)
	defer ticker.Stop()
	var last uint64
	for eager := 0; ; {
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
		if eager--; eager == 0 {
			ticker.Reset(pulseRate)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-p.poked:
			if eager > 0 { // it is looked at all the time already
				<-ticker.C
			} else {
				ticker.Reset(pokedRate)
			}
			eager = pokedFor
		}
	}
}

// look returns the last transaction of the feed that all readers see. Whenever one more is seen it is another than before.
func (p *Pulse) look(ctx context.Context) (xid uint64, err error) {
	b := p.db.Batch(ctx)
	b.Queue(p.last).QueryRow(func(row pgx.Row) error { return row.Scan(&xid) })
	if err := p.db.Send(ctx, b); err != nil {
		return 0, fmt.Errorf("look at change feed: %w", err)
	}
	return xid, nil
}
