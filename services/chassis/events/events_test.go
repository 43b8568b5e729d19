package events

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

func TestAnEventArrivesAsItWasQueued(t *testing.T) {
	s := setup(t)
	type arrival struct {
		event     *Received
		trace     trace.TraceID
		principal auth.Principal
		tenant    auth.Tenant
	}
	arrivals := make(chan arrival, 1)
	s.relay()
	s.consumer("sink-source", func(ctx context.Context, e *Received) (Write, error) {
		arrivals <- arrival{e, trace.SpanContextFromContext(ctx).TraceID(), auth.PrincipalFrom(ctx), auth.TenantFrom(ctx)}
		return nil, nil
	})

	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled})
	ctx, committed := s.waker.Track(trace.ContextWithSpanContext(t.Context(), parent))
	b := s.source.Batch(ctx)
	if err := Queue(ctx, b, Event{Type: thingChanged, Subject: "things/1", Revision: 7, Data: wrapperspb.Int64(42)}); err != nil {
		t.Fatal(err)
	}
	if err := s.source.Send(ctx, b); err != nil {
		t.Fatal(err)
	}
	committed()

	a := <-arrivals
	var v wrapperspb.Int64Value
	if err := a.event.Decode(&v); err != nil || v.Value != 42 {
		t.Errorf("data = %v, %v, want 42", v.Value, err)
	}
	if e := a.event; e.Type != thingChanged || e.Subject != "things/1" || e.Revision != 7 || e.Time.IsZero() {
		t.Errorf("event = %+v", e)
	}
	if a.trace != parent.TraceID() {
		t.Errorf("trace = %v, want %v", a.trace, parent.TraceID())
	}
	if a.principal.Kind != auth.Service || a.principal.Subject != "sink" || !a.tenant.All {
		t.Errorf("handler runs as %+v on %+v, want the service on all tenants", a.principal, a.tenant)
	}

	js, err := jetstream.New(s.connect())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "CAIRN_SOURCE")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "cairn.source.things.1" {
		t.Errorf("NATS subject = %q", m.Subject)
	}
	for header, want := range map[string]string{
		"ce-specversion": "1.0", "ce-id": a.event.ID.String(), "ce-source": "//cairn.care/source", "ce-type": thingChanged,
		"ce-subject": "things/1", "ce-revision": "7", "content-type": "application/json", "Nats-Msg-Id": a.event.ID.String(),
		"ce-traceparent": "00-01020300000000000000000000000000-0400000000000000-01",
	} {
		if got := m.Header.Get(header); got != want {
			t.Errorf("header %s = %q, want %q", header, got, want)
		}
	}
}

func TestEventsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	good := Event{Type: thingChanged, Subject: "things/1", Revision: 1, Data: wrapperspb.String("x")}
	for name, spoil := range map[string]func(*Event){
		"type":    func(e *Event) { e.Type = "thing.changed" },
		"subject": func(e *Event) { e.Subject = "1" },
		"no data": func(e *Event) { e.Data = nil },
		"large":   func(e *Event) { e.Data = wrapperspb.String(strings.Repeat("x", maxData)) },
	} {
		e := good
		spoil(&e)
		b := new(pgx.Batch)
		if err := Queue(t.Context(), b, e); err == nil || b.Len() != 0 {
			t.Errorf("%s: queued, want an error", name)
		}
	}
}

func TestNATSSubject(t *testing.T) {
	t.Parallel()
	for resource, want := range map[string]string{
		"groups/0192":         "cairn.groups.groups.0192",
		"apiClients/a.b *>":   "cairn.groups.apiClients.a_b___",
		"groups/1/sessions/2": "cairn.groups.groups.1.sessions.2",
	} {
		if got := NATSSubject("groups", resource); got != want {
			t.Errorf("NATSSubject(%q) = %q, want %q", resource, got, want)
		}
	}
}

// Writers, relays and consumers, the latter two stopped at random moments: everything arrives
// once in effect and in order per resource.
func TestOrderAndCompletenessUnderFire(t *testing.T) {
	s := setup(t)
	const writers, things, changes = 6, 7, 150
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range changes {
				s.change(fmt.Sprint(rand.N(things)))
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()

	var applied atomic.Int64
	handler := func(ctx context.Context, e *Received) (Write, error) {
		applied.Add(1)
		if rand.N(50) == 0 {
			return nil, errors.New("a passing fault")
		}
		return journal(ctx, e)
	}
	run := [2]func() func(){s.relay, func() func() { return s.consumer("sink-source", handler) }}
	stop := [2][2]func(){{run[0](), run[0]()}, {run[1](), run[1]()}} // two of each
	for stopped := 0; ; stopped++ {
		before := applied.Load()
		eventually(t, func() error { // some progress between two stops
			select {
			case <-done:
				return nil
			default:
			}
			if n := applied.Load(); n < before+20 {
				return fmt.Errorf("%d handler calls", n)
			}
			return nil
		})
		select {
		case <-done:
			t.Logf("stopped %d relays and consumers", stopped)
			await(t, s.sink, writers*changes, `SELECT count(*)::int FROM journal`)
			s.checkJournal()
			await(t, s.source, 0, `SELECT count(*)::int FROM outbox WHERE published_at IS NULL`)
			return
		default:
		}
		kind, which := rand.N(2), rand.N(2)
		stop[kind][which]()
		stop[kind][which] = run[kind]()
	}
}

func TestALateCommitIsNotSkipped(t *testing.T) {
	s := setup(t)
	s.relay()
	s.consumer("sink-source", journal)
	ctx := auth.System(t.Context(), "source")
	err := s.source.Tx(ctx, func(tx pgx.Tx) error {
		if err := changeTx(ctx, tx, "early"); err != nil {
			return err
		}
		for range 5 {
			s.change("late") // higher ids, committed before
		}
		await(t, s.sink, 5, `SELECT count(*)::int FROM journal`)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, s.sink, 6, `SELECT count(*)::int FROM journal`)
	s.checkJournal()
}

func TestARolledBackEventIsNone(t *testing.T) {
	s := setup(t)
	s.relay()
	s.consumer("sink-source", journal)
	undo := errors.New("undo")
	err := s.source.Tx(t.Context(), func(tx pgx.Tx) error {
		return errors.Join(changeTx(t.Context(), tx, "gone"), undo)
	})
	if !errors.Is(err, undo) {
		t.Fatal(err)
	}
	s.change("there")
	await(t, s.sink, "things/there", `SELECT coalesce(string_agg(subject, ','), '') FROM journal`)
}

func TestPoisonGoesAsideAndStopsNothing(t *testing.T) {
	s := setup(t)
	s.relay()
	c := s.newConsumer("sink-source", func(ctx context.Context, e *Received) (Write, error) {
		switch e.Subject {
		case "things/poison":
			return nil, Poison(errors.New("cannot ever work"))
		case "things/bad":
			return nil, errors.New("does not work")
		case "things/slow":
			return nil, fmt.Errorf("ask peer: %w", context.DeadlineExceeded)
		case "things/full":
			return nil, status.Error(codes.ResourceExhausted, "too much")
		case "things/panic":
			panic("lost my head")
		case "things/sql":
			return func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO journal (subject) VALUES ('half done')`)
				return err
			}, nil
		}
		return journal(ctx, e)
	})
	c.subscribers[0].retry = backoff{first: 1, most: 1}
	s.background(c.Run)

	s.change("good")
	js, err := jetstream.New(s.connect())
	if err != nil {
		t.Fatal(err)
	}
	await(t, s.sink, 1, `SELECT count(*)::int FROM journal`)
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: "cairn.source.things.x", Data: []byte("rubbish")}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"poison", "bad", "panic", "sql", "slow", "full", "good"} {
		s.change(id)
	}
	await(t, s.sink, 2, `SELECT count(*)::int FROM journal`)
	await(t, s.sink, "1 poison cannot ever work,8 bad does not work,8 panic panic: lost my head,8 sql ERROR,50 slow ask peer: context deadline exceeded,50 full rpc error: code = ResourceExhausted desc = too much,1  no event of ours", `
		SELECT coalesce(string_agg(attempts || ' ' || replace(subject, 'things/', '') || ' ' || split_part(split_part(reason, ': ce-id', 1), ': null', 1), ',' ORDER BY array_position(
			'{things/poison,things/bad,things/panic,things/sql,things/slow,things/full}', subject)), '')
		FROM (SELECT attempts, subject, CASE WHEN subject = 'things/sql' THEN left(reason, 5) ELSE reason END AS reason FROM event_aside) a`)
	await(t, s.sink, 9, `SELECT sequence::int FROM event_position`)
}

// A subject whose event cannot be applied for now waits, and keeps its order; others go on.
func TestAnUnreachablePeerHoldsUpItsSubjectOnly(t *testing.T) {
	s := setup(t)
	s.relay()
	var away atomic.Bool
	away.Store(true)
	var tries atomic.Int64
	c := s.newConsumer("sink-source", func(ctx context.Context, e *Received) (Write, error) {
		if e.Subject == "things/remote" && away.Load() {
			tries.Add(1)
			return nil, fmt.Errorf("ask peer: %w", fault.Unavailable(0, errors.New("connection refused")))
		}
		return journal(ctx, e)
	})
	c.subscribers[0].retry = backoff{first: 1, most: 1}
	s.background(c.Run)
	for range 3 {
		s.change("remote")
	}
	for range workers + 3 {
		s.change("local")
	}
	await(t, s.sink, workers+3, `SELECT count(*)::int FROM journal`)
	eventually(t, func() error {
		if n := tries.Load(); n < 3*attempts {
			return fmt.Errorf("%d tries", n)
		}
		return nil
	})
	away.Store(false)
	await(t, s.sink, workers+6, `SELECT count(*)::int FROM journal`)
	s.checkJournal()
	await(t, s.sink, 0, `SELECT count(*)::int FROM event_aside`)
}

func TestReplayStartsOver(t *testing.T) {
	s := setup(t)
	s.relay()
	s.consumer("sink-source", journal)
	for i := range 20 {
		s.change(fmt.Sprint(i % 3))
	}
	await(t, s.sink, 20, `SELECT count(*)::int FROM journal`)
	await(t, s.sink, 20, `SELECT sequence::int FROM event_position`)
	if _, err := s.sink.Exec(t.Context(), `DELETE FROM journal`); err != nil {
		t.Fatal(err)
	}
	if err := Replay(t.Context(), s.sink, "sink-source"); err != nil {
		t.Fatal(err)
	}
	await(t, s.sink, 20, `SELECT count(*)::int FROM journal`)
	s.checkJournal()

	s.change("0") // and goes on
	await(t, s.sink, 21, `SELECT count(*)::int FROM journal`)
	s.checkJournal()
}

func TestEachSubscriptionGetsEverything(t *testing.T) {
	s := setup(t)
	s.relay()
	for range 5 {
		s.change("1")
	}
	var first, second, others, applied atomic.Int64
	count := func(n *atomic.Int64) map[string]Handler {
		return map[string]Handler{thingChanged: func(context.Context, *Received) (Write, error) { n.Add(1); return nil, nil }}
	}
	c, err := NewConsumer(s.config("sink", s.sink),
		Subscription{Name: "first", Source: "source", Handlers: count(&first)},
		Subscription{Name: "second", Source: "source", Handlers: count(&second)},
		Subscription{Name: "other", Source: "source", Handlers: map[string]Handler{"care.cairn.source.other.v1": journal}},
		Subscription{
			Name: "rest", Source: "source", Handlers: map[string]Handler{"care.cairn.source.other.v1": journal}, Applied: func() { applied.Add(1) },
			Others: func(context.Context, *Received) (Write, error) {
				others.Add(1)
				return func(context.Context, pgx.Tx) error { return nil }, nil
			},
		})
	if err != nil {
		t.Fatal(err)
	}
	s.background(c.Run)
	await(t, s.sink, "first 5,other 5,rest 5,second 5", `SELECT coalesce(string_agg(subscription || ' ' || sequence, ',' ORDER BY subscription), '') FROM event_position`)
	if first.Load() != 5 || second.Load() != 5 {
		t.Errorf("got %d and %d events, want 5 and 5", first.Load(), second.Load())
	}
	if others.Load() != 5 || applied.Load() != 5 {
		t.Errorf("%d events of other types, %d told applied; want 5", others.Load(), applied.Load())
	}
	if _, err := NewConsumer(s.config("sink", s.sink),
		Subscription{Name: "same", Source: "source", Handlers: count(&first)},
		Subscription{Name: "same", Source: "source", Handlers: count(&first)}); err == nil {
		t.Error("two subscriptions of one name were accepted")
	}
}

func TestInboxKeepsAWeek(t *testing.T) {
	s := setup(t)
	ctx := t.Context()
	for _, id := range []string{"00000000-0001-7000-8000-000000000000", "0190b0d0-0000-7000-8000-000000000000", "ffff0000-0000-7000-8000-000000000000"} {
		if _, err := s.sink.Exec(ctx, `INSERT INTO event_inbox VALUES ('sink-source', $1), ('other', $1)`, id); err != nil {
			t.Fatal(err)
		}
	}
	s.consumer("sink-source", journal)
	await(t, s.sink, "ffff0000-0000-7000-8000-000000000000", `SELECT string_agg(event_id::text, ',') FROM event_inbox WHERE subscription = 'sink-source'`)
	await(t, s.sink, 3, `SELECT count(*)::int FROM event_inbox WHERE subscription = 'other'`)
}
