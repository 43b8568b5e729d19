package importer

import (
	"context"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cairn.care/services/formats/meetingguide"
)

// attempts to reach a service that is away for a moment, with doubling waits between them from firstWait on.
const (
	attempts  = 6
	firstWait = 100 * time.Millisecond
)

// retry repeats a call that may succeed later. A call that changes something carries a request_id, so that one which has
// happened already is answered as before.
func retry[M any](ctx context.Context, call func() (M, error)) (M, error) {
	for n, wait := 1, firstWait; ; n, wait = n+1, wait*2 {
		m, err := call()
		switch status.Code(err) {
		case codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		default:
			return m, err
		}
		if n == attempts {
			return m, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return m, err
		}
	}
}

// asRejected turns a service's refusal of a row into a rejected row; any other error it returns.
func asRejected(e *meetingguide.Entry, err error) (*meetingguide.Rejected, error) {
	if err == nil {
		return nil, nil
	}
	st := status.Convert(err)
	r := &meetingguide.Rejected{Row: e.Row, Value: e.Group.GetExternalId(), Field: "slug", Reason: st.Message()}
	switch st.Code() {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.AlreadyExists:
	default:
		return nil, err
	}
	for _, d := range st.Details() {
		if b, ok := d.(*errdetails.BadRequest); ok && len(b.GetFieldViolations()) > 0 {
			v := b.GetFieldViolations()[0]
			r.Field, r.Value, r.Reason = strings.TrimPrefix(v.GetField(), "group."), "", v.GetDescription()
		}
	}
	return r, nil
}
