package events

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const traceparent = "traceparent"

// Headers of the NATS binding of CloudEvents 1.0 in binary mode, with the extensions
// revision and traceparent (CloudEvents Distributed Tracing).
const (
	headerSpec        = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerRevision    = "ce-revision"
	headerTrace       = "ce-traceparent"
	headerContentType = "content-type"
)

// StreamName is the stream that holds the events of a service.
func StreamName(service string) string { return "CAIRN_" + strings.ToUpper(service) }

// Source is the CloudEvents source of a service's events.
func Source(service string) string { return "//cairn.care/" + service }

// NATSSubject is the NATS subject of a service's events about a resource.
func NATSSubject(service, resource string) string {
	b := []byte("cairn." + service + "." + resource)
	for i := len(b) - len(resource); i < len(b); i++ {
		switch c := b[i]; {
		case c == '/':
			b[i] = '.'
		case c == '.', c == '*', c == '>', c <= ' ', c >= 0x7f:
			b[i] = '_'
		}
	}
	return string(b)
}

// message makes the CloudEvent of an outbox row.
func message(service string, r outboxRow) *nats.Msg {
	h := nats.Header{
		jetstream.MsgIDHeader: {r.EventID.String()},
		headerSpec:            {"1.0"},
		headerID:              {r.EventID.String()},
		headerSource:          {Source(service)},
		headerType:            {r.Type},
		headerSubject:         {r.Subject},
		headerTime:            {r.CreatedAt.UTC().Format(time.RFC3339Nano)},
		headerRevision:        {strconv.FormatInt(r.Revision, 10)},
		headerContentType:     {"application/json"},
	}
	if r.Traceparent != "" {
		h[headerTrace] = []string{r.Traceparent}
	}
	return &nats.Msg{Subject: NATSSubject(service, r.Subject), Header: h, Data: []byte(r.Data)}
}

// Received is an event as a consumer gets it.
type Received struct {
	ID       uuid.UUID // the same at every delivery
	Type     string
	Subject  string // the resource's name
	Revision int64  // the resource's revision after the change; an older one than known is stale
	Time     time.Time

	data        []byte
	traceparent string
}

// Decode reads the event's data. Fields that a newer publisher added are ignored. Its error
// is permanent.
func (r *Received) Decode(m proto.Message) error {
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(r.data, m); err != nil {
		return Poison(fmt.Errorf("data of %s: %w", r.Type, err))
	}
	return nil
}

// JSON returns the event's data as it was published.
func (r *Received) JSON() []byte { return r.data }

// Received returns the event as a consumer would get it, with an id of its own: for tests that
// give handlers events twice, late or in another order.
func (e Event) Received() (*Received, error) {
	row, err := e.row(context.Background())
	if err != nil {
		return nil, err
	}
	m := message("", row)
	return parse(m.Header, m.Data)
}

// parse reads a CloudEvent. What can be read is returned with an error too.
func parse(h nats.Header, data []byte) (*Received, error) {
	r := &Received{
		Type: h.Get(headerType), Subject: h.Get(headerSubject),
		data: data, traceparent: h.Get(headerTrace),
	}
	var err error
	if r.ID, err = uuid.Parse(h.Get(headerID)); err != nil {
		return r, fmt.Errorf("%s %q: %w", headerID, h.Get(headerID), err)
	}
	if r.Revision, err = strconv.ParseInt(h.Get(headerRevision), 10, 64); err != nil {
		return r, fmt.Errorf("%s: %w", headerRevision, err)
	}
	if r.Time, err = time.Parse(time.RFC3339Nano, h.Get(headerTime)); err != nil {
		return r, fmt.Errorf("%s: %w", headerTime, err)
	}
	if v := h.Get(headerSpec); v != "1.0" {
		return r, fmt.Errorf("%s is %q, want 1.0", headerSpec, v)
	}
	return r, nil
}
