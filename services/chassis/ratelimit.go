package chassis

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/ratelimit"
)

// platformCalls is how many times as many calls as others a client of the platform may make: it calls for many people.
const platformCalls = 10

// callLimits bound how often a client or a person may call a process.
type callLimits struct{ one, platform *ratelimit.Limiter }

func newCallLimits(perMinute int64, c clock.Clock) callLimits {
	return callLimits{ratelimit.New("client", perMinute, c), ratelimit.New("platform", platformCalls*perMinute, c)}
}

// take counts a call.
func (l callLimits) take(p auth.Principal) admission {
	switch {
	case p.Kind != auth.Client && p.Kind != auth.User:
		return admission{(*ratelimit.Limiter)(nil).Take("")}
	case p.Platform:
		return admission{l.platform.Take(p.Subject)}
	}
	return admission{l.one.Take(p.Kind.String() + " " + p.Subject)}
}

// admission is whether a call that was counted goes on.
type admission struct{ ratelimit.State }

// admit refuses a call too many. In either case the caller is told how many are left, in the header of the answer.
func (a admission) admit(ctx context.Context) error {
	if md := a.Metadata(); md != nil {
		if tell, ok := ctx.Value(rateLimitKey{}).(func(metadata.MD)); ok {
			tell(md)
		} else if grpc.ServerTransportStreamFromContext(ctx) != nil {
			if err := grpc.SetHeader(ctx, md); err != nil {
				return err
			}
		}
	}
	return a.Err()
}

type rateLimitKey struct{}

// WithRateLimit returns a context in which [Host.Verify] tells how many calls the caller has left, as package ratelimit's headers.
func WithRateLimit(ctx context.Context, tell func(metadata.MD)) context.Context {
	return context.WithValue(ctx, rateLimitKey{}, tell)
}
