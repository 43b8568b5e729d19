package gateway

import (
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	policyv1 "cairn.care/gen/cairn/policy/v1"
	"cairn.care/services/gateway/directory"
)

// faces serves the public directory in the formats of the field.
func (g *Gateway) faces(only func(verb, path string, h http.Handler)) {
	routes := directory.Handlers(directory.Options{Peer: g.options.Peer, PublicURL: g.options.PublicURL, Clock: g.options.Clock, Log: g.options.Log})
	open := len(routes.Streams) + len(routes.Pages)
	for i, face := range slices.Concat(routes.Streams, routes.Pages, routes.Secrets) {
		pattern := strings.TrimSuffix(face.Path, "{$}")
		rt := &route{verb: http.MethodGet, pattern: pattern, rule: &policyv1.Rule{Public: i < open}, streams: i < len(routes.Streams)}
		only(http.MethodGet, face.Path, named(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			callFrom(r.Context()).route = rt
			if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
				span.SetName(r.Method + " " + pattern)
				span.SetAttributes(attribute.String("http.route", pattern))
			}
			if err := face.Handle(w, r); err != nil {
				g.fail(w, r, err)
			}
		})))
	}
}

// loggable is a path as logs may have it: without the secret of a link.
func loggable(path string) string {
	for _, of := range []string{"/calendars/members/", "/unsubscribe/"} {
		if secret, ok := strings.CutPrefix(path, of); ok && secret != "" {
			return of + "…"
		}
	}
	return path
}
