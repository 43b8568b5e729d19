package events

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Tail reads what a service tells about one collection, in every process that asks, keeping nothing: for what each process
// must know at once and may forget. A [Consumer] is for all else.
type Tail struct {
	NATS       *nats.Conn
	Source     string        // the publishing service: "partners"
	Collection string        // "apiClients"
	Since      time.Duration // how far back it begins
	Log        *slog.Logger

	// Handle gets each event, in order, and again after a break: it drops those whose revision is not above the one it knows.
	Handle func(*Received)

	current atomic.Bool
}

// Current tells whether all that was published before the start has been handled.
func (t *Tail) Current() bool { return t.current.Load() }

// Run reads until ctx ends.
func (t *Tail) Run(ctx context.Context) error {
	js, err := jetstream.New(t.NATS, jetstream.WithDefaultTimeout(ackWait))
	if err != nil {
		return fmt.Errorf("tail of %s: %w", t.Source, err)
	}
	retry := backoff{first: 20 * time.Millisecond, most: time.Second}
	from := time.Now().Add(-t.Since)
	for ctx.Err() == nil {
		read, err := t.read(ctx, js, from)
		if ctx.Err() != nil {
			return nil
		}
		if !read.IsZero() { // again what was near the break: stored times are the server's
			from = read.Add(-time.Minute)
			retry.reset()
		}
		t.Log.WarnContext(ctx, "cannot read the stream", "source", t.Source, "collection", t.Collection, "error", err)
		retry.wait(ctx)
	}
	return nil
}

// read handles events from a time on until something breaks. It returns when the last one was stored.
func (t *Tail) read(ctx context.Context, js jetstream.JetStream, from time.Time) (last time.Time, err error) {
	stream, err := openStream(ctx, js, t.Source, 0)
	if err != nil {
		return last, err
	}
	cons, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Description: "tail of Cairn", AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: 30 * time.Second,
		FilterSubject:     "cairn." + t.Source + "." + t.Collection + ".>",
		DeliverPolicy:     jetstream.DeliverByStartTimePolicy, OptStartTime: &from,
	})
	if err != nil {
		return last, fmt.Errorf("create consumer: %w", err)
	}
	if cons.CachedInfo().NumPending == 0 {
		t.current.Store(true)
	}
	messages, err := cons.Messages(jetstream.PullMaxMessages(100), jetstream.PullExpiry(10*time.Second),
		jetstream.PullHeartbeat(time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return last, fmt.Errorf("read: %w", err)
	}
	defer messages.Stop()
	for next := uint64(1); ; next++ {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return last, fmt.Errorf("next: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return last, fmt.Errorf("message: %w", err)
		}
		if meta.Sequence.Consumer != next {
			return last, fmt.Errorf("message %d of this consumer came, want %d", meta.Sequence.Consumer, next)
		}
		if e, err := parse(nats.Header(msg.Headers()), msg.Data()); err != nil {
			t.Log.ErrorContext(ctx, "no event of ours", "source", t.Source, "error", err)
		} else {
			t.Handle(e)
		}
		if last = meta.Timestamp; meta.NumPending == 0 {
			t.current.Store(true)
		}
	}
}
