package events

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// apply applies the delivery or sets it aside; it tells false if it was stopped before.
func (l *lanes) apply(d *delivery) bool {
	if d.bad != nil {
		d.event.ID = uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s/%d", Source(l.sub.Source), d.sequence))
		return l.setAside(d, fmt.Errorf("no event of ours: %w", d.bad), 1)
	}
	retry := l.retry
	for tries, failed := 0, 0; ; { // tries that count, and those of them that failed by themselves
		select {
		case l.slots <- struct{}{}:
		case <-l.feeding.Done():
			return false
		}
		if l.feeding.Err() != nil {
			<-l.slots
			return false
		}
		err := l.attempt(d)
		<-l.slots
		switch {
		case err == nil:
			l.metrics.wasApplied(l.working, l.sub.Name, d.event, "applied")
			return true
		case l.working.Err() != nil:
			return false
		case isPoison(err):
			return l.setAside(d, err, tries+1)
		case !unreachable(err):
			tries++
			if !tooMuch(err) {
				failed++
			}
			if failed >= attempts || tries >= overtaxed {
				return l.setAside(d, err, tries)
			}
		}
		l.Log.WarnContext(l.working, "event is tried again", "event", d.event.ID, "type", d.event.Type, "failed", tries, "error", err)
		if !retry.wait(l.feeding) {
			return false
		}
	}
}

// attempt applies the event once.
func (l *lanes) attempt(d *delivery) (err error) {
	e := d.event
	ctx, cancel := context.WithTimeout(l.working, tryFor)
	defer cancel()
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: e.traceparent})
	ctx, span := otel.Tracer(scope).Start(ctx, "consume "+e.Type,
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.consumer.group.name", l.sub.Name),
			attribute.String("messaging.message.id", e.ID.String()),
			attribute.String("cairn.subject", e.Subject)))
	defer func() {
		if p := recover(); p != nil {
			l.Log.ErrorContext(ctx, "event handler panicked", "type", e.Type, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil {
			span.SetStatus(otelcodes.Error, "not applied") // the cause may be personal: it is for the log
		}
		span.End()
	}()
	ctx = audit.Operation(auth.System(ctx, l.Service), "event "+e.Type)
	ctx, committed := l.Waker.Track(ctx)

	if d.stored.Before(l.started) { // spares the handler's calls when a new leader goes on
		if seen, err := inInbox(ctx, l.DB, l.sub.Name, e.ID); err != nil || seen {
			return err
		}
	}
	write, err := l.sub.handler(e.Type)(ctx, e)
	if err != nil || write == nil {
		return err
	}
	err = l.DB.Tx(ctx, func(tx pgx.Tx) error {
		first, err := insertInbox(ctx, tx, l.sub.Name, e.ID)
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
		if !first {
			return errSeen
		}
		return write(ctx, tx)
	})
	if errors.Is(err, errSeen) {
		return nil
	}
	committed()
	if err == nil && l.sub.Applied != nil {
		l.sub.Applied()
	}
	return err
}

var errSeen = errors.New("event has been applied already")

// setAside keeps the event with the reason, and so is done with it; it tells false if it was
// stopped before.
func (l *lanes) setAside(d *delivery, reason error, failed int) bool {
	e := d.event
	l.Log.ErrorContext(l.working, "event is set aside", "event", e.ID, "type", e.Type, "subject", e.Subject, "attempts", failed, "error", reason)
	retry := l.retry
	for {
		b := new(pgx.Batch)
		b.Queue(insertAside, pgx.NamedArgs{
			"subscription": l.sub.Name, "event_id": e.ID, "type": e.Type, "subject": e.Subject, "revision": e.Revision,
			"data": string(e.data), "sequence": int64(d.sequence), "reason": truncate(reason.Error(), 2000), "attempts": failed,
		})
		b.Queue(`INSERT INTO event_inbox (subscription, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, l.sub.Name, e.ID)
		ctx, cancel := context.WithTimeout(l.working, tryFor)
		err := l.DB.Send(ctx, b)
		cancel()
		if err == nil {
			l.metrics.wasApplied(l.working, l.sub.Name, e, "aside")
			return true
		}
		l.Log.WarnContext(l.working, "cannot set event aside", "event", e.ID, "error", err)
		if !retry.wait(l.feeding) {
			return false
		}
	}
}

// unreachable tells whether err only says that something is away for a while.
func unreachable(err error) bool {
	return fault.Unreachable(err) || fault.From(err).Code() == codes.Unavailable
}

// tooMuch tells whether err says that something has too much to do, or that the event asks too much of it.
func tooMuch(err error) bool {
	code := fault.From(err).Code()
	return code == codes.DeadlineExceeded || code == codes.ResourceExhausted
}

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}
