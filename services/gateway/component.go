package gateway

import (
	"context"

	"go.opentelemetry.io/otel"

	"cairn.care/services/chassis"
)

// Component is the gateway as the chassis hosts it.
func Component() chassis.Component {
	return chassis.Component{Name: "gateway", Start: func(ctx context.Context, h *chassis.Host) error {
		const scope = "cairn.care/services/gateway"
		g, err := New(ctx, Options{
			Peer: h.Peer, Verify: h.Verify, Seal: h.Seal, Open: h.Open, PublicURL: h.Config.PublicURL, MaxBodyBytes: h.Config.MaxBodyBytes, CORSOrigins: h.Config.CORSOrigins,
			Clock: h.Clock, Log: h.Log, Tracer: otel.Tracer(scope), Meter: otel.Meter(scope),
		})
		if err != nil {
			return err
		}
		h.HandleHTTP("/", g)
		return nil
	}}
}
