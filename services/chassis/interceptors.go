package chassis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/contract"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/telemetry"
)

// RequestIDHeader is the metadata key of the id by which a caller quotes a request.
const RequestIDHeader = "x-request-id"

const maxRequestID = 128 // bytes

// TokenVerifier tells who a bearer token is.
type TokenVerifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

// recoverPanics turns a panic into an error: without it one bad request would end the process.
func recoverPanics(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
		defer func() {
			if r := recover(); r != nil {
				resp, err = nil, panicked(ctx, log, info.FullMethod, r)
			}
		}()
		return next(ctx, req)
	}
}

func panicked(ctx context.Context, log *slog.Logger, method string, r any) error {
	log.ErrorContext(ctx, "panic", "method", method, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	return fault.From(errors.New("panic")).Err()
}

// observer traces, meters and logs requests, and gives each an id.
type observer struct {
	tracer     trace.Tracer
	durations  metric.Float64Histogram
	log        *slog.Logger
	attributes func() map[string]outcomes
}

func newObserver(tel *telemetry.Telemetry, service string, rules auth.Rules) (*observer, error) {
	durations, err := tel.Meter.Meter("cairn.care/services/chassis").Float64Histogram("rpc.server.duration",
		metric.WithUnit("s"), metric.WithDescription("Time from a request's arrival to its answer."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	if err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	return &observer{
		tracer: tel.Tracer.Tracer("cairn.care/services/chassis"), durations: durations, log: tel.Log.With("service", service),
		attributes: sync.OnceValue(func() map[string]outcomes { return outcomesOf(rules) }), // rules are complete at the first request
	}, nil
}

// begin returns the context of a request, and what to call with its error at its end.
func (o *observer) begin(ctx context.Context, method string) (context.Context, func(error)) {
	start := time.Now()
	ctx = telemetry.Propagation().Extract(ctx, incoming{ctx})
	ctx, span := o.tracer.Start(ctx, strings.TrimPrefix(method, "/"), trace.WithSpanKind(trace.SpanKindServer))
	ctx = context.WithValue(ctx, requestIDKey{}, requestID(ctx, span))
	return ctx, func(err error) {
		defer span.End()
		code, took := status.Code(err), time.Since(start)
		o.durations.Record(ctx, took.Seconds(), o.attributes()[method].of(code)...)
		level := slog.LevelDebug
		switch code {
		case codes.OK:
		case codes.Internal, codes.Unknown, codes.DataLoss:
			level = slog.LevelError
			span.SetStatus(otelcodes.Error, code.String())
		default:
			level = slog.LevelInfo
		}
		if o.log.Enabled(ctx, level) {
			o.log.LogAttrs(ctx, level, "request", slog.String("method", method), slog.String("code", code.String()),
				slog.Duration("took", took), slog.String("request_id", RequestID(ctx)))
		}
	}
}

func observe(o *observer) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, end := o.begin(ctx, info.FullMethod)
		resp, err := next(ctx, req)
		end(err)
		return resp, err
	}
}

// outcomes are the metric attributes of a method's requests by status code, made once: making
// them costs more than to measure.
type outcomes [][]metric.RecordOption

func outcomesOf(rules auth.Rules) map[string]outcomes {
	methods := map[string]outcomes{}
	for method := range rules {
		o := make(outcomes, codes.Unauthenticated+1)
		for code := range o {
			o[code] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(
				attribute.String("rpc.method", method), attribute.String("rpc.code", codes.Code(code).String())))}
		}
		methods[method] = o
	}
	return methods
}

func (o outcomes) of(code codes.Code) []metric.RecordOption {
	if int(code) >= len(o) {
		return nil
	}
	return o[code]
}

type requestIDKey struct{}

// RequestID returns the id of the request under way, "" outside of one.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

func requestID(ctx context.Context, span trace.Span) string {
	if v := metadata.ValueFromIncomingContext(ctx, RequestIDHeader); len(v) == 1 && quotable(v[0]) {
		return v[0]
	}
	if sc := span.SpanContext(); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return uuid.NewString()
}

// quotable tells whether an id can go on as metadata, which is printable ASCII.
func quotable(id string) bool {
	return id != "" && len(id) <= maxRequestID && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// carrier lets the trace propagator write metadata.
type carrier metadata.MD

func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}
func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}

// incoming lets the trace propagator read a request's metadata.
type incoming struct{ ctx context.Context }

func (c incoming) Get(key string) string {
	if v := metadata.ValueFromIncomingContext(c.ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}
func (incoming) Set(string, string) {}
func (incoming) Keys() []string     { return nil }

// deadline bounds every request, and asks of its callees to answer a little earlier, so
// that the answer still arrives.
func deadline(limit time.Duration) grpc.UnaryServerInterceptor {
	const shave = 10 * time.Millisecond
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		end := time.Now().Add(limit)
		if d, ok := ctx.Deadline(); ok && d.Add(-shave).Before(end) {
			end = d.Add(-shave)
		}
		ctx, cancel := context.WithDeadline(ctx, end)
		defer cancel()
		return next(ctx, req)
	}
}

// mapErrors is the one place where an error becomes a status. It logs the cause of what
// the caller may not know.
func mapErrors(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		resp, err := next(ctx, req)
		if err != nil {
			return nil, told(ctx, log, info.FullMethod, err)
		}
		return resp, nil
	}
}

func told(ctx context.Context, log *slog.Logger, method string, err error) error {
	st := fault.From(err)
	switch st.Code() {
	case codes.Internal, codes.Unavailable, codes.Unknown:
		if !errors.Is(err, errStopping) {
			log.ErrorContext(ctx, "request failed", "method", method, "request_id", RequestID(ctx), "err", err)
		}
	}
	if with, err := st.WithDetails(&errdetails.RequestInfo{RequestId: RequestID(ctx)}); err == nil && !hasRequestInfo(st) {
		st = with
	}
	return st.Err()
}

func hasRequestInfo(st *status.Status) bool {
	for _, d := range st.Details() {
		if _, ok := d.(*errdetails.RequestInfo); ok {
			return true
		}
	}
	return false
}

// authenticator finds out who calls: a peer by the identity that it signed, else a client or
// a user by the bearer token, else nobody.
type authenticator struct {
	service    string
	identities *auth.Identities
	tokens     TokenVerifier
	disabled   *disabledClients
	limits     callLimits
	plaintext  bool
}

// authenticate returns a context with the caller. Calls by bearer token are counted, those of peers are part of one that was.
func (a *authenticator) authenticate(ctx context.Context, _ string) (context.Context, error) {
	if id := metadata.ValueFromIncomingContext(ctx, auth.IdentityHeader); len(id) > 0 {
		if len(id) > 1 || !trustedPeer(ctx, a.plaintext) {
			return nil, fault.Unauthenticated("BAD_IDENTITY", "%s is for Cairn's own services, over mutual TLS", auth.IdentityHeader)
		}
		p, err := a.identities.Verify(id[0], a.service)
		if err != nil {
			return nil, &fault.Error{Code: codes.Unauthenticated, Reason: "BAD_IDENTITY", Message: "the calling service's identity is not valid", Cause: err}
		}
		if err := a.disabled.check(p); err != nil { // the gateway, which passed the call on, may not have heard of it
			return nil, err
		}
		return auth.WithPrincipal(ctx, p), nil
	}
	bearer := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(bearer) == 0 {
		return ctx, nil
	}
	scheme, token, _ := strings.Cut(bearer[0], " ")
	if len(bearer) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, fault.Unauthenticated("BAD_TOKEN", "authorization must be one header of the form: Bearer <token>")
	}
	p, err := a.tokens.Verify(ctx, strings.TrimSpace(token))
	if err != nil {
		return nil, err
	}
	if err := a.limits.take(p).admit(ctx); err != nil {
		return nil, err
	}
	if why := metadata.ValueFromIncomingContext(ctx, auth.PurposeHeader); len(why) > 0 {
		if p, err = p.WithPurpose(why[0]); err != nil {
			return nil, err
		}
	}
	return auth.WithPrincipal(ctx, p), nil
}

func authenticate(a *authenticator) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, err := a.authenticate(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// trustedPeer tells whether the transport belongs to one of our own services: this
// process, a client certificate of our authority, or a loopback listener without TLS.
func trustedPeer(ctx context.Context, plaintext bool) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	if p.Addr != nil && p.Addr.Network() == "inproc" {
		return true
	}
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		return len(info.State.VerifiedChains) > 0
	}
	return plaintext
}

// authorize applies the method's policy and bounds the request to its tenant.
func authorize(rules auth.Rules) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, err := auth.Authorize(ctx, rules[info.FullMethod])
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// validate applies the request's protovalidate rules.
func validate(v protovalidate.Validator) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if err := valid(v, req); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

func valid(v protovalidate.Validator, req any) error {
	msg, ok := req.(proto.Message)
	if !ok {
		return fmt.Errorf("request is a %T", req)
	}
	if long := crowded(msg); long != nil {
		return fault.Invalid(long...)
	}
	err := v.Validate(msg)
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return fmt.Errorf("validate %T: %w", req, err)
	}
	return fault.Invalid(contract.Violations("", msg, invalid)...)
}

// wake has the relay look for events once a request that queued some has ended.
func wake(w *events.Waker) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, done := w.Track(ctx)
		defer done()
		return next(ctx, req)
	}
}

// chain makes one interceptor of several; the first is outermost.
func chain(interceptors []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		next := handler
		for i := len(interceptors) - 1; i >= 0; i-- {
			interceptor, inner := interceptors[i], next
			next = func(ctx context.Context, req any) (any, error) { return interceptor(ctx, req, info, inner) }
		}
		return next(ctx, req)
	}
}
