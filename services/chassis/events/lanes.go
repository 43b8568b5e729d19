package events

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// delivery is a message on its way through the lanes.
type delivery struct {
	event    *Received
	bad      error // why it is no event of ours
	sequence uint64
	stored   time.Time // by JetStream
	done     bool
}

func newDelivery(msg jetstream.Msg, meta *jetstream.MsgMetadata) *delivery {
	e, err := parse(msg.Headers(), msg.Data())
	return &delivery{event: e, bad: err, sequence: meta.Sequence.Stream, stored: meta.Timestamp}
}

// lanes applies deliveries: those of one subject one after another, those of different ones
// side by side, so that an event that is tried again holds up its own subject only.
type lanes struct {
	*subscriber
	working context.Context // of attempts
	feeding context.Context // ends when no more attempts are to begin
	started time.Time       // what JetStream stored before may have been applied already
	slots   chan struct{}

	mu     sync.Mutex
	change *sync.Cond             // the window moved, a lane ended, or feeding did
	open   map[string][]*delivery // by subject; the first is being applied
	order  []*delivery            // from the first that is not done
	done   position               // everything up to it is done
	newest position               // the last one added
}

func newLanes(working, feeding context.Context, c *subscriber, at position) *lanes {
	l := &lanes{
		subscriber: c, working: working, feeding: feeding, started: time.Now(),
		slots: make(chan struct{}, workers), open: map[string][]*delivery{}, done: at, newest: at,
	}
	l.change = sync.NewCond(&l.mu)
	context.AfterFunc(feeding, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.change.Broadcast()
	})
	return l
}

// position is the point up to which everything is done.
func (l *lanes) position() position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// last is where the last delivery stands in the stream.
func (l *lanes) last() position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest
}

// add takes a delivery, when there is room; it tells false if it is to stop.
func (l *lanes) add(d *delivery) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.order) >= window && l.feeding.Err() == nil {
		l.change.Wait()
	}
	if l.feeding.Err() != nil {
		return false
	}
	l.newest.Sequence, l.newest.StoredAt = d.sequence, d.stored.UnixNano()
	l.order = append(l.order, d)
	if d.bad == nil && l.sub.handler(d.event.Type) == nil {
		l.finish(d)
		return true
	}
	queue := l.open[d.event.Subject]
	l.open[d.event.Subject] = append(queue, d)
	if len(queue) == 0 {
		go l.run(d.event.Subject, d)
	}
	return true
}

// run applies the deliveries of one subject until none is left or no more are to begin.
func (l *lanes) run(subject string, d *delivery) {
	for d != nil {
		done := l.apply(d)
		l.mu.Lock()
		if done {
			l.finish(d)
		}
		queue := l.open[subject][1:]
		if len(queue) > 0 && done {
			l.open[subject], d = queue, queue[0]
		} else {
			delete(l.open, subject)
			d = nil
			l.change.Broadcast()
		}
		l.mu.Unlock()
	}
}

// finish moves the position as far as everything is done.
func (l *lanes) finish(d *delivery) {
	d.done = true
	n := 0
	for n < len(l.order) && l.order[n].done {
		l.done.Sequence, l.done.StoredAt = l.order[n].sequence, l.order[n].stored.UnixNano()
		l.order[n] = nil
		n++
	}
	if n > 0 {
		l.order = l.order[n:]
		l.change.Broadcast()
	}
}

// drain waits until no lane is open.
func (l *lanes) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open) > 0 {
		l.change.Wait()
	}
}

// rewind forgets the position, because the stream it was in has changed.
func (l *lanes) rewind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.order = nil
	l.started = time.Now()
}
