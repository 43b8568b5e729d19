package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// feed gives the stream's messages to the lanes, in order and without gaps, until ctx ends.
func (c *subscriber) feed(ctx context.Context, js jetstream.JetStream, l *lanes) {
	retry := backoff{first: 20 * time.Millisecond, most: time.Second}
	for ctx.Err() == nil {
		fed, err := c.feedFrom(ctx, js, l)
		if ctx.Err() != nil {
			return
		}
		if fed {
			retry.reset()
		}
		c.Log.WarnContext(ctx, "events wait: cannot read the stream", "source", c.sub.Source, "error", err)
		retry.wait(ctx)
	}
}

// feedFrom reads on behind the last message that the lanes got. It tells whether it read any.
func (c *subscriber) feedFrom(ctx context.Context, js jetstream.JetStream, l *lanes) (fed bool, err error) {
	stream, err := openStream(ctx, js, c.sub.Source, c.Replicas)
	if err != nil {
		return false, err
	}
	cfg := jetstream.ConsumerConfig{
		Description:       c.sub.Name + " of Cairn",
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 30 * time.Second,
	}
	if err := c.startAt(ctx, stream, l, &cfg); err != nil {
		return false, err
	}
	cons, err := stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return false, fmt.Errorf("create consumer: %w", err)
	}
	messages, err := cons.Messages(
		jetstream.PullMaxMessages(500), jetstream.PullExpiry(10*time.Second),
		jetstream.PullHeartbeat(time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return false, fmt.Errorf("read: %w", err)
	}
	defer messages.Stop()
	for next := uint64(1); ; next++ {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fed, fmt.Errorf("next: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fed, fmt.Errorf("message: %w", err)
		}
		if meta.Sequence.Consumer != next {
			return fed, fmt.Errorf("message %d of this consumer came, want %d", meta.Sequence.Consumer, next)
		}
		c.metrics.wasRead(ctx, c.sub.Name, meta.NumPending)
		if !l.add(newDelivery(msg, meta)) {
			return fed, ctx.Err()
		}
		fed = true
	}
}

// startAt sets where to read on. If the stream is not the one that the last message came from
// any more, because it lost its tail or was made anew, it starts far enough before the loss to
// meet everything that was published again; the inbox knows what is done.
func (c *subscriber) startAt(ctx context.Context, stream jetstream.Stream, l *lanes, cfg *jetstream.ConsumerConfig) error {
	cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	last := l.last()
	if last.Sequence == 0 {
		return nil
	}
	m, err := stream.GetMsg(ctx, last.Sequence)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("compare stream with position: %w", err)
	}
	if err == nil && m.Time.UnixNano() == last.StoredAt {
		cfg.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
		cfg.OptStartSeq = last.Sequence + 1
		return nil
	}
	from := time.Unix(0, last.StoredAt).Add(-keep - time.Minute)
	c.Log.WarnContext(ctx, "the stream lost events; reads it again", "position", last.Sequence, "from", from)
	l.drain()
	l.rewind()
	cfg.DeliverPolicy = jetstream.DeliverByStartTimePolicy
	cfg.OptStartTime = &from
	return nil
}
