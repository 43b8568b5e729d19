package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"cairn.care/services/gateway/fhir"
)

// isFHIR tells whether a request is for the FHIR API, whose errors are OperationOutcomes.
func isFHIR(r *http.Request) bool {
	return r.URL.Path == fhir.Root || strings.HasPrefix(r.URL.Path, fhir.Root+"/")
}

// openFHIR makes the FHIR face.
func (g *Gateway) openFHIR() error {
	const purpose = "page of a FHIR search"
	var routes sync.Map // by verb and pattern: as many as there are interactions
	var err error
	g.fhir, err = fhir.New(fhir.Options{
		Peer: g.options.Peer, Verify: g.options.Verify, PublicURL: g.options.PublicURL, MaxBodyBytes: g.options.MaxBodyBytes, CORS: len(g.options.CORSOrigins) > 0,
		Seal:  func(plain []byte) (string, error) { return g.options.Seal(purpose, plain) },
		Open:  func(sealed string) ([]byte, error) { return g.options.Open(purpose, sealed) },
		Clock: g.options.Clock, Log: g.options.Log,
		RequestID: func(ctx context.Context) string { return callFrom(ctx).id },
		Routed: func(ctx context.Context, verb, pattern string) {
			rt, ok := routes.Load(verb + " " + pattern)
			if !ok {
				rt, _ = routes.LoadOrStore(verb+" "+pattern, &route{verb: methodLabel(verb), pattern: pattern, whole: true})
			}
			callFrom(ctx).route = rt.(*route) //nolint:forcetypeassert // there is nothing else in it
			if span := trace.SpanFromContext(ctx); span.IsRecording() {
				span.SetName(verb + " " + pattern)
				span.SetAttributes(attribute.String("http.route", pattern))
			}
		},
	})
	if err != nil {
		return fmt.Errorf("FHIR face: %w", err)
	}
	return nil
}

// serveFHIR answers a request for the FHIR API. The request's id goes on to the services; the token does not: the face has read it.
func (g *Gateway) serveFHIR(w http.ResponseWriter, r *http.Request) {
	named(g.fhir).ServeHTTP(w, r)
}
