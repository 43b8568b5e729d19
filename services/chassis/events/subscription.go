package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"cairn.care/services/chassis/pg"
)

// Write applies an event in the transaction that also marks it as applied.
type Write func(ctx context.Context, tx pgx.Tx) error

// Handler prepares an event: it may ask peers and read, and returns the write that applies it,
// nil if there is nothing to do. It runs as the service on every tenant's rows, in order per
// subject, at least once; the write commits once. It drops events whose revision is not above
// the one it knows: an event may come again after newer ones when a stream is repaired or
// replayed.
//
// An error is tried again with growing waits; after eight attempts, or at once if it is a
// [Poison] one, the event goes aside with the error as its reason and the next one is applied.
// DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED do not count among the eight, but fifty attempts are
// the most. An error that says that something cannot be reached is tried for ever.
type Handler func(ctx context.Context, e *Received) (Write, error)

// Subscription applies the events of one service to another.
type Subscription struct {
	Name     string             // unique in the consuming service and kept for ever: "referral-membership"
	Source   string             // the publishing service: "membership"
	Handlers map[string]Handler // by event type
	Others   Handler            // of every other type; nil: those are skipped
	Applied  func()             // called in this process after an event was applied; may be nil
}

// handler returns who handles events of the type, nil if nobody does.
func (s Subscription) handler(kind string) Handler {
	if h := s.Handlers[kind]; h != nil {
		return h
	}
	return s.Others
}

func (s Subscription) check() error {
	if s.Name == "" || s.Source == "" || len(s.Handlers) == 0 && s.Others == nil {
		return fmt.Errorf("subscription %q of %q needs a name, a source and handlers", s.Name, s.Source)
	}
	return nil
}

// Config is what relays and consumers need.
type Config struct {
	Service  string // this service: "groups"
	DB       *pg.DB
	NATS     *nats.Conn // from [Connect]
	Waker    *Waker
	Log      *slog.Logger
	Replicas int // copies that JetStream keeps of streams that it is asked to make; 0: one
}

func (c Config) check() error {
	if c.Service == "" || c.DB == nil || c.NATS == nil || c.Waker == nil || c.Log == nil {
		return errors.New("events: incomplete configuration")
	}
	return nil
}

// Replay makes the subscription start over from the first event of its source, wherever its
// consumer runs. Handlers see every event again, and those that were set aside.
func Replay(ctx context.Context, db *pg.DB, subscription string) error {
	b := new(pgx.Batch)
	b.Queue(`INSERT INTO event_position (subscription, sequence, stored_at, generation) VALUES ($1, 0, 0, 1)
		ON CONFLICT (subscription) DO UPDATE SET sequence = 0, stored_at = 0, generation = event_position.generation + 1`, subscription)
	b.Queue(`DELETE FROM event_inbox WHERE subscription = $1`, subscription)
	b.Queue(`DELETE FROM event_aside WHERE subscription = $1`, subscription)
	if err := db.Send(ctx, b); err != nil {
		return fmt.Errorf("replay %s: %w", subscription, err)
	}
	return nil
}
