package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"cairn.care/services/chassis/fault"
)

// statusError is an error whose HTTP status does not follow from its code.
type statusError struct {
	http int
	err  *fault.Error
}

// Error returns what the caller is told.
func (e *statusError) Error() string { return e.err.Error() }

// Unwrap returns the error itself.
func (e *statusError) Unwrap() error { return e.err }

// GRPCStatus returns the error's status.
func (e *statusError) GRPCStatus() *status.Status { return e.err.GRPCStatus() }

// handleError answers with an error of the generated handlers or of a service.
func (g *Gateway) handleError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	g.fail(w, r, err)
}

// handleRoutingError answers a request that no route takes.
func (g *Gateway) handleRoutingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	switch code {
	case http.StatusMethodNotAllowed:
		g.notAllowed(w, r, g.routes.allowed(r.URL.Path)...)
	case http.StatusNotFound:
		g.notFound(w, r)
	default:
		g.fail(w, r, fault.Invalid(fault.Field("path", "cannot be read")))
	}
}

func (g *Gateway) notFound(w http.ResponseWriter, r *http.Request) {
	g.fail(w, r, &statusError{http.StatusNotFound, &fault.Error{Code: codes.NotFound, Reason: "NO_SUCH_PATH",
		Message: fmt.Sprintf("there is no path %q; /openapi.json lists those there are", clip(r.URL.Path))}})
}

func (g *Gateway) notAllowed(w http.ResponseWriter, r *http.Request, verbs ...string) {
	allowed := strings.Join(verbs, ", ")
	w.Header().Set("Allow", allowed)
	g.fail(w, r, &statusError{http.StatusMethodNotAllowed, &fault.Error{Code: codes.Unimplemented, Reason: "METHOD_NOT_ALLOWED",
		Message: fmt.Sprintf("%s is not possible here, but %s", clip(r.Method), allowed)}})
}

// streamError is the last line of a stream that breaks off.
func streamError(ctx context.Context, err error) *status.Status {
	st, _ := callFrom(ctx).status(err)
	return status.FromProto(st)
}

// fail answers with an error, as google.rpc.Status in JSON.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	if isFHIR(r) {
		g.fhir.Fail(w, r, err)
		return
	}
	c := callFrom(r.Context())
	st, code := c.status(err)
	if st.GetCode() == int32(codes.Internal) && !c.invoked {
		g.options.Log.ErrorContext(r.Context(), "request failed", "path", loggable(r.URL.Path), "request_id", c.id, "err", err)
	}
	h := w.Header()
	for _, d := range st.GetDetails() {
		retry := &errdetails.RetryInfo{}
		if d.MessageIs(retry) && d.UnmarshalTo(retry) == nil {
			h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(retry.GetRetryDelay().AsDuration().Seconds())))))
		}
	}
	if code == http.StatusUnauthorized {
		challenge := `Bearer realm="cairn"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		h.Set("WWW-Authenticate", challenge)
	}
	body, err := protojson.Marshal(st)
	if err != nil { // a detail of a type that this program does not know
		st.Details = nil
		if body, err = protojson.Marshal(st); err != nil {
			body = []byte(`{"code":13,"message":"internal error"}`)
		}
	}
	var compact bytes.Buffer // protojson varies its spaces on purpose
	if json.Compact(&compact, body) == nil {
		body = compact.Bytes()
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	w.WriteHeader(code)
	if _, err := w.Write(body); err != nil { //nolint:gosec // JSON that says so, and nosniff
		return // the caller has gone
	}
}

// status returns what the caller is told, and the HTTP status.
func (c *call) status(err error) (*spb.Status, int) {
	var st *status.Status
	known, ok := errors.AsType[*runtime.HTTPStatusError](err)
	switch {
	case ok: // the mux could not unescape the path
		st = fault.From(fault.Invalid(fault.Field("path", "cannot be read: %s", known.Err)))
	case status.Code(err) == codes.InvalidArgument && !c.invoked && len(status.Convert(err).Details()) == 0:
		st = fault.From(c.explain(err))
	default:
		st = told(err)
	}
	p := st.Proto()
	c.rewrite(p)
	code := runtime.HTTPStatusFromCode(st.Code())
	if own, ok := errors.AsType[*statusError](err); ok {
		code = own.http
	}
	if st.Code() == codes.OutOfRange && (hasReason(p, "SYNC_TOKEN_EXPIRED") || hasReason(p, "CURSOR_EXPIRED")) {
		code = http.StatusGone
	}
	if st.Code() == codes.Aborted && c.ifMatch != "" && hasReason(p, "ETAG_MISMATCH") {
		code = http.StatusPreconditionFailed
	}
	return p, code
}

// told turns an error into what may pass on to the caller. Services have done so already; what
// comes from the way between has no details and may name addresses.
func told(err error) *status.Status {
	st, ok := status.FromError(err)
	if !ok {
		return fault.From(err)
	}
	if len(st.Details()) > 0 {
		return st
	}
	switch st.Code() {
	case codes.DeadlineExceeded:
		return fault.From(context.DeadlineExceeded)
	case codes.Canceled:
		return fault.From(context.Canceled)
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented, codes.ResourceExhausted:
		return st
	}
	return fault.From(err)
}

// explain says where in the request the decoder stumbled.
func (c *call) explain(err error) error {
	if c.route != nil && len(c.body) > 0 {
		if bad := diagnose(c.body, c.route.bodyMessage()); len(bad) > 0 {
			return fault.Invalid(bad...)
		}
		return fault.Invalid(fault.Field("body", "cannot be read: %s", decoderWords(err)))
	}
	return fault.Invalid(fault.Field("request", "cannot be read: %s", decoderWords(err)))
}

// decoderWords are the decoder's own words, without its name, for what diagnose does not know.
func decoderWords(err error) string {
	words := status.Convert(err).Message()
	words = strings.ReplaceAll(words, "\u00a0", " ") // protojson varies its words on purpose
	return clip(strings.TrimSpace(strings.TrimPrefix(words, "proto:")))
}

// rewrite names fields as the caller wrote them, and adds the request's id.
func (c *call) rewrite(st *spb.Status) {
	if c.invoked {
		st.Message = c.respell(st.GetMessage())
		c.respellBroken(st)
	}
	hasRequest := false
	for i, d := range st.GetDetails() {
		hasRequest = hasRequest || d.MessageIs(&errdetails.RequestInfo{})
		bad := &errdetails.BadRequest{}
		if !c.invoked || !d.MessageIs(bad) || d.UnmarshalTo(bad) != nil {
			continue
		}
		var parts []string
		for _, v := range bad.GetFieldViolations() {
			v.Description = c.respelled(v)
			v.Field = c.asWritten(v.GetField())
			parts = append(parts, v.GetField()+": "+v.GetDescription())
		}
		if any, err := anypb.New(bad); err == nil {
			st.Details[i] = any
			st.Message = strings.Join(parts, "; ")
		}
	}
	if !hasRequest && c.id != "" {
		if any, err := anypb.New(&errdetails.RequestInfo{RequestId: c.id}); err == nil {
			st.Details = append(st.Details, any)
		}
	}
}

func hasReason(st *spb.Status, reason string) bool {
	for _, d := range st.GetDetails() {
		info := &errdetails.ErrorInfo{}
		if d.MessageIs(info) && d.UnmarshalTo(info) == nil && info.GetReason() == reason {
			return true
		}
	}
	return false
}

// asWritten turns a request field's path into what the caller of REST wrote: the body's own
// members, in camelCase, or the header.
func (c *call) asWritten(field string) string {
	switch {
	case field == "request_id" && c.idempotencyKey != "":
		return "Idempotency-Key"
	case c.ifMatch != "" && (field == "etag" || strings.HasSuffix(field, ".etag")):
		return "If-Match"
	}
	if c.route != nil && c.route.body != "" && c.route.body != "*" {
		if field == c.route.body {
			return "body"
		}
		field = strings.TrimPrefix(field, c.route.body+".")
	}
	var b strings.Builder
	upper, quoted := false, false
	for _, r := range field {
		switch {
		case r == '"':
			quoted = !quoted
			b.WriteRune(r)
		case r == '_' && !quoted:
			upper = true
		case upper:
			b.WriteString(strings.ToUpper(string(r)))
			upper = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// requestIDForm is what a caller's own X-Request-Id may look like.
var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._:/+=-]{1,128}$`)
