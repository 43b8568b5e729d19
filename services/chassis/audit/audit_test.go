package audit_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	policyv1 "cairn.care/gen/cairn/policy/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const (
	read   = "/test.v1.Members/GetMember"
	write  = "/test.v1.Members/UpdateMember"
	public = "/test.v1.Members/Count"
)

func interceptor() grpc.UnaryServerInterceptor {
	return audit.Interceptor(auth.Rules{
		read:   {Phi: policyv1.Phi_READS},
		write:  {Phi: policyv1.Phi_WRITES},
		public: {Phi: policyv1.Phi_PHI_NONE},
	}, slog.New(slog.DiscardHandler))
}

// entry is a row of the log.
type entry struct {
	Kind, Caller, Organization, Service, OnBehalfOf string
	Tenant                                          *uuid.UUID
	Method, Resource, Access, RequestID, TraceID    string
}

func entries(t *testing.T, db *pg.DB) []entry {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT caller_kind, caller, organization, service, on_behalf_of,
		tenant, method, resource, access, request_id, trace_id FROM audit_log ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entry])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAnAccessIsRecordedInItsOwnTransaction(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "audit", nil)
	org := uuid.New()
	hospital := auth.Principal{Kind: auth.Client, Subject: "apiClients/h", Organization: "organizations/" + org.String()}
	ctx := auth.WithTenant(auth.WithPrincipal(t.Context(), hospital), auth.Tenant{Org: org})
	ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 1}}))
	_, err := interceptor()(ctx, wrapperspb.String("request"), &grpc.UnaryServerInfo{FullMethod: read}, func(ctx context.Context, _ any) (any, error) {
		b := db.Batch(ctx)
		audit.Queue(ctx, b, "members/1")
		return wrapperspb.String("answer"), db.Send(ctx, b)
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = interceptor()(auth.System(ctx, "referral"), wrapperspb.String("request"), &grpc.UnaryServerInfo{FullMethod: write}, func(ctx context.Context, _ any) (any, error) {
		return wrapperspb.String("answer"), db.Tx(ctx, func(tx pgx.Tx) error { return audit.Insert(ctx, tx, "members/2") })
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := audit.Insert(audit.Operation(auth.System(t.Context(), "audit"), "job erase"), db, "members/3"); err != nil {
		t.Fatal(err)
	}
	got := entries(t, db)
	traceID := "00000000000000000000000000000001"
	want := []entry{
		{"client", "apiClients/h", "organizations/" + org.String(), "", "", &org, read, "members/1", "READ", "", traceID},
		{"service", "referral", "", "referral", "apiClients/h", nil, write, "members/2", "WRITE", "", traceID},
		{"service", "audit", "", "audit", "", nil, "job erase", "members/3", "WRITE", "", ""},
	}
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i := range want {
		if (got[i].Tenant == nil) != (want[i].Tenant == nil) || got[i].Tenant != nil && *got[i].Tenant != *want[i].Tenant {
			t.Errorf("record %d: tenant %v, want %v", i, got[i].Tenant, want[i].Tenant)
		}
		got[i].Tenant = want[i].Tenant
		if got[i] != want[i] {
			t.Errorf("record %d = %+v, want %+v", i, got[i], want[i])
		}
	}
}

// A record says why: as the caller says, also through a service that acts for it, or as follows from who it is.
func TestARecordSaysWhy(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "audit", nil)
	hospital := auth.Principal{Kind: auth.Client, Subject: "apiClients/h"}
	quality, err := hospital.WithPurpose("HQUALIMP")
	if err != nil {
		t.Fatal(err)
	}
	platform := auth.Principal{Kind: auth.Client, Subject: "apiClients/app", Platform: true}
	person := auth.WithPrincipal(t.Context(), auth.Principal{Kind: auth.User, Subject: "ana"})
	for _, c := range []struct {
		ctx  context.Context //nolint:containedctx // who calls
		want string
	}{
		{auth.WithPrincipal(t.Context(), hospital), "TREAT"},
		{auth.WithPrincipal(t.Context(), quality), "HQUALIMP"},
		{auth.System(auth.WithPrincipal(t.Context(), quality), "referral"), "HQUALIMP"},
		{auth.System(auth.WithPrincipal(t.Context(), hospital), "referral"), "TREAT"},
		{auth.System(t.Context(), "referral"), "HOPERAT"},
		{auth.WithPrincipal(t.Context(), platform), "HOPERAT"},
		{person, "TREAT"},
		{auth.WithSelf(person, auth.Self{Member: "members/1"}), "PATRQT"},
		{auth.WithSelf(person, auth.Self{Facilitator: "facilitators/1"}), "TREAT"},
	} {
		if err := audit.Insert(c.ctx, db, "members/1"); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := db.QueryRow(t.Context(), `SELECT purpose FROM audit_log ORDER BY id DESC LIMIT 1`).Scan(&got); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v, want %q", auth.PrincipalFrom(c.ctx), got, err, c.want)
		}
	}
}

func TestAnUnrecordedAnswerIsRefused(t *testing.T) {
	t.Parallel()
	silent := func(context.Context, any) (any, error) { return wrapperspb.String("personal"), nil }
	for method, want := range map[string]codes.Code{read: codes.Internal, write: codes.Internal, public: codes.OK} {
		resp, err := interceptor()(t.Context(), wrapperspb.String(""), &grpc.UnaryServerInfo{FullMethod: method}, silent)
		if got := fault.From(err).Code(); got != want || (want != codes.OK && resp != nil) {
			t.Errorf("%s: %v %v, want %v", method, resp, err, want)
		}
	}
	denied := func(context.Context, any) (any, error) { return nil, fault.NotFound("members/1") }
	if _, err := interceptor()(t.Context(), wrapperspb.String(""), &grpc.UnaryServerInfo{FullMethod: read}, denied); fault.From(err).Code() != codes.NotFound {
		t.Errorf("an error that discloses nothing: %v, want NOT_FOUND", err)
	}
}

// What a caller does not get to see is not recorded as seen, and an answer about it is refused.
func TestWhatIsNotSeenIsNotRecorded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "audit", nil)
	org := uuid.New()
	ctx := auth.WithTenant(t.Context(), auth.Tenant{Org: org})
	for resource, c := range map[string]struct {
		seen   bool
		answer error
		want   codes.Code
	}{
		"members/seen":       {true, nil, codes.OK},
		"members/foreign":    {false, fault.NotFound("members/foreign"), codes.NotFound},
		"members/unrecorded": {false, nil, codes.Internal},
	} {
		_, err := interceptor()(ctx, wrapperspb.String("request"), &grpc.UnaryServerInfo{FullMethod: read}, func(ctx context.Context, _ any) (any, error) {
			b := db.Batch(ctx)
			audit.QueueIf(ctx, b, resource, `SELECT 1 WHERE @seen AND @id::uuid IS NOT NULL`, pgx.NamedArgs{"seen": c.seen, "id": org})
			if err := db.Send(ctx, b); err != nil {
				return nil, err
			}
			return wrapperspb.String("answer"), c.answer
		})
		if got := fault.From(err).Code(); got != c.want {
			t.Errorf("%s: %v, want %v", resource, err, c.want)
		}
	}
	all := entries(t, db)
	if len(all) != 1 || all[0].Resource != "members/seen" || all[0].Tenant == nil || *all[0].Tenant != org || all[0].Method != read {
		t.Errorf("got %+v, want a record of what was seen", all)
	}
}

func TestTheLogCannotBeChanged(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "audit", nil)
	ctx := auth.System(t.Context(), "audit")
	if err := audit.Insert(ctx, db, "members/1"); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{`UPDATE audit_log SET resource = ''`, `DELETE FROM audit_log`, `TRUNCATE audit_log`} {
		if _, err := db.Exec(ctx, sql); err == nil {
			t.Errorf("%s succeeded", sql)
		}
	}
	if n := len(entries(t, db)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func TestAnAnswerGivenAgainIsRecorded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "audit", nil)
	answer := &membershipv1.Member{Name: "members/1"}
	for _, method := range []string{read, public} {
		if _, err := interceptor()(t.Context(), wrapperspb.String("request"), &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
			return answer, audit.Replay(ctx, db, answer)
		}); err != nil {
			t.Fatal(err)
		}
	}
	got := entries(t, db)
	if len(got) != 1 || got[0].Method != read || got[0].Resource != "members/1" {
		t.Errorf("recorded %+v, want one record, of the RPC that discloses personal data", got)
	}
}

// stream counts what is sent on it.
type stream struct {
	grpc.ServerStream
	ctx  context.Context
	sent int
}

func (s *stream) Context() context.Context { return s.ctx }
func (s *stream) SendMsg(any) error        { s.sent++; return nil }

func TestAStreamSendsNothingUnrecorded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "audit", nil)
	rules := auth.Rules{read: {Phi: policyv1.Phi_READS}, public: {Phi: policyv1.Phi_PHI_NONE}}
	for _, tc := range []struct {
		method       string
		record, sent bool
	}{{read, false, false}, {read, true, true}, {public, false, true}} {
		ss := &stream{ctx: t.Context()}
		err := audit.StreamInterceptor(rules, slog.New(slog.DiscardHandler))(nil, ss, &grpc.StreamServerInfo{FullMethod: tc.method}, func(_ any, s grpc.ServerStream) error {
			if tc.record {
				if err := audit.Insert(s.Context(), db, "members/1"); err != nil {
					return err
				}
			}
			return s.SendMsg(wrapperspb.String("personal"))
		})
		if (err == nil) != tc.sent || (ss.sent == 1) != tc.sent {
			t.Errorf("%s, recorded %t: %d messages sent, %v", tc.method, tc.record, ss.sent, err)
		}
	}
	if got := entries(t, db); len(got) != 1 || got[0].Access != "READ" {
		t.Errorf("records: %+v, want one of a read", got)
	}
}
