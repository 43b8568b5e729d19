package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/pg"
)

// The stream of events that is measured.
const (
	eventRate   = 1000 // a second
	eventRound  = 3 * time.Second
	eventWarmUp = time.Second / 2
)

// lag is how long after its commit an event is with its consumer.
type lag struct {
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
}

// benchEvents measures how long events take from commit to consumer.
func benchEvents(ctx context.Context, b *bench) error {
	var p50, p99 []float64
	for round := range b.rounds {
		var l lag
		if err := b.server.ask(ctx, "/bench/events", struct{}{}, &l); err != nil {
			return err
		}
		p50, p99 = append(p50, l.P50.Seconds()*1e3), append(p99, l.P99.Seconds()*1e3)
		fmt.Fprintf(os.Stderr, "  round %d: p50 %s, p99 %s\n", round+1, millis(l.P50), millis(l.P99))
	}
	b.table.add(row{
		what: fmt.Sprintf("event, commit to consumer, at %s events/s", thousands(eventRate)),
		ours: fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", median(p50), median(p99)), goal: "p99 < 10 ms", met: median(p99) < 10,
	})
	return nil
}

//go:embed migrations/*.sql
var migrations embed.FS

const (
	thingSaid    = "care.cairn.bench.thing.said.v1"
	benchService = "bench"
)

// things tells events of new rows to itself: through an outbox, a relay, a JetStream on disk and a
// consumer with its inbox, as any two services do.
type things struct {
	db    *pg.DB // of the writers
	waker *events.Waker
	org   uuid.UUID

	index     map[string]int // by subject
	subjects  []string
	ids       []uuid.UUID
	committed []atomic.Int64 // when, in nanoseconds
	heard     []atomic.Int64
	count     atomic.Int64 // heard
}

// events measures one round.
func (y *yardsticks) events(ctx context.Context, _ struct{}) (_ lag, err error) {
	db, err := pg.Open(ctx, pg.Options{AdminURL: y.adminURL, Service: benchService, Migrations: migrations})
	if err != nil {
		return lag{}, err
	}
	defer db.Close()
	// The writers have a pool of their own, as another service has.
	writers, err := pg.Connect(ctx, pg.Options{AdminURL: y.adminURL}, db.Name(), db.Role())
	if err != nil {
		return lag{}, err
	}
	defer writers.Close()
	nats, err := embedded.StartNATS(ctx, filepath.Join(y.dir, "bench-nats"), nil)
	if err != nil {
		return lag{}, err
	}
	defer nats.Stop()
	conn, err := nats.Conn()
	if err != nil {
		return lag{}, err
	}
	defer conn.Close()

	warm := int(eventRate * eventWarmUp / time.Second)
	t := newThings(writers, warm+int(eventRate*eventRound/time.Second))
	config := events.Config{Service: benchService, DB: db, NATS: conn, Waker: t.waker, Log: slog.New(slog.DiscardHandler)}
	relay, err := events.NewRelay(config)
	if err != nil {
		return lag{}, err
	}
	consumer, err := events.NewConsumer(config, events.Subscription{
		Name: "bench-bench", Source: benchService, Handlers: map[string]events.Handler{thingSaid: t.hear},
	})
	if err != nil {
		return lag{}, err
	}
	work, stop := context.WithCancel(auth.System(context.WithoutCancel(ctx), benchService))
	var working errgroup.Group
	working.Go(func() error { return relay.Run(work) })
	working.Go(func() error { return consumer.Run(work) })
	defer func() {
		stop()
		if e := working.Wait(); !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}()
	if err := t.tell(ctx, 0, warm); err != nil { // until relay and consumer work
		return lag{}, err
	}
	if err := t.tell(ctx, warm, len(t.ids)); err != nil {
		return lag{}, err
	}
	return t.lag(warm), nil
}

func newThings(db *pg.DB, n int) *things {
	t := &things{
		db: db, waker: events.NewWaker(), org: uuid.New(), index: map[string]int{}, subjects: make([]string, n), ids: make([]uuid.UUID, n),
		committed: make([]atomic.Int64, n), heard: make([]atomic.Int64, n),
	}
	for i := range n {
		t.ids[i] = aip.NewID()
		t.subjects[i] = aip.Name("things", t.ids[i])
		t.index[t.subjects[i]] = i
	}
	return t
}

// tell commits the events from one to before another at the rate, and waits until they are heard.
func (t *things) tell(ctx context.Context, from, to int) error {
	var next atomic.Int64
	next.Store(int64(from))
	g, ctx := errgroup.WithContext(auth.WithTenant(ctx, auth.Tenant{Org: t.org}))
	start := time.Now()
	for range clients {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= to {
					return nil
				}
				time.Sleep(time.Until(start.Add(time.Duration(i-from) * time.Second / eventRate)))
				ctx, committed := t.waker.Track(ctx)
				b := t.db.Batch(ctx)
				b.Queue(`INSERT INTO things (id, org_id) VALUES ($1, $2)`, t.ids[i], t.org)
				err := events.Queue(ctx, b, events.Event{Type: thingSaid, Subject: t.subjects[i], Revision: 1, Data: &membershipv1.SeatsChanged{Revision: int64(i)}})
				if err == nil {
					err = t.db.Send(ctx, b)
				}
				if err != nil {
					return fmt.Errorf("commit an event: %w", err)
				}
				t.committed[i].Store(time.Now().UnixNano())
				committed()
			}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for wait := time.Now().Add(30 * time.Second); t.count.Load() < int64(to); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(wait) {
			return fmt.Errorf("%d of %d events were heard", t.count.Load(), to)
		}
	}
	return nil
}

// hear is the consumer's handler.
func (t *things) hear(_ context.Context, e *events.Received) (events.Write, error) {
	now := time.Now().UnixNano()
	i, ok := t.index[e.Subject]
	if !ok {
		return nil, nil // of an earlier round
	}
	var m membershipv1.SeatsChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	if m.GetRevision() != int64(i) || !t.heard[i].CompareAndSwap(0, now) {
		return nil, events.Poison(fmt.Errorf("event %d came twice or with another's data", i))
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE things SET heard = true WHERE id = $1 AND NOT heard`, uuid.MustParse(e.Subject[len("things/"):]))
		if err == nil && tag.RowsAffected() != 1 {
			err = fmt.Errorf("%s is not there, or heard", e.Subject)
		}
		if err == nil {
			t.count.Add(1)
		}
		return err
	}, nil
}

// lag returns how long the events from one on took.
func (t *things) lag(from int) lag {
	var took []time.Duration
	for i := from; i < len(t.heard); i++ {
		took = append(took, max(0, time.Duration(t.heard[i].Load()-t.committed[i].Load()))) // it may be heard before its writer knows
	}
	slices.Sort(took)
	return lag{P50: quantile(took, 0.5), P99: quantile(took, 0.99)}
}
