package gateway

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/telemetry"
)

// recovered answers 500 when a handler panics.
func (g *Gateway) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				g.options.Log.ErrorContext(r.Context(), "panic", "path", loggable(r.URL.Path), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				g.fail(w, r, fmt.Errorf("panic: %v", p))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// observed traces and meters a request, gives it an id, and says both in the answer.
func (g *Gateway) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx := telemetry.Propagation().Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := g.options.Tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		telemetry.Propagation().Inject(ctx, propagation.HeaderCarrier(w.Header()))

		c := &call{id: requestID(r, span), spelling: g.routes.spelling}
		w.Header().Set("X-Request-Id", c.id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		ctx = chassis.WithPurpose(ctx, r.Header.Get("X-Purpose-Of-Use"))
		r = headAsGet(r.WithContext(withRate(context.WithValue(ctx, callKey{}, c), w.Header())))
		r.Header.Del("Te") // the generated handlers would write trailers, badly
		a := &answer{ResponseWriter: w, request: r, call: c}
		next.ServeHTTP(a, r)

		g.duration.Record(ctx, time.Since(start).Seconds(), c.route.outcome(r.Method, a.code)...)
		if span.IsRecording() {
			span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.Int("http.response.status_code", a.code))
			if a.code >= http.StatusInternalServerError {
				span.SetStatus(otelcodes.Error, http.StatusText(a.code))
			}
		}
	})
}

// outcome is the metric attributes of the route's requests with a status; of those that found no
// route if rt is nil: paths are the caller's choice, and would make a metric each.
func (rt *route) outcome(method string, code int) []metric.RecordOption {
	label := "other"
	if rt != nil {
		if o, ok := rt.outcomes.Load(code); ok {
			return o.([]metric.RecordOption) //nolint:forcetypeassert // there is nothing else in it
		}
		method, label = rt.verb, rt.pattern
	}
	o := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(
		attribute.String("http.request.method", methodLabel(method)), attribute.String("http.route", label),
		attribute.Int("http.response.status_code", code)))}
	if rt != nil {
		rt.outcomes.Store(code, o)
	}
	return o
}

func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

func requestID(r *http.Request, span trace.Span) string {
	if id := r.Header.Get("X-Request-Id"); requestIDForm.MatchString(id) {
		return id
	}
	if sc := span.SpanContext(); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return uuid.NewString()
}

// shared sends a request to the API or to what else the gateway serves, after CORS.
func (g *Gateway) shared(static *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.cors(w, r) {
			return
		}
		switch {
		case strings.HasPrefix(r.URL.Path, "/v1/") && r.Method == http.MethodOptions:
			g.allows(w, r)
		case strings.HasPrefix(r.URL.Path, "/v1/"):
			g.muxOf(r.URL.Path).ServeHTTP(w, r)
		case isFHIR(r):
			g.serveFHIR(w, r)
		default:
			static.ServeHTTP(w, r)
		}
	})
}

// allows answers OPTIONS with what the path allows.
func (g *Gateway) allows(w http.ResponseWriter, r *http.Request) {
	allowed := g.routes.allowed(r.URL.Path)
	if len(allowed) == 0 {
		g.notFound(w, r)
		return
	}
	w.Header().Set("Allow", strings.Join(append(allowed, http.MethodOptions), ", "))
	w.WriteHeader(http.StatusNoContent)
}

// cors lets browser apps of the configured origins call; true if it has answered a preflight.
// Tokens travel in a header, never in a cookie, so credentials are not allowed.
func (g *Gateway) cors(w http.ResponseWriter, r *http.Request) bool {
	if len(g.options.CORSOrigins) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	all := slices.Contains(g.options.CORSOrigins, "*")
	if origin == "" || !all && !slices.Contains(g.options.CORSOrigins, origin) {
		return false
	}
	if all {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h.Set("Access-Control-Expose-Headers", "ETag, X-Request-Id, Traceparent, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, Allow, Location, Content-Location, Last-Modified")
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-None-Exist, If-Modified-Since, Prefer, X-Purpose-Of-Use, X-Request-Id, Traceparent, Tracestate")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
