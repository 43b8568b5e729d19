package chassis

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
)

// silent is a stream whose other side neither sends nor takes.
type silent struct {
	grpc.ServerStream
	ctx context.Context
}

func (s silent) Context() context.Context { return s.ctx }
func (s silent) RecvMsg(any) error        { <-s.ctx.Done(); return s.ctx.Err() }
func (s silent) SendMsg(any) error        { <-s.ctx.Done(); return s.ctx.Err() }

// Nobody keeps a stream, and what works for it, by doing nothing.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	receive := func(_ any, s grpc.ServerStream) error { return s.RecvMsg(nil) }
	send := func(_ any, s grpc.ServerStream) error { return s.SendMsg(nil) }
	ended, stop := context.WithCancel(t.Context())
	stop()
	for name, tc := range map[string]struct {
		stopping     context.Context //nolint:containedctx // what the process says
		idle, upload time.Duration
		info         grpc.StreamServerInfo
		handler      grpc.StreamHandler
		want         error
	}{
		"nothing comes":     {t.Context(), time.Millisecond, time.Hour, grpc.StreamServerInfo{IsClientStream: true}, receive, errIdle},
		"nothing is taken":  {t.Context(), time.Millisecond, time.Hour, grpc.StreamServerInfo{IsServerStream: true}, send, errIdle},
		"too long":          {t.Context(), time.Hour, time.Millisecond, grpc.StreamServerInfo{IsClientStream: true}, receive, context.DeadlineExceeded},
		"the process stops": {ended, time.Hour, time.Hour, grpc.StreamServerInfo{IsServerStream: true}, send, errStopping},
	} {
		err := boundStreams(tc.stopping, tc.idle, tc.upload)(nil, silent{ctx: t.Context()}, &tc.info, tc.handler)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// A stream ends when the caller's token does; that of nobody goes on.
func TestStreamsEndWithTheirToken(t *testing.T) {
	t.Parallel()
	now := clock.NewFake(time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC))
	wait := func(_ any, s grpc.ServerStream) error { <-s.Context().Done(); return s.Context().Err() }
	there := func(_ any, s grpc.ServerStream) error { return s.Context().Err() }
	user := auth.Principal{Kind: auth.User, Subject: "ana"}
	ended, lasting := user, user
	ended.Expires, lasting.Expires = now.Now().Unix(), now.Now().Add(time.Hour).Unix()
	for name, tc := range map[string]struct {
		who     auth.Principal
		info    grpc.StreamServerInfo
		handler grpc.StreamHandler
		want    error
	}{
		"the token ends": {ended, grpc.StreamServerInfo{IsServerStream: true}, wait, errExpired},
		"it lasts":       {lasting, grpc.StreamServerInfo{IsServerStream: true}, there, nil},
		"nobody":         {auth.Principal{}, grpc.StreamServerInfo{IsServerStream: true}, there, nil},
		"what she sends": {ended, grpc.StreamServerInfo{IsClientStream: true}, there, nil},
	} {
		err := admitStreams(new(streamCount), now)(nil, silent{ctx: auth.WithPrincipal(t.Context(), tc.who)}, &tc.info, tc.handler)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// A caller has only so many streams; others are not kept from theirs, and one that has ended counts no longer.
func TestACallersStreamsAreCounted(t *testing.T) {
	t.Parallel()
	for who, limit := range map[*auth.Principal]int{
		{Kind: auth.User, Subject: "ana"}:                            personStreams,
		{Kind: auth.Client, Subject: "apiClients/a"}:                 clientStreams,
		{Kind: auth.Client, Subject: "apiClients/b", Platform: true}: platformStreams,
	} {
		var count streamCount
		open := func(p auth.Principal) (func(), error) {
			leave, err := count.enter(p)
			return leave, err
		}
		var last func()
		for range limit {
			leave, err := open(*who)
			if err != nil {
				t.Fatal(err)
			}
			last = leave
		}
		if _, err := open(*who); fault.From(err).Code() != codes.ResourceExhausted {
			t.Errorf("one more than %d of %s: %v", limit, who.Subject, err)
		}
		other := *who
		other.Subject += "2"
		for _, p := range []auth.Principal{other, {}, {Kind: auth.Service, Subject: "groups"}} {
			if _, err := open(p); err != nil {
				t.Errorf("%v: %v", p, err)
			}
		}
		last()
		if _, err := open(*who); err != nil {
			t.Errorf("after one has ended: %v", err)
		}
	}
}
