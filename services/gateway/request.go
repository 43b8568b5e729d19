package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"cairn.care/services/chassis/fault"
)

// routed checks what the generated handlers would read leniently: headers, path, query and body.
func (g *Gateway) routed(next runtime.HandlerFunc) runtime.HandlerFunc {
	var found atomic.Pointer[route] // a handler has one route; its text is made once
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		c := callFrom(r.Context())
		if c.route = found.Load(); c.route == nil {
			pattern, _ := runtime.HTTPPattern(r.Context())
			if c.route = g.routes.byKey[r.Method+" "+pattern.String()]; c.route == nil {
				g.fail(w, r, errors.New("no route "+r.Method+" "+pattern.String()))
				return
			}
			found.Store(c.route)
		}
		span := trace.SpanFromContext(r.Context())
		if span.IsRecording() {
			span.SetName(r.Method + " " + c.route.pattern)
			span.SetAttributes(attribute.String("http.route", c.route.pattern))
		}
		if err := c.check(w, r, params, g.options.MaxBodyBytes); err != nil {
			g.fail(w, r, err)
			return
		}
		if asksForTable(r) {
			r.Header.Set("Accept", csvType) // as the mux knows it
		}
		if c.route.streams {
			if err := patient(w); err != nil {
				g.fail(w, r, err)
				return
			}
		}
		next(w, r, params)
	}
}

func (c *call) check(w http.ResponseWriter, r *http.Request, params map[string]string, maxBody int64) error {
	for name, value := range params {
		if problem := badText(value); problem != "" {
			return fault.Invalid(fault.Field(name, "the path %s", problem))
		}
	}
	if err := c.readHeaders(r); err != nil {
		return err
	}
	if err := c.checkQuery(r); err != nil {
		return err
	}
	if c.route.upload {
		return nil
	}
	return c.readBody(w, r, maxBody)
}

// maxValues is about how many values a body may hold. Each costs its place in memory however short it is: a list of "{}"
// would take fifty times the body's size.
const maxValues = 20_000

// readBody reads the body, so that an error can say where in it.
func (c *call) readBody(w http.ResponseWriter, r *http.Request, maxBody int64) error {
	if r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > maxBody {
		return tooLarge(maxBody)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return tooLarge(maxBody)
		}
		return fault.Invalid(fault.Field("body", "did not arrive whole"))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 {
		return nil
	}
	if c.route.body == "" {
		return fault.Invalid(fault.Field("body", "%s takes no body; parameters go into the query", r.Method))
	}
	if err := jsonType(r, c.route.bodyMessage()); err != nil {
		return err
	}
	if bytes.Count(body, []byte(",")) > maxValues {
		return fault.Invalid(fault.Field("body", "holds more than %d values", maxValues))
	}
	c.body = body
	// Postgres cannot keep U+0000, and protojson does not say where bad UTF-8 is.
	if !utf8.Valid(body) || bytes.Contains(body, []byte(`\u0000`)) {
		if bad := diagnose(body, c.route.bodyMessage()); len(bad) > 0 {
			return fault.Invalid(bad...)
		}
	}
	return nil
}

func tooLarge(limit int64) error {
	return &statusError{http.StatusRequestEntityTooLarge, &fault.Error{
		Code: codes.InvalidArgument, Reason: "BODY_TOO_LARGE", Message: "the body is larger than " + bytesText(limit),
	}}
}

// jsonType refuses a body that does not say that it is JSON, or says that it is compressed. body is what the route takes.
func jsonType(r *http.Request, body protoreflect.MessageDescriptor) error {
	refuse := func(format string, a ...any) error {
		bad := fault.Field("Content-Type", format, a...)
		if e, ok := errors.AsType[*fault.Error](fault.Invalid(bad)); ok {
			e.Reason = "UNSUPPORTED_MEDIA_TYPE"
			return &statusError{http.StatusUnsupportedMediaType, e}
		}
		return fault.Invalid(bad)
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return refuse("Content-Encoding %q is not taken; send the body as it is", clip(encoding))
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		return nil // a body of unknown kind can only be JSON here
	}
	kind, params, err := mime.ParseMediaType(given)
	if isJSON := kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"); err != nil || !isJSON {
		if kind == "multipart/form-data" && isMessage(body) {
			return refuse("is %q, and %s", kind, fault.NoFiles)
		}
		return refuse("is %q; send application/json", clip(given))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return refuse("has charset %q; send UTF-8", clip(charset))
	}
	return nil
}

// badText says what is wrong with a text from a URL, "" if nothing is.
func badText(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.ContainsRune(s, 0):
		return "must not contain the character U+0000"
	}
	return ""
}
