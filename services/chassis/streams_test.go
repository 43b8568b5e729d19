package chassis_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/internal/suitetest"
)

// streamer answers streams of real contracts with what a test wants to see.
type streamer struct {
	groupsv1.UnimplementedSyncServiceServer
	groupsv1.UnimplementedFeedsServiceServer
	ended chan error // how a watch that waits has ended
}

// WatchDirectory does what the token says.
func (s *streamer) WatchDirectory(req *groupsv1.WatchDirectoryRequest, stream grpc.ServerStreamingServer[groupsv1.WatchDirectoryResponse]) error {
	switch req.GetSyncToken() {
	case "panic":
		panic("at the disco")
	case "fault":
		return fault.Precondition("BROKEN", "groups/1", "it is broken")
	case "internal":
		return errors.New("the password is swordfish")
	case "late":
		if err := stream.Send(&groupsv1.WatchDirectoryResponse{NextSyncToken: "1"}); err != nil {
			return err
		}
		return context.DeadlineExceeded
	case "wait":
		defer func() { s.ended <- context.Cause(stream.Context()) }()
		if err := stream.Send(&groupsv1.WatchDirectoryResponse{NextSyncToken: chassis.RequestID(stream.Context())}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return nil
}

// PushFeed answers who has pushed, and how many messages.
func (s *streamer) PushFeed(stream grpc.ClientStreamingServer[groupsv1.PushFeedRequest, groupsv1.FeedRun]) error {
	n := 0
	for {
		_, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		n++
	}
	p := auth.PrincipalFrom(stream.Context())
	return stream.SendAndClose(&groupsv1.FeedRun{Name: strings.Repeat("x", n) + " " + p.Organization + " " + auth.TenantFrom(stream.Context()).Org.String() + " " + p.Service})
}

// streams starts a component with a streamer and returns clients in the process and over TCP.
func streams(t *testing.T) (*streamer, *suitetest.Suite, map[string]grpc.ClientConnInterface) {
	t.Helper()
	impl := &streamer{ended: make(chan error, 2)}
	s := suitetest.Start(t, []chassis.Component{{Name: "groups", Start: func(_ context.Context, h *chassis.Host) error {
		groupsv1.RegisterSyncServiceServer(h, impl)
		groupsv1.RegisterFeedsServiceServer(h, impl)
		return nil
	}}})
	return impl, s, map[string]grpc.ClientConnInterface{"in process": s.Conn("groups"), "over TCP": dial(t, s.GRPCAddr)}
}

// watch reads a watch to its end.
func watch(ctx context.Context, conn grpc.ClientConnInterface, token string) (n int, err error) {
	stream, err := groupsv1.NewSyncServiceClient(conn).WatchDirectory(ctx, &groupsv1.WatchDirectoryRequest{SyncToken: token})
	if err != nil {
		return 0, err
	}
	for ; ; n++ {
		if _, err := stream.Recv(); err != nil {
			return n, err
		}
	}
}

func reasonOf(err error) (reason, request string) {
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.RequestInfo:
			request = d.GetRequestId()
		}
	}
	return reason, request
}

func TestStreamsEndAsCallsDo(t *testing.T) {
	t.Parallel()
	_, _, conns := streams(t)
	for how, conn := range conns {
		for token, want := range map[string]struct {
			code   codes.Code
			reason string
			n      int
		}{
			"panic":                   {codes.Internal, "INTERNAL", 0},
			"fault":                   {codes.FailedPrecondition, "BROKEN", 0},
			"internal":                {codes.Internal, "INTERNAL", 0},
			"late":                    {codes.DeadlineExceeded, "DEADLINE_EXCEEDED", 1},
			strings.Repeat("x", 5000): {codes.InvalidArgument, "INVALID_FIELD", 0},
		} {
			n, err := watch(t.Context(), conn, token)
			reason, request := reasonOf(err)
			if status.Code(err) != want.code || reason != want.reason || n != want.n || strings.Contains(err.Error(), "swordfish") {
				t.Errorf("%s, %.10s: %d messages, then %v with %s; want %d, %v with %s", how, token, n, err, reason, want.n, want.code, want.reason)
			}
			if request == "" && token != "panic" {
				t.Errorf("%s, %.10s: no id to quote in %v", how, token, err)
			}
		}
		if _, err := watch(t.Context(), conn, "nothing"); !errors.Is(err, io.EOF) {
			t.Errorf("%s: a stream without messages ends with %v", how, err)
		}
	}
}

func TestStreamsKnowTheirCaller(t *testing.T) {
	t.Parallel()
	_, s, conns := streams(t)
	const org = "organizations/0192d7a5-0000-7000-8000-000000000001"
	push := func(ctx context.Context, conn grpc.ClientConnInterface, messages ...*groupsv1.PushFeedRequest) (string, error) {
		stream, err := groupsv1.NewFeedsServiceClient(conn).PushFeed(ctx)
		if err != nil {
			return "", err
		}
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				break // the answer says why
			}
		}
		run, err := stream.CloseAndRecv()
		return run.GetName(), err
	}
	some := []*groupsv1.PushFeedRequest{{Content: []byte("a")}, {Content: []byte("b")}}
	owner := suitetest.Client(t.Context(), org, "groups.write")
	// From service to service the caller stays who it is, and its organization's.
	if got, err := push(owner, s.ConnAs("gateway", "groups"), some...); err != nil || got != "xx "+org+" "+org[len("organizations/"):]+" gateway" {
		t.Errorf("passed on by the gateway: %q, %v", got, err)
	}
	for name, tc := range map[string]struct {
		ctx  context.Context
		conn grpc.ClientConnInterface
		code codes.Code
	}{
		"nobody, in process":   {t.Context(), conns["in process"], codes.Unauthenticated},
		"nobody, over TCP":     {t.Context(), conns["over TCP"], codes.Unauthenticated},
		"without the scope":    {suitetest.Client(t.Context(), org, "groups.read"), conns["in process"], codes.PermissionDenied},
		"an identity of none":  {metadata.AppendToOutgoingContext(t.Context(), auth.IdentityHeader, "x"), conns["over TCP"], codes.Unauthenticated},
		"a token that is none": {metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer x.y.z"), conns["over TCP"], codes.Unauthenticated},
	} {
		if _, err := push(tc.ctx, tc.conn, some...); status.Code(err) != tc.code {
			t.Errorf("%s: %v, want %v", name, err, tc.code)
		}
	}
	bad := &groupsv1.PushFeedRequest{RequestId: "no UUID"}
	if _, err := push(owner, conns["in process"], some[0], bad); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a bad message after a good one: %v, want INVALID_ARGUMENT", err)
	}
}

func TestStreamsEndWithTheirCaller(t *testing.T) {
	t.Parallel()
	impl, _, conns := streams(t)
	for how, conn := range conns {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := groupsv1.NewSyncServiceClient(conn).WatchDirectory(ctx, &groupsv1.WatchDirectoryRequest{SyncToken: "wait"})
		if err != nil {
			t.Fatal(err)
		}
		first, err := stream.Recv()
		if err != nil || first.GetNextSyncToken() == "" {
			t.Fatalf("%s: first %v, %v; want the request's id", how, first, err)
		}
		cancel()
		if err := <-impl.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the handler ended with %v", how, err)
		}
	}
}

func TestStreamsEndWithTheProcess(t *testing.T) {
	t.Parallel()
	impl, s, conns := streams(t)
	for _, how := range []string{"over TCP", "in process"} {
		stream, err := groupsv1.NewSyncServiceClient(conns[how]).WatchDirectory(t.Context(), &groupsv1.WatchDirectoryRequest{SyncToken: "wait"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_, err := stream.Recv()
			if reason, _ := reasonOf(err); status.Code(err) != codes.Unavailable || reason != "UNAVAILABLE" {
				t.Errorf("%s: the stream ended with %v, want UNAVAILABLE", how, err)
			}
			if err := <-impl.ended; err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("%s: the handler ended with %v, want that the process stops", how, err)
			}
		}()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}
