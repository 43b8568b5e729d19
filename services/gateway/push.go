package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/fault"
)

// uploads are the routes of methods whose request is a stream, for which none is generated: the body goes on as it comes.
func uploads() map[string]*annotations.HttpRule {
	return map[string]*annotations.HttpRule{
		groupsv1.FeedsService_PushFeed_FullMethodName: {Pattern: &annotations.HttpRule_Post{Post: "/v1/{name=feeds/*}:push"}, Body: "content"},
	}
}

const (
	pieceSize = 128 << 10   // bytes of a body that are in memory, and in one message
	pieceTime = time.Minute // in which each arrives
	restTime  = time.Second // for what net/http reads of a body that is refused
)

// pushFeed streams the body of POST /v1/feeds/{feed}:push to the groups service. The body has its own limit, the service's; gzip is
// recognised there.
func (g *Gateway) pushFeed(feeds groupsv1.FeedsServiceClient) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		c := callFrom(r.Context())
		run, err := c.push(w, r, feeds, params["name"])
		if err != nil {
			if slow := supported(http.NewResponseController(w).SetReadDeadline(time.Now().Add(restTime))); slow != nil {
				err = errors.Join(err, slow)
			}
			g.fail(w, r, err)
			return
		}
		body, err := newMarshaler().Marshal(run)
		if err != nil {
			g.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write(body); err != nil {
			return // the caller has gone
		}
	}
}

func (c *call) push(w http.ResponseWriter, r *http.Request, feeds groupsv1.FeedsServiceClient, name string) (*groupsv1.FeedRun, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "gzip") && !strings.EqualFold(e, "identity") {
		return nil, &statusError{http.StatusUnsupportedMediaType, &fault.Error{
			Code: codes.InvalidArgument, Reason: "UNSUPPORTED_MEDIA_TYPE", Message: "Content-Encoding may be gzip",
		}}
	}
	first := &groupsv1.PushFeedRequest{}
	if err := runtime.PopulateQueryParameters(first, r.URL.Query(), utilities.NewDoubleArray(nil)); err != nil {
		return nil, fault.Invalid(fault.Field("query", "cannot be read"))
	}
	first.Name, first.Content = name, nil
	if c.idempotencyKey != "" {
		if err := setHeader(first.ProtoReflect(), "request_id", "requestId", "Idempotency-Key", c.idempotencyKey); err != nil {
			return nil, err
		}
	}
	if err := patient(w); err != nil {
		return nil, err
	}
	md := metadata.Pairs(chassis.RequestIDHeader, c.id)
	if a := r.Header.Get("Authorization"); a != "" {
		md.Set("authorization", a)
	}
	c.invoked = true
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(r.Context(), md))
	defer cancel() // a body that broke off leaves nothing
	stream, err := feeds.PushFeed(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(first); err != nil {
		return stream.CloseAndRecv()
	}
	if md, err := stream.Header(); err != nil || len(md) == 0 { // the service refuses the caller or the feed: nothing of the body is awaited
		return stream.CloseAndRecv()
	}
	rc := http.NewResponseController(w)
	for {
		if err := supported(rc.SetReadDeadline(time.Now().Add(pieceTime))); err != nil {
			return nil, err
		}
		m := &groupsv1.PushFeedRequest{Content: make([]byte, pieceSize)} // in one process the message itself goes over
		n, read := fill(r.Body, m.GetContent())
		m.Content = m.GetContent()[:n]
		if read != nil && !errors.Is(read, io.EOF) {
			return nil, fault.Invalid(fault.Field("body", "did not arrive whole, or more slowly than 128 KiB a minute"))
		}
		if read != nil { // net/http takes a deadline that passes from here on for a caller that has gone
			if err := supported(rc.SetReadDeadline(time.Time{})); err != nil {
				return nil, err
			}
		}
		if err := stream.Send(m); err != nil || read != nil { // if it failed, the service says why below
			return stream.CloseAndRecv()
		}
	}
}

// fill reads until buf is full or r has ended: then, and only then, it returns io.EOF.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}
