package gateway

import (
	"context"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/ratelimit"
)

// rateHeaders are what says how many calls are left, by the metadata that brings it.
var rateHeaders = map[string]string{ratelimit.PolicyHeader: "RateLimit-Policy", ratelimit.Header: "RateLimit"}

type rateKey struct{}

// withRate returns a context in which an answer's headers say how many calls the caller has left, whoever counts them.
func withRate(ctx context.Context, h http.Header) context.Context {
	tell := func(md metadata.MD) {
		for key, name := range rateHeaders {
			if v := md.Get(key); len(v) > 0 {
				h.Set(name, v[0])
			}
		}
	}
	return chassis.WithRateLimit(context.WithValue(ctx, rateKey{}, tell), tell)
}

// rated passes on what a service says of the calls that are left.
type rated struct{ grpc.ClientConnInterface }

// Invoke calls a unary method.
func (c rated) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	var header metadata.MD
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, append(opts[:len(opts):len(opts)], grpc.Header(&header))...)
	tellRate(ctx, header)
	return err
}

func tellRate(ctx context.Context, md metadata.MD) {
	if tell, ok := ctx.Value(rateKey{}).(func(metadata.MD)); ok {
		tell(md)
	}
}
