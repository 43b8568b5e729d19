// Package fault is the one place where errors become gRPC statuses with google.rpc
// details (AIP-193). Handlers return its errors for what the caller did or met;
// anything else is an internal error whose cause the caller never sees.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Domain is the ErrorInfo domain of every error Cairn makes.
const Domain = "cairn.care"

// Error is an error that the caller is told.
type Error struct {
	Code     codes.Code
	Reason   string            // stable machine reason, UPPER_SNAKE_CASE
	Message  string            // a sentence that helps
	Metadata map[string]string // more about the reason; never personal data
	Details  []protoadapt.MessageV1
	Cause    error // for the log only
}

// Error returns the message, and the cause for the log.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// GRPCStatus returns the status that goes over the wire: no cause.
func (e *Error) GRPCStatus() *status.Status {
	details := append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: e.Reason, Domain: Domain, Metadata: e.Metadata}}, e.Details...)
	st, err := status.New(e.Code, e.Message).WithDetails(details...)
	if err != nil { // only for code OK, which no constructor makes
		return status.New(codes.Internal, "internal error")
	}
	return st
}

// Violation is one bad field of a request.
type Violation = errdetails.BadRequest_FieldViolation

// Field returns a violation: the field's path as the caller wrote it, and what to do.
func Field(field, format string, a ...any) *Violation {
	return &Violation{Field: field, Description: fmt.Sprintf(format, a...)}
}

// maxViolations is how many bad fields of one request are told at once.
const maxViolations = 50

// Invalid returns INVALID_ARGUMENT for bad fields; of very many it tells the first.
func Invalid(violations ...*Violation) error {
	if len(violations) > maxViolations {
		violations = violations[:maxViolations]
	}
	parts := make([]string, len(violations))
	for i, v := range violations {
		parts[i] = v.GetField() + ": " + v.GetDescription()
	}
	return &Error{
		Code: codes.InvalidArgument, Reason: "INVALID_FIELD",
		Message: strings.Join(parts, "; "),
		Details: []protoadapt.MessageV1{&errdetails.BadRequest{FieldViolations: violations}},
	}
}

// NotFound returns NOT_FOUND for a resource that is not there, or not for this caller.
func NotFound(name string) error {
	return &Error{
		Code: codes.NotFound, Reason: "NOT_FOUND", Message: name + " does not exist or is not visible to you",
		Details: []protoadapt.MessageV1{&errdetails.ResourceInfo{ResourceName: name}},
	}
}

// AlreadyExists returns ALREADY_EXISTS for the named resource.
func AlreadyExists(name, format string, a ...any) error {
	return &Error{
		Code: codes.AlreadyExists, Reason: "ALREADY_EXISTS", Message: fmt.Sprintf(format, a...),
		Details: []protoadapt.MessageV1{&errdetails.ResourceInfo{ResourceName: name}},
	}
}

// Precondition returns FAILED_PRECONDITION for a rule of the domain that the subject
// (a resource name) does not meet.
func Precondition(reason, subject, format string, a ...any) error {
	msg := fmt.Sprintf(format, a...)
	return Preconditions(reason, &errdetails.PreconditionFailure_Violation{Type: reason, Subject: subject, Description: msg})
}

// Preconditions is Precondition for several broken rules at once.
func Preconditions(reason string, violations ...*errdetails.PreconditionFailure_Violation) error {
	parts := make([]string, len(violations))
	for i, v := range violations {
		parts[i] = v.GetDescription()
	}
	return &Error{
		Code: codes.FailedPrecondition, Reason: reason, Message: strings.Join(parts, "; "),
		Details: []protoadapt.MessageV1{&errdetails.PreconditionFailure{Violations: violations}},
	}
}

// Aborted returns ABORTED: somebody else was faster, read again and retry.
func Aborted(reason, format string, a ...any) error {
	return &Error{Code: codes.Aborted, Reason: reason, Message: fmt.Sprintf(format, a...)}
}

// Denied returns PERMISSION_DENIED.
func Denied(reason, format string, a ...any) error {
	return &Error{Code: codes.PermissionDenied, Reason: reason, Message: fmt.Sprintf(format, a...)}
}

// Unauthenticated returns UNAUTHENTICATED.
func Unauthenticated(reason, format string, a ...any) error {
	return &Error{Code: codes.Unauthenticated, Reason: reason, Message: fmt.Sprintf(format, a...)}
}

// Unavailable returns UNAVAILABLE with RetryInfo; the cause goes to the log only.
func Unavailable(after time.Duration, cause error) error {
	return &Error{
		Code: codes.Unavailable, Reason: "UNAVAILABLE", Cause: cause,
		Message: "a part of Cairn is out of reach for the moment; retry with the same request_id",
		Details: []protoadapt.MessageV1{&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}},
	}
}

// From maps any error to the status the caller gets. A peer's status passes on if it
// says something about the caller's request; errors nobody classified become a bare INTERNAL.
func From(err error) *status.Status {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.GRPCStatus()
	}
	switch {
	case errors.Is(err, context.Canceled):
		return (&Error{Code: codes.Canceled, Reason: "CANCELLED", Message: "the call was cancelled"}).GRPCStatus()
	case errors.Is(err, context.DeadlineExceeded):
		return (&Error{Code: codes.DeadlineExceeded, Reason: "DEADLINE_EXCEEDED", Message: "the call took longer than its deadline; retry with the same request_id"}).GRPCStatus()
	}
	if st, ok := fromPeer(err); ok {
		return st
	}
	if Unreachable(err) {
		return status.Convert(Unavailable(time.Second, err))
	}
	if unkeepable(err) {
		return status.Convert(Invalid(Field("request", "a text in it, or in its page_token, contains the character U+0000, which cannot be kept")))
	}
	return (&Error{Code: codes.Internal, Reason: "INTERNAL", Message: "internal error; quote the request id to support"}).GRPCStatus()
}

// fromPeer returns the status that err carries if it may pass on to the caller.
func fromPeer(err error) (*status.Status, bool) {
	carrier, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	if !ok {
		return nil, false
	}
	st := carrier.GRPCStatus()
	switch st.Code() {
	case codes.Internal, codes.Unknown, codes.DataLoss, codes.Unauthenticated:
		return nil, false
	case codes.Unavailable:
		if len(st.Details()) == 0 { // the transport's own words may name addresses
			return status.Convert(Unavailable(time.Second, err)), true
		}
	}
	return st, true
}

// Unreachable tells whether err means that PostgreSQL or a network peer cannot be reached
// or cannot serve at present, so that the same work may succeed later: refused and broken
// connections, a server that starts or stops, too many connections, a standby, a lost
// serialization. A write whose connection broke may have been committed or not. Wrong
// credentials, a missing database and a caller that gave up are not unreachable.
func Unreachable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return unreachableCode(e.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed) {
		return true
	}
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// unreachableCode tells whether an SQLSTATE stands for a server that is away for a while.
func unreachableCode(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", // admin_shutdown, crash_shutdown, cannot_connect_now
		"53300",                   // too_many_connections
		"25006",                   // read_only_sql_transaction: a primary that became a standby
		"40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
		return true
	}
	return strings.HasPrefix(code, "08") // connection_exception
}

// unkeepable tells whether PostgreSQL has refused a text for the character U+0000, which no text
// of its can hold: character_not_in_repertoire, and untranslatable_character in JSON.
func unkeepable(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "22021" || e.Code == "22P05")
}
