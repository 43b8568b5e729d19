package events

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// schema is that of a service with one resource, and of one that keeps a journal of what it
// was told.
func schema() fs.FS {
	return fstest.MapFS{"0001_init.sql": {Data: []byte(`-- +goose Up
CREATE TABLE thing (id text PRIMARY KEY, revision bigint NOT NULL);
CREATE TABLE journal (n bigint GENERATED ALWAYS AS IDENTITY, subject text NOT NULL, revision bigint NOT NULL, event_id uuid NOT NULL);
`)}}
}

const (
	thingChanged = "care.cairn.source.thing.changed.v1"
	deadline     = 60 * time.Second
)

// suite is a publishing service, a consuming one, and NATS.
type suite struct {
	t        *testing.T
	log      *slog.Logger
	source   *pg.DB
	sink     *pg.DB
	nats     *embedded.NATS
	natsDir  string
	natsPort int
	waker    *Waker
}

func setup(t *testing.T) *suite {
	t.Helper()
	t.Parallel()
	s := &suite{
		t: t, log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
		source: pgtest.New(t, "source", schema()), sink: pgtest.New(t, "sink", schema()),
		natsDir: t.TempDir(), natsPort: -1, waker: NewWaker(),
	}
	s.startNATS()
	return s
}

// startNATS starts the server, again on the same port and files if it ran before.
func (s *suite) startNATS() {
	s.t.Helper()
	server, err := embedded.StartNATS(s.t.Context(), s.natsDir, s.log, embedded.Listen("127.0.0.1", s.natsPort))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(server.Stop)
	u, err := url.Parse(server.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	if s.natsPort, err = strconv.Atoi(u.Port()); err != nil {
		s.t.Fatal(err)
	}
	s.nats = server
}

// connect returns a connection of a process's own.
func (s *suite) connect() *nats.Conn {
	s.t.Helper()
	nc, err := Connect(fmt.Sprintf("nats://127.0.0.1:%d", s.natsPort), s.t.Name(), s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

func (s *suite) config(service string, db *pg.DB) Config {
	w := s.waker
	if service != "source" {
		w = NewWaker()
	}
	return Config{Service: service, DB: db, NATS: s.connect(), Waker: w, Log: s.log}
}

// background runs fn until the returned function is called, or the test ends.
func (s *suite) background(fn func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := fn(ctx); err != nil {
			s.t.Errorf("background: %v", err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	s.t.Cleanup(stop)
	return stop
}

// relay runs a relay.
func (s *suite) relay() (stop func()) {
	s.t.Helper()
	r, err := NewRelay(s.config("source", s.source))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.background(r.Run)
}

// consumer runs a consumer with the handler.
func (s *suite) consumer(name string, h Handler) (stop func()) {
	s.t.Helper()
	c := s.newConsumer(name, h)
	return s.background(c.Run)
}

func (s *suite) newConsumer(name string, h Handler) *Consumer {
	s.t.Helper()
	c, err := NewConsumer(s.config("sink", s.sink), Subscription{Name: name, Source: "source", Handlers: map[string]Handler{thingChanged: h}})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// change changes a thing and tells of it, in one round trip, and wakes the relay.
func (s *suite) change(id string) {
	s.t.Helper()
	ctx, committed := s.waker.Track(auth.System(s.t.Context(), "source"))
	defer committed()
	err := s.source.Tx(ctx, func(tx pgx.Tx) error { return changeTx(ctx, tx, id) })
	if err != nil {
		s.t.Errorf("change %s: %v", id, err)
	}
}

func changeTx(ctx context.Context, tx pgx.Tx, id string) error {
	var revision int64
	err := tx.QueryRow(ctx, `INSERT INTO thing (id, revision) VALUES ($1, 1)
		ON CONFLICT (id) DO UPDATE SET revision = thing.revision + 1 RETURNING revision`, id).Scan(&revision)
	if err != nil {
		return err
	}
	return Insert(ctx, tx, Event{Type: thingChanged, Subject: "things/" + id, Revision: revision, Data: wrapperspb.Int64(revision)})
}

// journal is a handler that writes down what comes.
func journal(_ context.Context, e *Received) (Write, error) {
	var v wrapperspb.Int64Value
	if err := e.Decode(&v); err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO journal (subject, revision, event_id) VALUES ($1, $2, $3)`, e.Subject, v.Value, e.ID)
		return err
	}, nil
}

// await waits until the query of the database returns want.
func await[T comparable](t *testing.T, db *pg.DB, want T, sql string, args ...any) {
	t.Helper()
	var got T
	eventually(t, func() error {
		if err := db.QueryRow(t.Context(), sql, args...).Scan(&got); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s = %v, want %v", sql, got, want)
		}
		return nil
	})
}

// eventually waits until check succeeds.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	timeout := time.After(deadline)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("still after %v: %v", deadline, err)
		}
	}
}

// checkJournal checks that everything that happened to the source's things is in the sink's
// journal once, and in order per thing.
func (s *suite) checkJournal() {
	s.t.Helper()
	want := map[string]int64{}
	rows, err := s.source.Query(s.t.Context(), `SELECT 'things/' || id, revision FROM thing`)
	if err != nil {
		s.t.Fatal(err)
	}
	var subject string
	var revision int64
	if _, err := pgx.ForEachRow(rows, []any{&subject, &revision}, func() error { want[subject] = revision; return nil }); err != nil {
		s.t.Fatal(err)
	}
	got := map[string]int64{}
	rows, err = s.sink.Query(s.t.Context(), `SELECT subject, revision FROM journal ORDER BY n`)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = pgx.ForEachRow(rows, []any{&subject, &revision}, func() error {
		if revision != got[subject]+1 {
			s.t.Errorf("%s: revision %d came after %d", subject, revision, got[subject])
		}
		got[subject] = revision
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for subject, revision := range want {
		if got[subject] != revision {
			s.t.Errorf("%s: got as far as revision %d, want %d", subject, got[subject], revision)
		}
	}
}
