package chassis

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
)

// How many streams one caller may have open at a process.
const (
	personStreams   = 20
	clientStreams   = 100 // the app of an organization follows for many people
	platformStreams = 1000
)

// errExpired ends a stream whose caller is no longer known by her token.
var errExpired = &fault.Error{
	Code: codes.Unauthenticated, Reason: "TOKEN_EXPIRED",
	Message: "the access token has expired: get a new one, and open the stream again with the last sync token",
}

// streamCaller is whose streams are counted together.
type streamCaller struct {
	kind                  auth.Kind
	organization, subject string
}

// streamCount counts the open streams of a process by their callers.
type streamCount struct {
	mu   sync.Mutex
	open map[streamCaller]int
}

// enter counts one more stream of a caller, and returns what ends it; an error if she has as many as may be. Streams of services
// and of nobody are not counted.
func (c *streamCount) enter(p auth.Principal) (leave func(), err error) {
	limit := personStreams
	switch {
	case p.Kind != auth.Client && p.Kind != auth.User:
		return func() {}, nil
	case p.Platform:
		limit = platformStreams
	case p.Kind == auth.Client:
		limit = clientStreams
	}
	who := streamCaller{p.Kind, p.Organization, p.Subject}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[who] >= limit {
		return nil, &fault.Error{
			Code: codes.ResourceExhausted, Reason: "TOO_MANY_STREAMS",
			Message: "you have as many streams open as you may: close one, or follow more with one",
		}
	}
	if c.open == nil {
		c.open = map[streamCaller]int{}
	}
	c.open[who]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open[who]--; c.open[who] == 0 {
			delete(c.open, who)
		}
	}, nil
}

// admitStreams bounds the streams of a caller who is known: in their number, and those that the server sends in time, to that of
// the token. What the caller sends ends by itself.
func admitStreams(count *streamCount, now clock.Clock) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		p := auth.PrincipalFrom(ss.Context())
		leave, err := count.enter(p)
		if err != nil {
			return err
		}
		defer leave()
		if p.Expires == 0 || !info.IsServerStream {
			return next(srv, ss)
		}
		ctx, cancel := context.WithCancelCause(ss.Context())
		defer cancel(nil)
		timer := time.AfterFunc(time.Unix(p.Expires, 0).Sub(now.Now()), func() { cancel(errExpired) })
		defer timer.Stop()
		err = next(srv, &guarded{ServerStream: ss, ctx: ctx})
		if err != nil && errors.Is(context.Cause(ctx), errExpired) {
			return errExpired
		}
		return err
	}
}
