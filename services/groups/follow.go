package groups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/changefeed"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/groups/index"
)

const (
	followRate = 20 * time.Millisecond // between looks at the change feed; a look at a feed that stands still is one small query
	followPage = 500                   // rows of groups read at once, and ten times as many of availability
	loadPage   = 2000
)

// indexer keeps the search index up to date with the database. It is the only one that writes to the index.
type indexer struct {
	db    *pg.DB
	clock clock.Clock
	log   *slog.Logger
	woken <-chan struct{}
	file  string // where a snapshot is kept between runs; "": nowhere
	least int    // groups that are worth one

	index atomic.Pointer[index.Index] // nil until loaded

	feedPosition       // of what the index holds
	opened       int64 // the generation whose rows are known to be marked

	background sync.WaitGroup
	rebuilding atomic.Bool

	mu     sync.Mutex
	seen   uint64        // every transaction below is in the index
	fresh  time.Time     // what was committed before is in the index
	passed chan struct{} // closed when seen or fresh moves
	ahead  uint64        // when fresh can move: once seen is here
	taken  time.Time     // to this time
}

// feedPosition is how far the feed was read. Both tables are read in order of transaction and id.
type feedPosition struct {
	Generation   int64
	Groups       feedCursor
	Availability feedCursor
}

type feedCursor struct {
	XID uint64
	ID  uuid.UUID
}

// upTo moves the cursor behind all transactions below xid, unless it is there.
func (c *feedCursor) upTo(xid uint64) {
	if xid > c.XID+1 {
		c.XID, c.ID = xid-1, uuid.Max
	}
}

func newIndexer(db *pg.DB, c clock.Clock, log *slog.Logger, woken <-chan struct{}, file string) (*indexer, error) {
	f := &indexer{db: db, clock: c, log: log, woken: woken, file: file, least: leastSaved, passed: make(chan struct{})}
	meter := otel.Meter("cairn.care/services/groups")
	behind, err := meter.Float64ObservableGauge("cairn.groups.index.behind", metric.WithUnit("s"), metric.WithDescription("How long ago that was which the search index holds"))
	if err != nil {
		return nil, err
	}
	groups, err := meter.Int64ObservableGauge("cairn.groups.index.groups", metric.WithDescription("Groups in the search index"))
	if err != nil {
		return nil, err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if x := f.index.Load(); x != nil {
			o.ObserveFloat64(behind, f.clock.Now().Sub(f.freshTime()).Seconds())
			o.ObserveInt64(groups, int64(x.Len()))
		}
		return nil
	}, behind, groups)
	return f, err
}

// Run follows until ctx ends.
func (f *indexer) Run(ctx context.Context) error {
	ctx = auth.System(ctx, "groups")
	ticker := time.NewTicker(followRate)
	defer ticker.Stop()
	failing := false
	for ctx.Err() == nil {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil && !failing {
			f.log.WarnContext(ctx, "the search index does not get on", "err", err)
		} else if err == nil && failing {
			f.log.InfoContext(ctx, "the search index gets on again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-f.woken:
		}
	}
	f.background.Wait()
	return f.save()
}

// Ready returns nil once the index is loaded.
func (f *indexer) Ready() error {
	if f.index.Load() == nil {
		return errors.New("the search index is being loaded")
	}
	return nil
}

// CatchUp returns when the index holds all that was committed before the call.
func (f *indexer) CatchUp(ctx context.Context) error {
	var target uint64
	if err := f.db.QueryRow(ctx, `SELECT pg_snapshot_xmax(pg_current_snapshot())`).Scan(&target); err != nil {
		return fmt.Errorf("look at change feed: %w", err)
	}
	for {
		f.mu.Lock()
		there, passed := f.index.Load() != nil && f.seen >= target, f.passed
		f.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("search index: %w", ctx.Err())
		case <-passed:
		}
	}
}

func (f *indexer) freshTime() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fresh
}

// look is what the feed says of itself.
type look struct {
	generation     int64
	same           bool   // the cluster is that of the generation
	horizon, ahead uint64 // of the snapshot: all below horizon have ended, none from ahead on has begun
	at             time.Time
}

func (f *indexer) look(ctx context.Context) (l look, err error) {
	l.at = f.clock.Now()
	if err := f.db.QueryRow(ctx, `
		SELECT generation, `+changefeed.SameCluster+`, pg_snapshot_xmin(pg_current_snapshot()), pg_snapshot_xmax(pg_current_snapshot())
		FROM change_feed`).Scan(&l.generation, &l.same, &l.horizon, &l.ahead); err != nil {
		return l, fmt.Errorf("look at change feed: %w", err)
	}
	return l, nil
}

// follow brings the index to where the feed is.
func (f *indexer) follow(ctx context.Context) error {
	l, err := f.look(ctx)
	if err != nil {
		return err
	}
	// Connections may lead to another cluster at any time, and who has seen it first may have died before all rows were marked.
	if !l.same || l.generation != f.opened {
		if err := openFeed(ctx, f.db, f.log); err != nil {
			return err
		}
		if l, err = f.look(ctx); err != nil {
			return err
		}
		if l.same {
			f.opened = l.generation
		}
	}
	x := f.index.Load()
	if x == nil || l.generation != f.Generation || l.ahead < f.Groups.XID {
		if x, err = f.load(ctx, l); err != nil {
			return err
		}
	}
	if f.index.Load() == nil || l.horizon > f.seenXID() {
		for more := true; more; {
			if more, err = f.step(ctx, x); err != nil {
				return err
			}
		}
		f.Groups.upTo(l.horizon)
		f.Availability.upTo(l.horizon)
	}
	f.index.Store(x)
	f.reach(l)
	if x.Stale() && f.rebuilding.CompareAndSwap(false, true) {
		f.background.Go(func() {
			defer f.rebuilding.Store(false)
			x.Rebuild()
		})
	}
	return nil
}

func (f *indexer) seenXID() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// reach notes that the index holds all transactions below the look's horizon.
func (f *indexer) reach(l look) {
	f.mu.Lock()
	defer f.mu.Unlock()
	moved := l.horizon > f.seen
	f.seen = l.horizon
	if f.taken.IsZero() {
		f.ahead, f.taken = l.ahead, l.at
	}
	if f.seen >= f.ahead {
		if f.fresh, f.ahead = f.taken, l.ahead; f.seen >= l.ahead {
			f.fresh = l.at
		}
		f.taken = l.at
	}
	if moved {
		close(f.passed)
		f.passed = make(chan struct{})
	}
}

// forget has the index begin anew: transaction ids may have gone back.
func (f *indexer) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.ahead, f.taken = 0, 0, time.Time{}
}

// step applies the next page of changes and reports whether there may be more.
func (f *indexer) step(ctx context.Context, x *index.Index) (more bool, err error) {
	groups, availability := f.Groups, f.Availability
	var batch index.Batch
	b := f.db.Batch(ctx)
	b.Queue(selectFollowed+`
		WHERE (g.changed_xid, g.id) > (@xid::xid8, @id::uuid) AND g.changed_xid < pg_snapshot_xmin(pg_current_snapshot())
		ORDER BY g.changed_xid, g.id LIMIT @limit`,
		pgx.NamedArgs{"xid": groups.XID, "id": groups.ID, "limit": followPage}).Query(func(rows pgx.Rows) error {
		n := 0
		var r followedRow
		_, err := pgx.ForEachRow(rows, r.columns(), func() error {
			n++
			groups = feedCursor{r.XID, r.ID}
			if !r.Public {
				batch.Removals = append(batch.Removals, r.ID)
				return nil
			}
			d, err := r.doc()
			batch.Upserts = append(batch.Upserts, d)
			return err
		})
		more = more || n == followPage
		return err
	})
	b.Queue(`
		SELECT changed_xid, group_id, open_seats, next_sessions, session_minutes FROM availability
		WHERE (changed_xid, group_id) > (@xid::xid8, @id::uuid) AND changed_xid < pg_snapshot_xmin(pg_current_snapshot())
		ORDER BY changed_xid, group_id LIMIT @limit`,
		pgx.NamedArgs{"xid": availability.XID, "id": availability.ID, "limit": 10 * followPage}).Query(func(rows pgx.Rows) error {
		n := 0
		var open *int32
		var starts []time.Time
		var minutes []int16
		_, err := pgx.ForEachRow(rows, []any{&availability.XID, &availability.ID, &open, &starts, &minutes}, func() error {
			n++
			batch.Changes = append(batch.Changes, index.Change{ID: availability.ID, Availability: availabilityOf(open, starts, minutes)})
			return nil
		})
		more = more || n == 10*followPage
		return err
	})
	if err := f.db.Send(ctx, b); err != nil {
		return false, fmt.Errorf("read change feed: %w", err)
	}
	x.Apply(batch)
	f.Groups, f.Availability = groups, availability
	return more, nil
}

// selectFollowed reads what search keeps of groups.
const selectFollowed = `
SELECT g.changed_xid, g.id, g.org_id, g.state, ` + publicGroup + `, g.body, a.open_seats, a.next_sessions, a.session_minutes
FROM groups g JOIN availability a ON a.group_id = g.id`

type followedRow struct {
	XID      uint64
	ID       uuid.UUID
	OrgID    uuid.UUID
	State    int32
	Public   bool
	Body     []byte
	Open     *int32
	Sessions []time.Time
	Minutes  []int16
}

func (r *followedRow) columns() []any {
	return []any{&r.XID, &r.ID, &r.OrgID, &r.State, &r.Public, &r.Body, &r.Open, &r.Sessions, &r.Minutes}
}

func (r *followedRow) doc() (index.Doc, error) {
	g := &groupsv1.Group{}
	if err := proto.Unmarshal(r.Body, g); err != nil {
		return index.Doc{}, fmt.Errorf("decode group %s: %w", r.ID, err)
	}
	return docOf(r.ID, r.OrgID, groupsv1.Group_State(r.State), g, availabilityOf(r.Open, r.Sessions, r.Minutes)), nil
}

// load returns an index of the whole directory: from the snapshot of an earlier run if there is one of this feed, else from
// the database. What is changed meanwhile comes from the feed, which is read from where it stood before.
func (f *indexer) load(ctx context.Context, l look) (*index.Index, error) {
	if x := f.restore(ctx, l); x != nil {
		return x, nil
	}
	start, x := time.Now(), index.New()
	batches, failed := make(chan index.Batch, 1), make(chan error, 1)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(batches)
		failed <- f.read(reading, batches)
	}()
	for b := range batches {
		x.Apply(b)
	}
	if err := <-failed; err != nil {
		return nil, fmt.Errorf("load search index: %w", err)
	}
	x.Rebuild()
	f.feedPosition = feedPosition{Generation: l.generation}
	f.Groups.upTo(l.horizon)
	f.Availability.upTo(l.horizon)
	f.forget()
	f.log.InfoContext(ctx, "search index loaded", "groups", x.Len(), "took", time.Since(start))
	return x, nil
}

// read sends the public groups, page by page.
func (f *indexer) read(ctx context.Context, to chan<- index.Batch) error {
	var last uuid.UUID
	for n := loadPage; n == loadPage; {
		var batch index.Batch
		b := f.db.Batch(ctx)
		b.Queue(selectFollowed+` WHERE g.id > @last AND `+publicGroup+` ORDER BY g.id LIMIT @limit`,
			pgx.NamedArgs{"last": last, "limit": loadPage}).Query(func(rows pgx.Rows) error {
			var r followedRow
			_, err := pgx.ForEachRow(rows, r.columns(), func() error {
				d, err := r.doc()
				batch.Upserts = append(batch.Upserts, d)
				last = r.ID
				return err
			})
			return err
		})
		if err := f.db.Send(ctx, b); err != nil {
			return err
		}
		n = len(batch.Upserts)
		select {
		case to <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
