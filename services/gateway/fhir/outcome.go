package fhir

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats/fhir/r4"
)

// reasonSystem is the code system of the reasons that OperationOutcomes carry, the same as in the other faces' errors.
const reasonSystem = "https://cairn.care/fhir/CodeSystem/error-reason"

// refusal is an answer that no service gave.
type refusal struct {
	http   int
	reason string // UPPER_SNAKE_CASE; may be empty
	issues []r4.Issue
}

// Error returns the first issue.
func (e *refusal) Error() string { return (&r4.Error{Issues: e.issues}).Error() }

// unsupported refuses content that is understood by nobody here: 422.
func unsupported(expression, format string, a ...any) error {
	return &refusal{http.StatusUnprocessableEntity, "NOT_SUPPORTED", []r4.Issue{{Code: "not-supported", Expression: expression, Diagnostics: fmt.Sprintf(format, a...)}}}
}

// unprocessable refuses content that is FHIR but against a rule of the profile or of Cairn: 422. The code is of the value set
// issue-type: "value", "required", "invariant", "business-rule", "code-invalid", "not-found".
func unprocessable(code, expression, format string, a ...any) error {
	return &refusal{http.StatusUnprocessableEntity, "", []r4.Issue{{Code: code, Expression: expression, Diagnostics: fmt.Sprintf(format, a...)}}}
}

// unprocessables is unprocessable for several things at once; nil for none.
func unprocessables(issues []r4.Issue) error {
	if len(issues) == 0 {
		return nil
	}
	return &refusal{http.StatusUnprocessableEntity, "", issues}
}

// malformed refuses a request that cannot be read: 400.
func malformed(code, expression, format string, a ...any) error {
	return &refusal{http.StatusBadRequest, "", []r4.Issue{{Code: code, Expression: expression, Diagnostics: fmt.Sprintf(format, a...)}}}
}

// missing says that a resource is not there, or not for this caller: 404.
func missing(kind, id string) error {
	return &refusal{http.StatusNotFound, "NOT_FOUND", []r4.Issue{{Code: "not-found", Diagnostics: fmt.Sprintf("%s/%s does not exist or is not visible to you", kind, clip(id))}}}
}

// ambiguous says that a condition is met by more than one resource: 412.
func ambiguous(expression, format string, a ...any) error {
	return &refusal{http.StatusPreconditionFailed, "AMBIGUOUS", []r4.Issue{{Code: "multiple-matches", Expression: expression, Diagnostics: fmt.Sprintf(format, a...)}}}
}

// located is an error of a service of which it is known where the fields stand, more exactly than the resource can say.
type located struct {
	error
	fields map[string]string
}

// Unwrap returns the service's error.
func (e *located) Unwrap() error { return e.error }

// answered is an error as it is told: an HTTP status and an outcome.
type answered struct {
	http    int
	outcome *r4.OperationOutcome
	retry   int // seconds; 0 if nothing is said
	cause   error
}

// tell turns an error into what the caller is told. r says where fields of services stand; it may be nil. written tells that the
// request brought content, so that a field that a service refuses is one of it.
func tell(err error, r *resource, written bool) answered {
	if own, ok := errors.AsType[*refusal](err); ok {
		return answered{http: own.http, outcome: outcomeOf(own.reason, own.issues)}
	}
	if own, ok := errors.AsType[*located](err); ok && r != nil {
		exact := *r
		exact.fields = maps.Clone(r.fields)
		maps.Copy(exact.fields, own.fields)
		return tell(own.error, &exact, written)
	}
	if bad, ok := errors.AsType[*r4.Error](err); ok {
		code := http.StatusBadRequest
		if everyIs(bad.Issues, "not-supported", "code-invalid") {
			code = http.StatusUnprocessableEntity
		}
		return answered{http: code, outcome: outcomeOf("", bad.Issues)}
	}
	return tellStatus(told(err), err, r, written)
}

// keyUsed is told of an Idempotency-Key that came with another request before.
const keyUsed = "the Idempotency-Key was used for another request within 24 hours; use a new one"

func everyIs(issues []r4.Issue, codes ...string) bool {
	return !slices.ContainsFunc(issues, func(i r4.Issue) bool { return !slices.Contains(codes, i.Code) })
}

// told is the status of an error that may pass on to the caller. What comes from the way between, not from a service, has no details
// and may name addresses.
func told(err error) *status.Status {
	st, ok := status.FromError(err)
	if !ok || len(st.Details()) == 0 && st.Code() != codes.Unauthenticated && st.Code() != codes.PermissionDenied && st.Code() != codes.ResourceExhausted {
		return fault.From(err)
	}
	return st
}

// reason is the machine reason of a service's error, "" if it has none.
func reason(err error) string {
	for _, d := range told(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func tellStatus(st *status.Status, err error, r *resource, written bool) answered {
	a := answered{http: http.StatusInternalServerError, cause: err}
	issue := r4.Issue{Code: "exception", Diagnostics: st.Message()}
	reason := ""
	var violations []*errdetails.BadRequest_FieldViolation
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.RetryInfo:
			a.retry = max(1, int(math.Ceil(d.GetRetryDelay().AsDuration().Seconds())))
		case *errdetails.BadRequest:
			violations = d.GetFieldViolations()
		}
	}
	switch st.Code() {
	case codes.InvalidArgument:
		a.http, issue.Code = http.StatusBadRequest, "value"
		if written {
			a.http = http.StatusUnprocessableEntity
		}
	case codes.FailedPrecondition:
		a.http, issue.Code = http.StatusUnprocessableEntity, "business-rule"
	case codes.NotFound:
		a.http, issue.Code = http.StatusNotFound, "not-found"
	case codes.AlreadyExists:
		a.http, issue.Code = http.StatusConflict, "duplicate"
	case codes.Aborted:
		a.http, issue.Code = http.StatusConflict, "conflict"
		if reason == "ETAG_MISMATCH" {
			a.http = http.StatusPreconditionFailed
		}
	case codes.OutOfRange:
		a.http, issue.Code = http.StatusGone, "expired"
	case codes.Unauthenticated:
		a.http, issue.Code = http.StatusUnauthorized, "login"
	case codes.PermissionDenied:
		a.http, issue.Code = http.StatusForbidden, "forbidden"
	case codes.ResourceExhausted:
		a.http, issue.Code = http.StatusTooManyRequests, "throttled"
	case codes.Unavailable:
		a.http, issue.Code = http.StatusServiceUnavailable, "transient"
	case codes.DeadlineExceeded:
		a.http, issue.Code = http.StatusGatewayTimeout, "timeout"
	case codes.Canceled:
		a.http, issue.Code = 499, "timeout"
	case codes.Unimplemented:
		a.http, issue.Code = http.StatusNotImplemented, "not-supported"
	}
	issues := []r4.Issue{issue}
	if len(violations) > 0 {
		issues = nil
		for _, v := range violations {
			if v.GetField() == "request_id" {
				issues = append(issues, r4.Issue{Code: "business-rule", Expression: httpParameter + "Idempotency-Key", Diagnostics: keyUsed})
				continue
			}
			issues = append(issues, r4.Issue{Code: "value", Expression: r.expression(v.GetField(), written), Diagnostics: v.GetDescription()})
		}
	}
	a.outcome = outcomeOf(reason, issues)
	return a
}

// expression returns the FHIRPath of a field of a service's request: the longest beginning of it that is known.
func (r *resource) expression(field string, written bool) string {
	if r == nil {
		return ""
	}
	for path := field; path != ""; {
		if e, ok := r.fields[path]; ok {
			return e
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	if !written {
		return ""
	}
	return r.kind
}

// outcomeOf writes issues as an OperationOutcome.
func outcomeOf(reason string, issues []r4.Issue) *r4.OperationOutcome {
	o := &r4.OperationOutcome{ResourceType: "OperationOutcome"}
	for _, i := range issues {
		o.Issue = append(o.Issue, outcomeIssue("error", reason, i))
	}
	return o
}

func outcomeIssue(severity, reason string, i r4.Issue) r4.OperationOutcomeIssue {
	issue := r4.OperationOutcomeIssue{Severity: severity, Code: i.Code, Diagnostics: printable(i.Diagnostics)}
	if i.Expression != "" {
		issue.Expression = []string{printable(i.Expression)}
	}
	if strings.HasPrefix(i.Expression, httpParameter) {
		issue.Location = issue.Expression
	}
	if reason != "" {
		issue.Details = &r4.CodeableConcept{Coding: []r4.Coding{{System: reasonSystem, Code: reason}}}
	}
	return issue
}

// Fail answers a request below Root with an error.
func (f *Face) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f.fail(w, r, err, nil, false)
}

func (f *Face) fail(w http.ResponseWriter, r *http.Request, err error, about *resource, written bool) {
	a := tell(err, about, written)
	if a.http == http.StatusInternalServerError {
		f.log.ErrorContext(r.Context(), "FHIR request failed", "route", route(r), "request_id", f.requestID(r.Context()), "err", a.cause)
	}
	h := w.Header()
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retry))
	}
	if a.http == http.StatusUnauthorized {
		challenge := `Bearer realm="cairn"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		h.Set("WWW-Authenticate", challenge)
	}
	h.Del("ETag")
	h.Del("Last-Modified")
	h.Set("Cache-Control", "no-store")
	f.write(w, r, a.http, a.outcome)
}

// printable puts a replacement character where a text has what FHIR's type string may not have: it may name what a caller wrote.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// clip shortens what a caller wrote, for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
