package scheduling

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/groups"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/referral"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const (
	ours   = "organizations/0192d7a5-0000-7000-8000-00000000000a"
	theirs = "organizations/0192d7a5-0000-7000-8000-00000000000b"
)

// thursday is a Thursday noon in Berlin's winter, 24 days before its daylight saving.
var thursday = time.Date(2027, 3, 4, 11, 0, 0, 0, time.UTC)

// fixture is the suite as callers reach it, with a group and two facilitators of ours.
type fixture struct {
	*suitetest.Suite
	schedulingv1.SchedulingServiceClient

	t        testing.TB
	groups   groupsv1.GroupsServiceClient
	members  membershipv1.MembershipServiceClient
	owner    context.Context
	stranger context.Context

	group    string
	ana, ben string // facilitators
}

func setup(t testing.TB, options ...suitetest.Option) *fixture {
	t.Helper()
	s := suitetest.Start(t, []chassis.Component{partners.Component(), groups.Component(), membership.Component(), referral.Component(), Component()}, options...)
	s.Clock.Set(thursday)
	scopes := []string{"groups.write", "members.write", "members.read", "schedule.write", "schedule.read"}
	f := &fixture{
		Suite: s, t: t, SchedulingServiceClient: schedulingv1.NewSchedulingServiceClient(s.Conn("scheduling")),
		groups: groupsv1.NewGroupsServiceClient(s.Conn("groups")), members: membershipv1.NewMembershipServiceClient(s.Conn("membership")),
		owner: suitetest.Client(t.Context(), ours, scopes...), stranger: suitetest.Client(t.Context(), theirs, scopes...),
	}
	f.group = f.newGroup(f.owner)
	f.ana, f.ben = f.newFacilitator(f.owner, "Ana"), f.newFacilitator(f.owner, "Ben")
	return f
}

func (f *fixture) newGroup(ctx context.Context) string {
	f.t.Helper()
	g, err := f.groups.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
		Title: "Walk and talk", Summary: "For people after breast cancer.", Languages: []string{"en"}, Kind: groupsv1.Group_PEER_SUPPORT,
		Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_ONLINE, CancerTypes: []string{"breast"},
		Online: &groupsv1.Group_Online{Platform: "Zoom"}, TimeZone: "Europe/Berlin", SourceSystem: "test", ExternalId: uuid.NewString(),
	}})
	if err != nil {
		f.t.Fatalf("create group: %v", err)
	}
	if g, err = f.groups.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()}); err != nil {
		f.t.Fatalf("publish group: %v", err)
	}
	return g.GetName()
}

func (f *fixture) newFacilitator(ctx context.Context, called string) string {
	f.t.Helper()
	a, err := f.groups.CreateFacilitator(ctx, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{DisplayName: called}})
	if err != nil {
		f.t.Fatalf("create facilitator: %v", err)
	}
	return a.GetName()
}

// newMembership creates a member and her membership in the group.
func (f *fixture) newMembership(group string) string {
	f.t.Helper()
	m, err := f.members.CreateMember(f.owner, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
		Organization: ours, Alias: "Wren", Role: membershipv1.Member_SURVIVOR,
	}})
	if err != nil {
		f.t.Fatalf("create member: %v", err)
	}
	in, err := f.members.CreateMembership(f.owner, &membershipv1.CreateMembershipRequest{Group: group, Member: m.GetName()})
	if err != nil {
		f.t.Fatalf("create membership: %v", err)
	}
	return in.GetName()
}

// weekly is a series on Thursdays at 19:00 in Berlin, from the day of thursday.
func (f *fixture) weekly() *schedulingv1.Series {
	return &schedulingv1.Series{
		Group: f.group, Rrule: "FREQ=WEEKLY", TimeZone: "Europe/Berlin", LocalStart: "2027-03-04T19:00", Duration: durationpb.New(90 * time.Minute),
	}
}

func (f *fixture) create(series *schedulingv1.Series) *schedulingv1.Series {
	f.t.Helper()
	made, err := f.CreateSeries(f.owner, &schedulingv1.CreateSeriesRequest{Series: series})
	if err != nil {
		f.t.Fatalf("create series: %v", err)
	}
	return made
}

func (f *fixture) update(series *schedulingv1.Series) *schedulingv1.Series {
	f.t.Helper()
	made, err := f.UpdateSeries(f.owner, &schedulingv1.UpdateSeriesRequest{Series: series})
	if err != nil {
		f.t.Fatalf("update series: %v", err)
	}
	return made
}

// sessions lists all sessions that the filter finds, by pages of 20.
func (f *fixture) sessions(filter string, a ...any) []*schedulingv1.Session {
	f.t.Helper()
	var all []*schedulingv1.Session
	req := &schedulingv1.ListSessionsRequest{Filter: fmt.Sprintf(filter, a...), PageSize: 20}
	for {
		resp, err := f.ListSessions(f.owner, req)
		if err != nil {
			f.t.Fatalf("list sessions: %v", err)
		}
		all = append(all, resp.GetSessions()...)
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return all
		}
	}
}

func (f *fixture) session(name string) *schedulingv1.Session {
	f.t.Helper()
	s, err := f.GetSession(f.owner, &schedulingv1.GetSessionRequest{Name: name})
	if err != nil {
		f.t.Fatalf("get session: %v", err)
	}
	return s
}

// event is an event as the outbox has it.
type event struct {
	Type, Subject, Data string
	Revision            int64
}

// events returns the events of a type, by the order in which they were written.
func (f *fixture) events(kind string) []event {
	f.t.Helper()
	rows, err := f.DBs[service].Query(f.t.Context(), `SELECT type, subject, data, revision FROM outbox WHERE type = $1 ORDER BY id`, kind)
	if err != nil {
		f.t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[event])
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

// lastEvent decodes the last event of a type about the subject.
func (f *fixture) lastEvent(kind, subject string, into proto.Message) event {
	f.t.Helper()
	list := slices.DeleteFunc(f.events(kind), func(e event) bool { return e.Subject != subject })
	if len(list) == 0 {
		f.t.Fatalf("no %s of %s", kind, subject)
	}
	e := list[len(list)-1]
	if err := protojson.Unmarshal([]byte(e.Data), into); err != nil {
		f.t.Fatal(err)
	}
	return e
}

// server returns the service's insides over the suite's database and clock, for its jobs.
func (f *fixture) server() (context.Context, *server) {
	return auth.System(f.t.Context(), service), &server{db: f.DBs[service], clock: f.Clock, log: f.Log()}
}

// refused writes an error as "Code REASON field…", which is what a caller tells errors by.
func refused(err error) string {
	st := status.Convert(err)
	text := st.Code().String()
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetReason() != "INVALID_FIELD" {
				text += " " + d.GetReason()
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				text += " " + v.GetField()
			}
		}
	}
	return text
}
