package chassis

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
)

const (
	// streamIdle is how long one message of a stream may take to arrive or to be taken. Server
	// streams that have nothing to tell send something more often than that.
	streamIdle = time.Minute
	// uploadLimit is how long a stream that the caller sends may take.
	uploadLimit = 2 * time.Hour
)

// errStopping ends streams when the process stops.
var errStopping = errors.New("the process is stopping")

// errIdle ends a stream whose other side neither sends nor takes.
var errIdle = &fault.Error{Code: codes.DeadlineExceeded, Reason: "STREAM_IDLE", Message: "no message has passed for a minute; open the stream again"}

// guarded is a stream with another context, and what is done with each message.
type guarded struct {
	grpc.ServerStream
	ctx      context.Context
	received func(m any) error // after a message has come; nil: nothing
}

// Context returns the context that the interceptors made.
func (s *guarded) Context() context.Context { return s.ctx }

// RecvMsg receives a message and checks it.
func (s *guarded) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if s.received == nil {
		return nil
	}
	return s.received(m)
}

// withContext makes a stream interceptor of what a request's context gets.
func withContext(fn func(ctx context.Context, method string) (context.Context, error)) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, err := fn(ss.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		return next(srv, &guarded{ServerStream: ss, ctx: ctx})
	}
}

// recoverStreams is [recoverPanics] for streams.
func recoverStreams(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = panicked(ss.Context(), log, info.FullMethod, r)
			}
		}()
		return next(srv, ss)
	}
}

// observeStreams is observe for streams: a stream counts as one request.
func observeStreams(o *observer) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, end := o.begin(ss.Context(), info.FullMethod)
		err := next(srv, &guarded{ServerStream: ss, ctx: ctx})
		end(err)
		return err
	}
}

// boundStreams bounds a stream: each message in time, and a caller's stream as a whole. A server
// stream goes on until its caller or the process ends it.
func boundStreams(stopping context.Context, idle, upload time.Duration) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, cancel := context.WithCancelCause(ss.Context())
		defer cancel(nil)
		if info.IsServerStream {
			defer context.AfterFunc(stopping, func() { cancel(errStopping) })()
		}
		if info.IsClientStream {
			var done context.CancelFunc
			ctx, done = context.WithTimeout(ctx, upload)
			defer done()
		}
		err := next(srv, &bounded{ServerStream: ss, ctx: ctx, idle: idle})
		if err != nil && errors.Is(context.Cause(ctx), errStopping) {
			return fault.Unavailable(time.Second, errStopping)
		}
		return err
	}
}

// bounded is a stream that waits for the other side within bounds.
type bounded struct {
	grpc.ServerStream
	ctx  context.Context
	idle time.Duration
}

// Context returns the stream's context.
func (s *bounded) Context() context.Context { return s.ctx }

// RecvMsg waits for a message.
func (s *bounded) RecvMsg(m any) error {
	return s.within(func() error { return s.ServerStream.RecvMsg(m) })
}

// SendMsg waits until a message is taken.
func (s *bounded) SendMsg(m any) error {
	return s.within(func() error { return s.ServerStream.SendMsg(m) })
}

// within runs fn, which ends at the latest when the stream does, and waits for it no longer than it may.
func (s *bounded) within(fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	timer := time.NewTimer(s.idle)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-timer.C:
		return errIdle
	}
}

// mapStreamErrors is [mapErrors] for streams.
func mapStreamErrors(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if err := next(srv, ss); err != nil {
			return told(ss.Context(), log, info.FullMethod, err)
		}
		return nil
	}
}

// authorizeStreams is [authorize] for streams.
func authorizeStreams(rules auth.Rules) grpc.StreamServerInterceptor {
	return withContext(func(ctx context.Context, method string) (context.Context, error) {
		return auth.Authorize(ctx, rules[method])
	})
}

// validateStreams is [validate] for each message that a stream brings.
func validateStreams(v protovalidate.Validator) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return next(srv, &guarded{ServerStream: ss, ctx: ss.Context(), received: func(m any) error { return valid(v, m) }})
	}
}

// wakeStreams is [wake] for streams.
func wakeStreams(w *events.Waker) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, done := w.Track(ss.Context())
		defer done()
		return next(srv, &guarded{ServerStream: ss, ctx: ctx})
	}
}

// chainStreams makes one interceptor of several; the first is outermost.
func chainStreams(interceptors []grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		next := handler
		for i := len(interceptors) - 1; i >= 0; i-- {
			interceptor, inner := interceptors[i], next
			next = func(srv any, ss grpc.ServerStream) error { return interceptor(srv, ss, info, inner) }
		}
		return next(srv, ss)
	}
}
