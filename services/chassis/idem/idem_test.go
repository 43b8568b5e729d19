package idem_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const method = "/test.v1.Things/CreateThing"

// harness is a service with one mutation, which inserts a thing.
type harness struct {
	db          *pg.DB
	interceptor grpc.UnaryServerInterceptor
	request     protoreflect.MessageDescriptor
	handled     atomic.Int64
	handler     func(ctx context.Context, b *pgx.Batch, answer proto.Message) error // what to do before sending
}

func setup(t *testing.T) *harness {
	t.Helper()
	t.Parallel()
	h := &harness{
		db: pgtest.New(t, "idem", fstest.MapFS{"0001_init.sql": {Data: []byte(
			"-- +goose Up\nCREATE TABLE thing (n bigint GENERATED ALWAYS AS IDENTITY, body text NOT NULL);\n")}}),
		request: requestType(t),
		handler: func(ctx context.Context, b *pgx.Batch, answer proto.Message) error { return idem.Save(ctx, b, answer) },
	}
	h.interceptor = idem.Interceptor(h.db, "idem", newAEAD(t), nil)
	return h
}

func newAEAD(t *testing.T) tink.AEAD {
	t.Helper()
	kh, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	a, err := aead.New(kh)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// requestType makes message Request { string request_id = 1; string body = 2; }.
func requestType(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	field := func(name string, n int32) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &n,
			Type:  descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test.proto"), Package: proto.String("test.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name:  proto.String("Request"),
			Field: []*descriptorpb.FieldDescriptorProto{field("request_id", 1), field("body", 2)},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().Get(0)
}

// message is a request.
func (h *harness) message(requestID, body string) proto.Message {
	req := dynamicpb.NewMessage(h.request)
	req.Set(h.request.Fields().ByName("request_id"), protoreflect.ValueOfString(requestID))
	req.Set(h.request.Fields().ByName("body"), protoreflect.ValueOfString(body))
	return req
}

// call calls the mutation as the caller, through the interceptor.
func (h *harness) call(ctx context.Context, caller, requestID, body string) (string, error) {
	req := h.message(requestID, body)
	ctx = auth.WithPrincipal(ctx, auth.Principal{Kind: auth.Client, Subject: caller, Organization: "organizations/1"})
	resp, err := h.interceptor(ctx, req, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
		h.handled.Add(1)
		answer := wrapperspb.String(body + " " + uuid.NewString()) // no two answers are alike
		b := h.db.Batch(ctx)
		b.Queue(`INSERT INTO thing (body) VALUES ($1)`, body)
		if err := h.handler(ctx, b, answer); err != nil {
			return nil, err
		}
		if err := h.db.Send(ctx, b); err != nil {
			return nil, fmt.Errorf("insert thing: %w", err)
		}
		return answer, nil
	})
	if err != nil {
		return "", err
	}
	return resp.(*wrapperspb.StringValue).Value, nil
}

func (h *harness) things(t *testing.T) (n int) {
	t.Helper()
	if err := h.db.QueryRow(t.Context(), `SELECT count(*) FROM thing`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func mustCall(t *testing.T, h *harness, caller, id, body string) string {
	t.Helper()
	answer, err := h.call(t.Context(), caller, id, body)
	if err != nil {
		t.Fatalf("call %s %s %s: %v", caller, id, body, err)
	}
	return answer
}

func TestSameIDSameAnswer(t *testing.T) {
	h := setup(t)
	id := uuid.NewString()
	first := mustCall(t, h, "a", id, "x")
	if again := mustCall(t, h, "a", id, "x"); again != first {
		t.Errorf("second answer = %q, want %q", again, first)
	}
	if again := mustCall(t, h, "a", strings.ToUpper(id), "x"); again != first {
		t.Errorf("answer to the id written otherwise = %q, want %q", again, first)
	}
	if n := h.things(t); n != 1 {
		t.Errorf("%d things, want 1", n)
	}
	if n := h.handled.Load(); n != 1 {
		t.Errorf("the handler ran %d times, want once", n)
	}
}

func TestOtherCallerOrIDIsAnotherCall(t *testing.T) {
	h := setup(t)
	id := uuid.NewString()
	answers := map[string]bool{
		mustCall(t, h, "a", id, "x"):               true,
		mustCall(t, h, "b", id, "x"):               true,
		mustCall(t, h, "a", uuid.NewString(), "x"): true,
		mustCall(t, h, "a", "", "x"):               true,
		mustCall(t, h, "a", "", "x"):               true,
	}
	if len(answers) != 5 || h.things(t) != 5 {
		t.Errorf("%d answers, %d things, want 5 of each", len(answers), h.things(t))
	}
	var rows int
	if err := h.db.QueryRow(t.Context(), `SELECT count(*) FROM idempotency`).Scan(&rows); err != nil || rows != 3 {
		t.Errorf("%d answers are stored, %v, want 3", rows, err)
	}
}

func TestSameIDOtherBodyIsRefused(t *testing.T) {
	h := setup(t)
	id := uuid.NewString()
	mustCall(t, h, "a", id, "x")
	_, err := h.call(t.Context(), "a", id, "y")
	checkOtherBody(t, err)
	if n := h.things(t); n != 1 {
		t.Errorf("%d things, want 1", n)
	}
}

func checkOtherBody(t interface {
	Errorf(string, ...any)
	Helper()
}, err error) {
	t.Helper()
	if st := fault.From(err); st.Code() != codes.InvalidArgument || !bytes.Contains([]byte(st.Message()), []byte("request_id")) {
		t.Errorf("same id with another body: %v, want INVALID_ARGUMENT on request_id", err)
	}
}

func TestAnErrorIsNotKept(t *testing.T) {
	h := setup(t)
	save := h.handler
	h.handler = func(context.Context, *pgx.Batch, proto.Message) error {
		return fault.Precondition("GROUP_FULL", "groups/1", "the group is full")
	}
	id := uuid.NewString()
	if _, err := h.call(t.Context(), "a", id, "x"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("first call: %v, want FAILED_PRECONDITION", err)
	}
	h.handler = save
	mustCall(t, h, "a", id, "x")
}

// The slower of two copies may meet what the faster has changed before it meets the key.
func TestTheSlowerCopyGetsTheAnswerWhateverItMeets(t *testing.T) {
	h := setup(t)
	save := h.handler
	id := uuid.NewString()
	var first string
	h.handler = func(context.Context, *pgx.Batch, proto.Message) error {
		h.handler = save
		first = mustCall(t, h, "a", id, "x")
		return fault.Aborted("STALE_ETAG", "somebody was faster")
	}
	if got := mustCall(t, h, "a", id, "x"); got != first {
		t.Errorf("answer = %q, want %q", got, first)
	}
	if n := h.things(t); n != 1 {
		t.Errorf("%d things, want 1", n)
	}
}

func TestAnswersAreEncrypted(t *testing.T) {
	h := setup(t)
	mustCall(t, h, "a", uuid.NewString(), "Rosalind")
	var answer []byte
	if err := h.db.QueryRow(t.Context(), `SELECT answer FROM idempotency`).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(answer, []byte("Rosalind")) {
		t.Error("the answer is stored in the clear")
	}
}

func TestMistakesOfHandlersAreInternal(t *testing.T) {
	h := setup(t)
	for name, handler := range map[string]func(context.Context, *pgx.Batch, proto.Message) error{
		"saves nothing": func(context.Context, *pgx.Batch, proto.Message) error { return nil },
		"saves another message": func(ctx context.Context, b *pgx.Batch, _ proto.Message) error {
			return idem.Save(ctx, b, wrapperspb.String("other"))
		},
	} {
		h.handler = handler
		if _, err := h.call(t.Context(), "a", uuid.NewString(), "x"); fault.From(err).Code() != codes.Internal {
			t.Errorf("%s: %v, want INTERNAL", name, err)
		}
	}
}

func TestMethodsWithoutRequestIDPass(t *testing.T) {
	h := setup(t)
	answer, err := h.interceptor(t.Context(), wrapperspb.String("read"), &grpc.UnaryServerInfo{FullMethod: "/test.v1.Things/GetThing"},
		func(context.Context, any) (any, error) { return "answer", nil })
	if err != nil || answer != "answer" {
		t.Errorf("got %v, %v", answer, err)
	}
}

func TestSaveOutsideRPCsStoresNothing(t *testing.T) {
	t.Parallel()
	b := new(pgx.Batch)
	if err := idem.Save(t.Context(), b, wrapperspb.String("x")); err != nil || b.Len() != 0 {
		t.Errorf("queued %d, %v, want nothing", b.Len(), err)
	}
}

func TestSweep(t *testing.T) {
	h := setup(t)
	old, young := uuid.NewString(), uuid.NewString()
	first := mustCall(t, h, "a", old, "x")
	if _, err := h.db.Exec(t.Context(), `UPDATE idempotency SET created_at = created_at - '25 hours'::interval`); err != nil {
		t.Fatal(err)
	}
	kept := mustCall(t, h, "a", young, "x")
	if err := idem.Sweep(t.Context(), h.db, idem.Kept); err != nil {
		t.Fatal(err)
	}
	if got := mustCall(t, h, "a", young, "x"); got != kept {
		t.Errorf("young answer = %q, want %q", got, kept)
	}
	if got := mustCall(t, h, "a", old, "x"); got == first {
		t.Error("the old answer is still there")
	}
}

// Whatever callers send at once, in copies and with ids used twice: each id has one effect and
// one answer, and another body under it is refused.
func TestCopiesAtOnce(t *testing.T) {
	h := setup(t)
	rapid.Check(t, func(rt *rapid.T) {
		type request struct{ caller, id, body string }
		ids := []string{uuid.NewString(), uuid.NewString()}
		requests := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) request {
			return request{
				rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "caller"),
				rapid.SampledFrom(ids).Draw(rt, "id"),
				rapid.SampledFrom([]string{"x", "x", "x", "y"}).Draw(rt, "body"),
			}
		}), 2, 8).Draw(rt, "requests")
		before := h.things(t)
		answers := make([]string, len(requests))
		errs := make([]error, len(requests))
		var wg sync.WaitGroup
		for i, r := range requests {
			wg.Go(func() { answers[i], errs[i] = h.call(t.Context(), r.caller, r.id, r.body) })
		}
		wg.Wait()

		type key struct{ caller, id string }
		type outcome struct{ body, answer string }
		won := map[key]outcome{}
		used := map[key]bool{}
		for i, r := range requests {
			k := key{r.caller, r.id}
			used[k] = true
			if errs[i] != nil {
				continue
			}
			if w, ok := won[k]; ok && w != (outcome{r.body, answers[i]}) {
				rt.Errorf("%v has two outcomes: %v and %v", k, w, outcome{r.body, answers[i]})
			}
			won[k] = outcome{r.body, answers[i]}
		}
		for i, r := range requests {
			if errs[i] == nil {
				continue
			}
			checkOtherBody(rt, errs[i])
			if w := won[key{r.caller, r.id}]; w.body == r.body {
				rt.Errorf("%v was refused though its body won", r)
			}
		}
		if len(won) != len(used) {
			rt.Errorf("%d of %d ids have an answer", len(won), len(used))
		}
		if n := h.things(t) - before; n != len(used) {
			rt.Errorf("%d things were made for %d ids", n, len(used))
		}
	})
}

func TestStoredAnswerOfAnotherKeyIsRefused(t *testing.T) {
	h := setup(t)
	victim, own := uuid.NewString(), uuid.NewString()
	mustCall(t, h, "a", victim, "x")
	var key []byte
	if err := h.db.QueryRow(t.Context(), `SELECT key FROM idempotency`).Scan(&key); err != nil {
		t.Fatal(err)
	}
	mustCall(t, h, "b", own, "x")
	_, err := h.db.Exec(t.Context(), `UPDATE idempotency SET answer = (SELECT answer FROM idempotency WHERE key = $1) WHERE key <> $1`, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.call(t.Context(), "b", own, "x"); fault.From(err).Code() != codes.Internal || errors.Is(err, context.Canceled) {
		t.Errorf("a transplanted answer: %v, want INTERNAL", err)
	}
}
