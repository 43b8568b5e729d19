// Package audit records who saw or changed whose personal health data, in the transaction
// that did. The log can be added to, never changed.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "cairn.care/gen/cairn/policy/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

// operation is the call, job or event that the records of a context belong to.
type operation struct {
	method    string // full RPC method, or the job or event
	access    string // READ or WRITE
	requestID string
	phi       bool // discloses or changes personal health data
	recorded  atomic.Int32
}

type operationKey struct{}

// Operation returns a context for work outside RPCs, such as "job sweep_deadlines" or
// "event care.cairn.…", whose records are changes made by it.
func Operation(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, operationKey{}, &operation{method: name, access: "WRITE"})
}

// Queue records, in the batch that does it, that the present call discloses or changes the
// resource. A call that lists resources names the collection: "members/-".
func Queue(ctx context.Context, b *pgx.Batch, resource string) {
	op := operationFrom(ctx)
	b.Queue(insertLog, row(ctx, op, resource))
	op.recorded.Add(1)
}

// QueueEach is [Queue] for several resources.
func QueueEach(ctx context.Context, b *pgx.Batch, resources []string) {
	if len(resources) == 0 {
		return
	}
	op := operationFrom(ctx)
	args := row(ctx, op, "")
	args["resources"] = resources
	b.Queue(insertLogEach, args)
	op.recorded.Add(int32(len(resources)))
}

// QueueIf is [Queue] for a resource that may turn out not to be the caller's to see: it records only if the query visible
// finds a row. An answer that is given although it found none counts as unrecorded. The query's arguments must have other
// names than the log's columns.
func QueueIf(ctx context.Context, b *pgx.Batch, resource, visible string, args pgx.NamedArgs) {
	op := operationFrom(ctx)
	all := row(ctx, op, resource)
	maps.Copy(all, args)
	b.Queue(insertLogIf+" WHERE EXISTS ("+visible+")", all).Exec(func(tag pgconn.CommandTag) error {
		op.recorded.Add(int32(tag.RowsAffected()))
		return nil
	})
}

// Insert is [Queue] for an explicit transaction.
func Insert(ctx context.Context, tx pg.Querier, resource string) error {
	op := operationFrom(ctx)
	if _, err := tx.Exec(ctx, insertLog, row(ctx, op, resource)); err != nil {
		return fmt.Errorf("insert audit record: %w", err)
	}
	op.recorded.Add(1)
	return nil
}

// InsertEach is [Insert] for several resources.
func InsertEach(ctx context.Context, tx pg.Querier, resources []string) error {
	if len(resources) == 0 {
		return nil
	}
	op := operationFrom(ctx)
	args := row(ctx, op, "")
	args["resources"] = resources
	tag, err := tx.Exec(ctx, insertLogEach, args)
	if err != nil {
		return fmt.Errorf("insert audit records: %w", err)
	}
	op.recorded.Add(int32(tag.RowsAffected()))
	return nil
}

// Replay records that an answer given before is given again, if the present call is one that
// is recorded: idempotency answers in the handler's place.
func Replay(ctx context.Context, db pg.Querier, answer proto.Message) error {
	op, ok := ctx.Value(operationKey{}).(*operation)
	if !ok || !op.phi {
		return nil
	}
	return Insert(ctx, db, nameOf(answer.ProtoReflect()))
}

// nameOf returns the resource name of an answer, or of the first resource in it.
func nameOf(m protoreflect.Message) string {
	if f := m.Descriptor().Fields().ByName("name"); f != nil && f.Kind() == protoreflect.StringKind && m.Has(f) {
		return m.Get(f).String()
	}
	name := "-"
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil && !f.IsList() && !f.IsMap() {
			name = nameOf(v.Message())
		}
		return name == "-"
	})
	return name
}

const (
	logColumns    = `INSERT INTO audit_log (caller_kind, caller, organization, service, on_behalf_of, tenant, method, resource, access, request_id, trace_id, purpose)`
	logValues     = `@caller_kind, @caller, @organization, @service, @on_behalf_of, @tenant::uuid, @method, @resource, @access, @request_id, @trace_id, @purpose`
	insertLog     = logColumns + ` VALUES (` + logValues + `)`
	insertLogEach = logColumns + ` SELECT @caller_kind, @caller, @organization, @service, @on_behalf_of, @tenant::uuid, @method, seen, @access, @request_id, @trace_id, @purpose
		FROM unnest(@resources::text[]) AS seen`
	insertLogIf = logColumns + ` SELECT ` + logValues
)

func operationFrom(ctx context.Context) *operation {
	if op, ok := ctx.Value(operationKey{}).(*operation); ok {
		return op
	}
	return &operation{method: "internal", access: "WRITE"}
}

func row(ctx context.Context, op *operation, resource string) pgx.NamedArgs {
	p, t := auth.PrincipalFrom(ctx), auth.TenantFrom(ctx)
	args := pgx.NamedArgs{
		"caller_kind": p.Kind.String(), "caller": p.Subject, "organization": p.Organization, "service": p.Service,
		"on_behalf_of": "", "tenant": nil, "method": op.method, "resource": resource, "access": op.access,
		"request_id": op.requestID, "trace_id": "", "purpose": purpose(ctx, p),
	}
	if p.OnBehalfOf != nil {
		args["on_behalf_of"] = p.OnBehalfOf.Subject
	}
	if !t.All && t.Org != uuid.Nil {
		args["tenant"] = t.Org
	}
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		args["trace_id"] = sc.TraceID().String()
	}
	return args
}

// Interceptor refuses the answer of an RPC whose policy says that it discloses or changes
// personal health data if it recorded nothing. That is a mistake of the handler's: the caller
// gets INTERNAL and the log says which method it was. A denied call need not be recorded.
func Interceptor(rules auth.Rules, log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		op := &operation{method: info.FullMethod, access: "READ"}
		phi := rules[info.FullMethod].GetPhi()
		op.phi = phi != policyv1.Phi_PHI_NONE
		if phi == policyv1.Phi_WRITES {
			op.access = "WRITE"
		}
		if m, ok := req.(proto.Message); ok {
			op.requestID = requestID(m)
		}
		resp, err := handler(context.WithValue(ctx, operationKey{}, op), req)
		if err == nil && op.phi && op.recorded.Load() == 0 {
			log.ErrorContext(ctx, "answer refused: it was not recorded in the audit log", "method", info.FullMethod)
			return nil, fmt.Errorf("%s: %w", info.FullMethod, errUnrecorded)
		}
		return resp, err
	}
}

// StreamInterceptor is [Interceptor] for streams: no message is sent before something was recorded.
func StreamInterceptor(rules auth.Rules, log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		op := &operation{method: info.FullMethod, access: "READ"}
		phi := rules[info.FullMethod].GetPhi()
		op.phi = phi != policyv1.Phi_PHI_NONE
		if phi == policyv1.Phi_WRITES {
			op.access = "WRITE"
		}
		return handler(srv, &stream{ss, context.WithValue(ss.Context(), operationKey{}, op), op, log})
	}
}

// stream is a stream that discloses nothing unrecorded.
type stream struct {
	grpc.ServerStream
	ctx context.Context
	op  *operation
	log *slog.Logger
}

// Context returns the context to which records belong.
func (s *stream) Context() context.Context { return s.ctx }

// SendMsg sends a message.
func (s *stream) SendMsg(m any) error {
	if s.op.phi && s.op.recorded.Load() == 0 {
		s.log.ErrorContext(s.ctx, "message refused: nothing was recorded in the audit log", "method", s.op.method)
		return fmt.Errorf("%s: %w", s.op.method, errUnrecorded)
	}
	return s.ServerStream.SendMsg(m)
}

var errUnrecorded = errors.New("discloses or changes personal data but recorded nothing in the audit log")

func requestID(m proto.Message) string {
	r := m.ProtoReflect()
	f := r.Descriptor().Fields().ByName("request_id")
	if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
		return ""
	}
	return r.Get(f).String()
}
