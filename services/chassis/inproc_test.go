package chassis

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/auth"
)

// echo answers GetGroup by what fn does.
type echo struct {
	groupsv1.UnimplementedGroupsServiceServer
	fn func(ctx context.Context, req *groupsv1.GetGroupRequest) (*groupsv1.Group, error)
}

func (e echo) GetGroup(ctx context.Context, req *groupsv1.GetGroupRequest) (*groupsv1.Group, error) {
	return e.fn(ctx, req)
}

func client(fn func(ctx context.Context, req *groupsv1.GetGroupRequest) (*groupsv1.Group, error)) groupsv1.GroupsServiceClient {
	c := &channel{interceptor: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return next(ctx, req)
	}}
	groupsv1.RegisterGroupsServiceServer(c, echo{fn: fn})
	return groupsv1.NewGroupsServiceClient(c)
}

func TestChannelKeepsSidesApart(t *testing.T) {
	t.Parallel()
	ctx := auth.WithPrincipal(auth.WithTenant(t.Context(), auth.Tenant{All: true}), auth.Principal{Kind: auth.Client, Subject: "x"})
	ctx = metadata.AppendToOutgoingContext(ctx, "k", "v")
	req := &groupsv1.GetGroupRequest{Name: "groups/a"}
	got, err := client(func(ctx context.Context, in *groupsv1.GetGroupRequest) (*groupsv1.Group, error) {
		if p := auth.PrincipalFrom(ctx); p.Kind != auth.Anonymous || auth.TenantFrom(ctx).All {
			t.Errorf("the service sees the caller's principal %v", p)
		}
		if v := metadata.ValueFromIncomingContext(ctx, "k"); len(v) != 1 || v[0] != "v" {
			t.Errorf("metadata k = %v, want v", v)
		}
		if p, ok := peer.FromContext(ctx); !ok || p.Addr.Network() != inprocNetwork {
			t.Errorf("peer = %v", p)
		}
		in.Name += "!"
		return &groupsv1.Group{Name: in.GetName(), Title: "T", Availability: &groupsv1.Group_Availability{WaitlistLength: 3}}, nil
	}).GetGroup(ctx, req)
	if err != nil || got.GetName() != "groups/a!" || got.GetTitle() != "T" || got.GetAvailability().GetWaitlistLength() != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	if req.GetName() != "groups/a" {
		t.Errorf("the service changed the caller's request to %v", req)
	}
}

func TestChannelErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want codes.Code
	}{
		"status":   {status.Error(codes.NotFound, "none"), codes.NotFound},
		"deadline": {context.DeadlineExceeded, codes.DeadlineExceeded},
		"other":    {errors.New("x"), codes.Unknown},
	} {
		_, err := client(func(context.Context, *groupsv1.GetGroupRequest) (*groupsv1.Group, error) { return nil, tt.err }).
			GetGroup(t.Context(), &groupsv1.GetGroupRequest{})
		if status.Code(err) != tt.want {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
	c := client(nil)
	if _, err := c.PublishGroup(t.Context(), &groupsv1.PublishGroupRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not there: %v", err)
	}
	none := client(func(context.Context, *groupsv1.GetGroupRequest) (*groupsv1.Group, error) { return nil, nil })
	if _, err := none.GetGroup(t.Context(), &groupsv1.GetGroupRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("no answer and no error: %v", err)
	}
}

// A call ends with its caller's context, as do contexts that the service derives.
func TestChannelPassesCancellation(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	want, _ := ctx.Deadline()
	_, err := client(func(ctx context.Context, _ *groupsv1.GetGroupRequest) (*groupsv1.Group, error) {
		inner, stop := context.WithCancel(ctx)
		defer stop()
		if d, ok := inner.Deadline(); !ok || !d.Equal(want) {
			t.Errorf("deadline = %v, want %v", d, want)
		}
		cancel()
		<-inner.Done()
		return nil, inner.Err()
	}).GetGroup(ctx, &groupsv1.GetGroupRequest{})
	if status.Code(err) != codes.Canceled {
		t.Errorf("got %v, want CANCELED", err)
	}
}
