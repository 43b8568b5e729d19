package events

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
)

// Times and bounds of consumers.
const (
	workers    = 4                      // events applied at once; each takes a connection of the pool
	window     = 4096                   // events held at once, from the oldest that is not done
	saveEvery  = 500 * time.Millisecond // the position, which is also the leadership's heartbeat
	drainFor   = 10 * time.Second       // for events that are being applied when the process stops
	tryFor     = 30 * time.Second       // one attempt
	attempts   = 8                      // before an event goes aside
	overtaxed  = 50                     // the same, those counted that came too late or met a quota
	sweepEvery = 10 * time.Minute
	inboxFor   = 7 * 24 * time.Hour
)

// Consumer applies the events of a service's subscriptions. Of the consumers of several
// processes one works at a time on each subscription.
//
// Where a subscription stands is kept in the service's own database, not in JetStream: a
// database restored from a backup asks for what it lacks, and a new leader goes on at
// once with exactly the first event that is not done. JetStream is read through a consumer
// that lives as long as the leadership.
type Consumer struct{ subscribers []*subscriber }

// NewConsumer returns the consumer of a service's subscriptions.
func NewConsumer(c Config, subscriptions ...Subscription) (*Consumer, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m, err := newMetrics()
	if err != nil {
		return nil, fmt.Errorf("consumer of %s: %w", c.Service, err)
	}
	names := map[string]bool{}
	all := new(Consumer)
	for _, s := range subscriptions {
		if err := s.check(); err != nil {
			return nil, err
		}
		if names[s.Name] {
			return nil, fmt.Errorf("two subscriptions are named %q", s.Name)
		}
		names[s.Name] = true
		own := c
		own.Log = c.Log.With("subscription", s.Name)
		all.subscribers = append(all.subscribers, &subscriber{Config: own, sub: s, metrics: m, retry: backoff{first: 50 * time.Millisecond, most: 5 * time.Second}})
	}
	return all, nil
}

// Run applies events until ctx ends, and then lets those finish that it has begun with.
func (c *Consumer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for _, s := range c.subscribers {
		js, err := jetstream.New(s.NATS, jetstream.WithDefaultTimeout(ackWait))
		if err != nil {
			return fmt.Errorf("consumer %s: %w", s.sub.Name, err)
		}
		running.Go(func() {
			lead(ctx, s.DB, "subscription "+s.sub.Name, s.Log, func(ctx context.Context, conn *pgx.Conn) error {
				return s.consume(ctx, js, conn)
			})
		})
	}
	return nil
}

// subscriber applies the events of one subscription.
type subscriber struct {
	Config
	sub     Subscription
	metrics *metrics
	retry   backoff // between attempts
}

// consume is one leadership: it feeds events to the lanes, and saves the position that they
// come to on the leader's connection.
func (c *subscriber) consume(ctx context.Context, js jetstream.JetStream, conn *pgx.Conn) error {
	for ctx.Err() == nil {
		at, err := loadPosition(ctx, conn, c.sub.Name)
		if err != nil {
			return fmt.Errorf("load position: %w", err)
		}
		// Attempts outlive ctx, so that what is begun is finished, but not the leadership.
		working, abandon := context.WithCancel(context.WithoutCancel(ctx))
		feeding, stop := context.WithCancel(ctx)
		l := newLanes(working, feeding, c, at)
		var feeder sync.WaitGroup
		feeder.Go(func() { c.feed(feeding, js, l) })

		err = c.keepPosition(ctx, conn, l)

		stop()
		feeder.Wait()
		if err != nil {
			abandon()
		}
		timer := time.AfterFunc(drainFor, abandon)
		l.drain()
		timer.Stop()
		abandon()
		if err != nil {
			return err
		}
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackWait)
		_, err = savePosition(saving, conn, c.sub.Name, l.position())
		cancel()
		if err != nil {
			return fmt.Errorf("save position: %w", err)
		}
	}
	return ctx.Err()
}

// keepPosition saves the position until ctx ends or the subscription is made to start over;
// its error is that the leadership is lost.
func (c *subscriber) keepPosition(ctx context.Context, conn *pgx.Conn, l *lanes) error {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	var swept time.Time
	saved := l.position()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackWait)
		at := l.position()
		current, err := c.save(saving, conn, saved, at)
		saved = at
		if err == nil && time.Since(swept) > sweepEvery {
			swept = time.Now()
			err = c.sweepInbox(saving, conn)
		}
		cancel()
		if err != nil {
			return fmt.Errorf("save position: %w", err)
		}
		if !current {
			c.Log.InfoContext(ctx, "starts over")
			return nil
		}
	}
}

// save saves the position if it has moved; it tells false if the subscription has been made to
// start over.
func (c *subscriber) save(ctx context.Context, conn *pgx.Conn, saved, at position) (bool, error) {
	if at != saved {
		return savePosition(ctx, conn, c.sub.Name, at)
	}
	n, err := generation(ctx, conn, c.sub.Name)
	return n == at.Generation, err
}

func (c *subscriber) sweepInbox(ctx context.Context, conn *pgx.Conn) error {
	for range 20 { // the rest at the next sweep
		n, err := deleteInbox(ctx, conn, c.sub.Name, time.Now().Add(-inboxFor), 5000)
		if err != nil || n < 5000 {
			return err
		}
	}
	return nil
}
