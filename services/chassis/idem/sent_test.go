package idem_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// What a face was sent is done once, whatever it asks of the service by then, and it may ask whether it was.
func TestSent(t *testing.T) {
	h := setup(t)
	id := uuid.NewString()
	arriving := func(ctx context.Context) context.Context { // as the face has sent it
		md, _ := metadata.FromOutgoingContext(ctx)
		return metadata.NewIncomingContext(t.Context(), md)
	}
	look := func(ctx context.Context, id string) (done bool, code codes.Code) {
		ctx = auth.WithPrincipal(arriving(idem.UnlessDone(ctx, id)), auth.Principal{Kind: auth.Client, Subject: "a", Organization: "organizations/1"})
		_, err := h.interceptor(ctx, wrapperspb.String("read"), &grpc.UnaryServerInfo{FullMethod: "/test.v1.Things/GetThing"},
			func(context.Context, any) (any, error) { return wrapperspb.String("thing"), nil })
		if err == nil {
			return false, codes.OK
		}
		for _, d := range fault.From(err).Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == idem.Done {
				done = true
			}
		}
		return done, fault.From(err).Code()
	}
	one, other := idem.WithSent(t.Context(), "PUT", "things/1", "x"), idem.WithSent(t.Context(), "PUT", "things/1", "y")
	if done, code := look(one, id); done || code != codes.OK {
		t.Errorf("before: %v %v, want a read", done, code)
	}
	first, err := h.call(arriving(one), "a", id, "accept it")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.call(arriving(one), "a", id, "which is accepted"); err != nil || again != first {
		t.Errorf("again: %q, %v, want %q", again, err, first)
	}
	if _, err := h.call(arriving(other), "a", id, "accept it"); fault.From(err).Code() != codes.InvalidArgument {
		t.Errorf("another: %v", err)
	}
	if n := h.things(t); n != 1 {
		t.Errorf("%d things, want 1", n)
	}
	for name, tt := range map[string]struct {
		ctx  context.Context
		id   string
		done bool
		code codes.Code
	}{
		"done": {one, id, true, codes.FailedPrecondition}, "another": {other, id, false, codes.InvalidArgument}, "another id": {one, uuid.NewString(), false, codes.OK},
		"nothing sent": {t.Context(), id, false, codes.OK},
	} {
		if done, code := look(tt.ctx, tt.id); done != tt.done || code != tt.code {
			t.Errorf("%s: %v %v, want %v %v", name, done, code, tt.done, tt.code)
		}
	}
}
