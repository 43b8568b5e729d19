package chassis

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
)

const (
	// disabledSince is how far back a process asks which clients were disabled: longer than any token lives, as who was
	// disabled before that has none any more.
	disabledSince = 15 * time.Minute
	// disabledWait is how long a start waits to learn of them. Without an answer it goes on, but is not ready.
	disabledWait = 3 * time.Second
)

var errDisabled = &fault.Error{
	Code: codes.Unauthenticated, Reason: "CLIENT_DISABLED",
	Message: "the client has been disabled: its tokens are good no longer; ask whoever registered it",
}

// disabledClients knows which clients were disabled while their tokens live, and ends what they have open. Every process has
// one, told by the events of the partners service.
type disabledClients struct {
	tail *events.Tail // nil: nobody tells

	mu       sync.RWMutex
	revision map[string]int64 // by client: "apiClients/…"
	disabled map[string]bool
	open     map[string]map[*func()]struct{} // what ends the streams of a client
}

func newDisabledClients() *disabledClients {
	return &disabledClients{revision: map[string]int64{}, disabled: map[string]bool{}, open: map[string]map[*func()]struct{}{}}
}

// check returns an error if the caller is a client that was disabled.
func (d *disabledClients) check(p auth.Principal) error {
	if p.Kind != auth.Client {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.disabled[p.Subject] {
		return errDisabled
	}
	return nil
}

// watch has end called when the caller is disabled, until the returned function is called. If she is already it returns an error.
func (d *disabledClients) watch(p auth.Principal, end func()) (func(), error) {
	if p.Kind != auth.Client {
		return func() {}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.disabled[p.Subject] {
		return nil, errDisabled
	}
	ends := d.open[p.Subject]
	if ends == nil {
		ends = map[*func()]struct{}{}
		d.open[p.Subject] = ends
	}
	ends[&end] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.open[p.Subject], &end)
		if len(d.open[p.Subject]) == 0 {
			delete(d.open, p.Subject)
		}
	}, nil
}

// told takes over what an event says.
func (d *disabledClients) told(log *slog.Logger) func(*events.Received) {
	return func(e *events.Received) {
		var c partnersv1.ApiClientChanged
		if err := e.Decode(&c); err != nil {
			log.Error("cannot read who was disabled", "event", e.ID, "err", err)
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if e.Revision <= d.revision[e.Subject] {
			return
		}
		d.revision[e.Subject] = e.Revision
		if !c.GetDisabled() {
			delete(d.disabled, e.Subject)
			return
		}
		d.disabled[e.Subject] = true
		for end := range d.open[e.Subject] {
			(*end)()
		}
	}
}

// followDisabled begins to follow which clients are disabled, and waits a little until those are known that were.
func (p *Process) followDisabled(ctx context.Context) {
	if p.nats == nil {
		return
	}
	tail := &events.Tail{NATS: p.nats, Source: "partners", Collection: "apiClients", Since: disabledSince, Log: p.tel.Log, Handle: p.disabled.told(p.tel.Log)}
	p.disabled.tail = tail
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		if err := tail.Run(work); err != nil {
			p.fail(err)
		}
	})
	p.onStop(func(stop context.Context) error {
		cancel()
		if !within(stop, running.Wait) {
			return errors.New("the follower of disabled clients did not stop in time")
		}
		return nil
	})
	wait, done := context.WithTimeout(ctx, disabledWait)
	defer done()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !tail.Current() {
		select {
		case <-wait.Done():
			p.tel.Log.WarnContext(ctx, "not yet known which clients are disabled: not ready until then")
			return
		case <-tick.C:
		}
	}
}

// ready returns an error until it is known who was disabled before the start.
func (d *disabledClients) ready() error {
	if d.tail == nil || d.tail.Current() {
		return nil
	}
	return errors.New("it is not known which clients are disabled")
}

// enabledTokens verifies tokens, and refuses those of disabled clients.
type enabledTokens struct {
	TokenVerifier
	disabled *disabledClients
}

// Verify tells who a bearer token is.
func (v enabledTokens) Verify(ctx context.Context, token string) (auth.Principal, error) {
	p, err := v.TokenVerifier.Verify(ctx, token)
	if err != nil {
		return p, err
	}
	if err := v.disabled.check(p); err != nil {
		return auth.Principal{}, err
	}
	return p, nil
}

// endDisabledStreams ends the streams of a client that is disabled.
func endDisabledStreams(d *disabledClients) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, cancel := context.WithCancelCause(ss.Context())
		defer cancel(nil)
		leave, err := d.watch(auth.PrincipalFrom(ctx), func() { cancel(errDisabled) })
		if err != nil {
			return err
		}
		defer leave()
		received := func(any) error {
			if ctx.Err() != nil && errors.Is(context.Cause(ctx), errDisabled) {
				return errDisabled
			}
			return nil
		}
		err = next(srv, &guarded{ServerStream: ss, ctx: ctx, received: received})
		if err != nil && errors.Is(context.Cause(ctx), errDisabled) {
			return errDisabled
		}
		return err
	}
}
