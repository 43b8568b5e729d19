package events

import (
	"context"
	"sync/atomic"
)

// Waker tells the relay of the same process that events have been committed, so that it need
// not wait for its next look. It costs nothing when no event was queued.
type Waker struct {
	c      chan struct{}
	others []chan struct{}
}

// NewWaker returns a waker for one service's relay and everything that queues its events.
func NewWaker() *Waker { return &Waker{c: make(chan struct{}, 1)} }

// Wake makes the relay look for events now. It never blocks.
func (w *Waker) Wake() {
	wake(w.c)
	for _, c := range w.others {
		wake(c)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Also returns a channel that something besides the relay waits on. It must be called before anything can wake.
func (w *Waker) Also() <-chan struct{} {
	c := make(chan struct{}, 1)
	w.others = append(w.others, c)
	return c
}

// Track returns a context that remembers whether an event was queued with it, and a function
// to call when what was begun with it is committed: it wakes the relay if one was.
func (w *Waker) Track(ctx context.Context) (context.Context, func()) {
	queued := new(atomic.Bool)
	return context.WithValue(ctx, trackKey{}, queued), func() {
		if queued.Swap(false) {
			w.Wake()
		}
	}
}

type trackKey struct{}

func touch(ctx context.Context) {
	if queued, ok := ctx.Value(trackKey{}).(*atomic.Bool); ok {
		queued.Store(true)
	}
}
