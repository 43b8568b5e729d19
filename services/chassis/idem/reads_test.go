package idem_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/typepb"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// Of an answer that is read anew only the name is kept; a copy is answered as it is read by then, also where one was kept whole before.
func TestReadAnew(t *testing.T) {
	h := setup(t)
	seal := newAEAD(t)
	shown := "all of it"
	var failure error
	reads := idem.Reads{"google.protobuf.Type": func(_ context.Context, name string) (proto.Message, error) {
		return &typepb.Type{Name: name, Edition: shown}, failure
	}}
	whole, anew := idem.Interceptor(h.db, "idem", seal, nil), idem.Interceptor(h.db, "idem", seal, reads)
	handled := 0
	call := func(i grpc.UnaryServerInterceptor, id string) (*typepb.Type, error) {
		req := h.message(id, "x")
		ctx := auth.WithPrincipal(t.Context(), auth.Principal{Kind: auth.Client, Subject: "a", Organization: "organizations/1"})
		resp, err := i(ctx, req, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
			handled++
			answer := &typepb.Type{Name: "things/1", Edition: "all of it"}
			b := h.db.Batch(ctx)
			if err := idem.Save(ctx, b, answer); err != nil {
				return nil, err
			}
			return answer, h.db.Send(ctx, b)
		})
		m, _ := resp.(*typepb.Type)
		return m, err
	}
	before, id := uuid.NewString(), uuid.NewString()
	for id, i := range map[string]grpc.UnaryServerInterceptor{before: whole, id: anew} {
		if m, err := call(i, id); err != nil || m.GetEdition() != shown {
			t.Fatalf("first %v, %v", m, err)
		}
	}
	var long, short int
	if err := h.db.QueryRow(t.Context(), `SELECT max(length(answer)), min(length(answer)) FROM idempotency`).Scan(&long, &short); err != nil || long-short < len(shown) {
		t.Errorf("%d bytes are kept whole, %d of what is read anew, %v", long, short, err)
	}
	shown = "what is left"
	for _, id := range []string{before, id} {
		if m, err := call(anew, id); err != nil || m.GetName() != "things/1" || m.GetEdition() != shown {
			t.Errorf("again %v, %v", m, err)
		}
	}
	failure = fault.NotFound("things/1")
	for _, id := range []string{before, id} {
		if m, err := call(anew, id); fault.From(err).Code() != codes.NotFound {
			t.Errorf("gone: %v, %v", m, err)
		}
	}
	if handled != 2 {
		t.Errorf("handled %d times, want 2", handled)
	}
}

// Who was slower of two is told of what the faster one made as it may see it, not of what stood in its way.
func TestTheSlowerCopyReadsAnew(t *testing.T) {
	h := setup(t)
	reads := idem.Reads{"google.protobuf.Type": func(context.Context, string) (proto.Message, error) { return nil, fault.NotFound("things/1") }}
	i, id := idem.Interceptor(h.db, "idem", newAEAD(t), reads), uuid.NewString()
	var call func(slower bool) error
	call = func(slower bool) error {
		ctx := auth.WithPrincipal(t.Context(), auth.Principal{Kind: auth.Client, Subject: "a", Organization: "organizations/1"})
		_, err := i(ctx, h.message(id, "x"), &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
			if slower {
				if err := call(false); err != nil {
					t.Fatal(err)
				}
			}
			answer := &typepb.Type{Name: "things/1"}
			b := h.db.Batch(ctx)
			if err := idem.Save(ctx, b, answer); err != nil {
				return nil, err
			}
			return answer, h.db.Send(ctx, b)
		})
		return err
	}
	if err := call(true); fault.From(err).Code() != codes.NotFound {
		t.Errorf("got %v, want NOT_FOUND", err)
	}
}
