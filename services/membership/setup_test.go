package membership

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// outOfReach is a connection to a groups service that is down: the tests here live on what its events have told.
type outOfReach struct{}

func (outOfReach) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return status.Error(codes.Unavailable, "down")
}

func (outOfReach) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unavailable, "down")
}

// fixture is the service on a database of the test's own, without interceptors.
type fixture struct {
	*server
	t     testing.TB
	clock *clock.Fake
	org   uuid.UUID
}

func setup(t testing.TB) *fixture {
	t.Helper()
	keys, err := crypt.Generate(filepath.Join(t.TempDir(), "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	texts, err := writtenTexts()
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	return &fixture{
		t: t, clock: c, org: aip.NewID(),
		server: &server{db: pgtest.New(t, "membership", migrations), clock: c, keys: keys, groups: groupsv1.NewGroupsServiceClient(outOfReach{}), texts: texts,
			log: slog.New(slog.DiscardHandler), peers: peers{
				schedule: schedulingv1.NewSchedulingServiceClient(outOfReach{}), referrals: referralv1.NewReferralServiceClient(outOfReach{}),
				resources: groupsv1.NewResourcesServiceClient(outOfReach{}), organizations: partnersv1.NewPartnersServiceClient(outOfReach{}),
			}},
	}
}

// as returns a context in which the organization calls.
func (f *fixture) as(org uuid.UUID) context.Context {
	return auth.WithTenant(f.t.Context(), auth.Tenant{Org: org})
}

// ctx is a context of the fixture's organization.
func (f *fixture) ctx() context.Context { return f.as(f.org) }

// referral is a context in which the referral service calls.
func (f *fixture) referral() context.Context { return auth.System(f.t.Context(), "referral") }

// told is a published group as its events tell it; revision counts up with every telling.
type told struct {
	*groupsv1.GroupChanged
	revision int64
}

func (f *fixture) newGroup(seats int32, waitlist bool) *told {
	g := &told{GroupChanged: &groupsv1.GroupChanged{
		Group: aip.Name("groups", aip.NewID()), Organization: aip.Name("organizations", f.org),
		State: groupsv1.Group_PUBLISHED, AcceptsIntake: true, Seats: seats, Waitlist: waitlist, GuidelinesVersion: 1,
	}}
	f.tell(g)
	return g
}

// tell applies what the group now says, as the event consumer does.
func (f *fixture) tell(g *told) {
	f.t.Helper()
	g.revision++
	facts, err := factsOf(g.GroupChanged, g.revision)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx := auth.System(f.t.Context(), "membership")
	if err := f.db.Tx(ctx, func(tx pgx.Tx) error {
		_, err := f.applyFacts(ctx, tx, facts, f.clock.Now())
		return err
	}); err != nil {
		f.t.Fatalf("tell %s: %v", g.GetGroup(), err)
	}
}

// seatsOf returns a group's row.
func (f *fixture) seatsOf(g *told) *groupRow {
	f.t.Helper()
	id, err := aip.ParseName("group", "groups", g.GetGroup())
	if err != nil {
		f.t.Fatal(err)
	}
	var row *groupRow
	ctx := auth.System(f.t.Context(), "membership")
	if err := f.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		row, err = findGroup(ctx, tx, id, "")
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return row
}

func (f *fixture) newMember() *membershipv1.Member {
	f.t.Helper()
	m, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
		Alias: "Wren", Role: membershipv1.Member_SURVIVOR, BirthYear: 1980,
	}})
	if err != nil {
		f.t.Fatalf("CreateMember: %v", err)
	}
	return m
}

// requestPlace makes a new person ask for a place.
func (f *fixture) requestPlace(g *told) *membershipv1.Membership {
	f.t.Helper()
	m, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: f.newMember().GetName()})
	if err != nil {
		f.t.Fatalf("CreateMembership: %v", err)
	}
	return m
}

// join makes a new person ask for a place and be approved.
func (f *fixture) join(g *told) *membershipv1.Membership {
	f.t.Helper()
	m, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: f.requestPlace(g).GetName()})
	if err != nil {
		f.t.Fatalf("ApproveMembership: %v", err)
	}
	return m
}

// joinActively is join, and the guidelines acknowledged.
func (f *fixture) joinActively(g *told) *membershipv1.Membership {
	f.t.Helper()
	m, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: f.join(g).GetName(), Version: g.GetGuidelinesVersion()})
	if err != nil {
		f.t.Fatalf("AcknowledgeGuidelines: %v", err)
	}
	return m
}

func (f *fixture) get(name string) *membershipv1.Membership {
	f.t.Helper()
	m, err := f.GetMembership(f.ctx(), &membershipv1.GetMembershipRequest{Name: name})
	if err != nil {
		f.t.Fatalf("GetMembership: %v", err)
	}
	return m
}

// reasonOf returns an error's code and machine reason, "OK" for none.
func reasonOf(err error) string {
	st := fault.From(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return st.Code().String() + " " + info.GetReason()
		}
	}
	return st.Code().String()
}

// fieldOf returns the first violated field of an error.
func fieldOf(err error) string {
	for _, d := range fault.From(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			return bad.GetFieldViolations()[0].GetField()
		}
	}
	return ""
}
