// Package events tells other services what has changed: the event is written with the change,
// published to JetStream by a relay, and applied by the consumers of other services.
//
// An event is queued as an outbox row in the batch or transaction of the change ([Queue],
// [Insert]): it exists exactly if the change does. Whoever writes it has inserted, updated or
// locked the resource's row before, so that the outbox rows of a resource have its order. The
// service's [Relay] publishes them as CloudEvents 1.0 in the binary mode of the NATS binding,
// to the stream CAIRN_<SERVICE> and the subject cairn.<service>.<collection>.<id>.
//
// A [Consumer] applies the events of a [Subscription] in order per subject, each once in
// effect, and can start over ([Replay]). Streams keep every event.
package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"cairn.care/services/chassis/pg"
)

// Event is a change that others may want to know of.
type Event struct {
	Type     string        // "care.cairn.groups.group.published.v1"
	Subject  string        // the resource's name, "groups/<uuid>"
	Revision int64         // the resource's revision after the change
	Data     proto.Message // no personal data beyond resource names
}

// maxData bounds an event's data: what JetStream would refuse must not be committed.
const maxData = 256 << 10

// Queue adds the event to the batch of the change it tells of, after the change.
func Queue(ctx context.Context, b *pgx.Batch, e Event) error {
	args, err := outboxArgs(ctx, e)
	if err != nil {
		return err
	}
	b.Queue(insertOutbox, args)
	touch(ctx)
	return nil
}

// Insert adds the event to the transaction of the change it tells of. The resource's row
// must be locked by then, else events of one resource may leave in another order than theirs.
func Insert(ctx context.Context, tx pg.Querier, e Event) error {
	args, err := outboxArgs(ctx, e)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, insertOutbox, args); err != nil {
		return fmt.Errorf("insert event %s: %w", e.Type, err)
	}
	touch(ctx)
	return nil
}

const insertOutbox = `
INSERT INTO outbox (event_id, type, subject, revision, data, traceparent)
VALUES (@event_id, @type, @subject, @revision, @data, @traceparent)`

func outboxArgs(ctx context.Context, e Event) (pgx.NamedArgs, error) {
	r, err := e.row(ctx)
	if err != nil {
		return nil, err
	}
	return pgx.NamedArgs{
		"event_id": r.EventID, "type": r.Type, "subject": r.Subject, "revision": r.Revision,
		"data": r.Data, "traceparent": r.Traceparent,
	}, nil
}

// row checks the event and makes its outbox row.
func (e Event) row(ctx context.Context) (r outboxRow, err error) {
	switch {
	case !strings.HasPrefix(e.Type, "care.cairn."):
		return r, fmt.Errorf("event type %q is not in care.cairn", e.Type)
	case !strings.Contains(e.Subject, "/"):
		return r, fmt.Errorf("event %s: subject %q is no resource name", e.Type, e.Subject)
	case e.Data == nil:
		return r, fmt.Errorf("event %s of %s has no data", e.Type, e.Subject)
	}
	data, err := protojson.Marshal(e.Data)
	if err != nil {
		return r, fmt.Errorf("event %s of %s: %w", e.Type, e.Subject, err)
	}
	if len(data) > maxData {
		return r, fmt.Errorf("event %s of %s has %d bytes of data, at most %d are allowed", e.Type, e.Subject, len(data), maxData)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return r, fmt.Errorf("event id: %w", err)
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return outboxRow{
		EventID: id, Type: e.Type, Subject: e.Subject, Revision: e.Revision,
		Data: string(data), Traceparent: carrier[traceparent], CreatedAt: time.Now().UTC(),
	}, nil
}

// Poison marks a handler's error as permanent: the event goes aside at once, with the error
// as its reason. The error must not hold personal data.
func Poison(err error) error { return &poison{err} }

type poison struct{ error }

func (p *poison) Unwrap() error { return p.error }

func isPoison(err error) bool {
	_, ok := errors.AsType[*poison](err)
	return ok
}
