package chassis

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
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
