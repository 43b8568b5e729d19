// Package joining runs groups and membership together, as one process hosts them, and joins groups through every
// interceptor.
package joining

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/groups"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

type fixture struct {
	*suitetest.Suite
	t       *testing.T
	org     string
	groups  groupsv1.GroupsServiceClient
	members membershipv1.MembershipServiceClient
	placer  membershipv1.MembershipServiceClient // as the referral service calls it
}

func setup(t *testing.T) *fixture {
	t.Helper()
	s := suitetest.Start(t, []chassis.Component{partners.Component(), groups.Component(), membership.Component()})
	return &fixture{
		Suite: s, t: t, org: aip.Name("organizations", aip.NewID()),
		groups:  groupsv1.NewGroupsServiceClient(s.Conn("groups")),
		members: membershipv1.NewMembershipServiceClient(s.Conn("membership")),
		placer:  membershipv1.NewMembershipServiceClient(s.ConnAs("referral", "membership")),
	}
}

func (f *fixture) as(org string) context.Context {
	return suitetest.Client(f.t.Context(), org, "groups.read", "groups.write", "members.read", "members.write")
}

func (f *fixture) ctx() context.Context { return f.as(f.org) }

func (f *fixture) newGroup(seats int32) *groupsv1.Group {
	f.t.Helper()
	g, err := f.groups.CreateGroup(f.ctx(), &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
		Title: "Tuesday circle", Summary: "Talking.", Kind: groupsv1.Group_EDUCATION, Facilitation: groupsv1.Group_PROFESSIONALLY_LED,
		Format: groupsv1.Group_ONLINE, Online: &groupsv1.Group_Online{Platform: "Zoom"}, Languages: []string{"en"},
		CancerTypes: []string{"any"}, Capacity: &groupsv1.Group_Capacity{Seats: seats, Waitlist: true},
		Guidelines: &groupsv1.Group_Guidelines{Text: "Be kind."},
	}})
	if err != nil {
		f.t.Fatalf("CreateGroup: %v", err)
	}
	if g, err = f.groups.PublishGroup(f.ctx(), &groupsv1.PublishGroupRequest{Name: g.GetName()}); err != nil {
		f.t.Fatalf("PublishGroup: %v", err)
	}
	return g
}

func (f *fixture) newMember() *membershipv1.Member {
	f.t.Helper()
	m, err := f.members.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{Alias: "Wren", Role: membershipv1.Member_SURVIVOR}})
	if err != nil {
		f.t.Fatalf("CreateMember: %v", err)
	}
	return m
}

func (f *fixture) join(group string) *membershipv1.Membership {
	f.t.Helper()
	m, err := f.members.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: group, Member: f.newMember().GetName()})
	if err != nil {
		f.t.Fatalf("CreateMembership: %v", err)
	}
	if m, err = f.members.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: m.GetName()}); err != nil {
		f.t.Fatalf("ApproveMembership: %v", err)
	}
	return m
}

// eventually asks until the answer is yes, for at most 20 seconds: what events bring comes by itself.
func (f *fixture) eventually(what string, ask func() bool) {
	f.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ask() {
		select {
		case <-tick.C:
		case <-deadline:
			f.t.Fatalf("never came true: %s", what)
		}
	}
}

func TestJoiningFollowsTheGroup(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1)
	first := f.join(g.GetName()) // published a moment ago: the group is asked, no event is waited for
	if first.GetState() != membershipv1.Membership_APPROVED_PENDING_GUIDELINES {
		t.Fatalf("first: %v", first)
	}
	second := f.join(g.GetName())
	if second.GetState() != membershipv1.Membership_WAITLISTED {
		t.Fatalf("second: %v", second)
	}
	f.eventually("the directory shows the seats", func() bool {
		got, err := f.groups.GetGroup(f.ctx(), &groupsv1.GetGroupRequest{Name: g.GetName()})
		return err == nil && got.GetAvailability().GetOpenSeats() == 0 && got.GetAvailability().GetWaitlistLength() == 1
	})

	g, err := f.groups.GetGroup(f.ctx(), &groupsv1.GetGroupRequest{Name: g.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	g.Guidelines.Text = "Be kind, and on time."
	g.Capacity.Seats = 2
	if g, err = f.groups.UpdateGroup(f.ctx(), &groupsv1.UpdateGroupRequest{Group: g}); err != nil {
		t.Fatal(err)
	}
	if first, err = f.members.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: first.GetName(), Version: g.GetGuidelines().GetVersion()}); err != nil {
		t.Fatalf("acknowledging the version that was just written: %v", err)
	}
	f.eventually("one seat more is offered to the first of the waitlist", func() bool { return f.state(second) == membershipv1.Membership_OFFERED })

	if _, err := f.groups.ArchiveGroup(f.ctx(), &groupsv1.ArchiveGroupRequest{Name: g.GetName()}); err != nil {
		t.Fatal(err)
	}
	f.eventually("archiving ends every membership", func() bool {
		return f.state(first) == membershipv1.Membership_ENDED && f.state(second) == membershipv1.Membership_ENDED
	})
	if _, err := f.members.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetName(), Member: first.GetMember()}); reasonOf(err) != "GROUP_NOT_ACCEPTING" {
		t.Errorf("joining an archived group: %v", err)
	}
}

func (f *fixture) state(m *membershipv1.Membership) membershipv1.Membership_State {
	got, err := f.members.GetMembership(f.ctx(), &membershipv1.GetMembershipRequest{Name: m.GetName()})
	if err != nil {
		f.t.Errorf("GetMembership: %v", err)
	}
	return got.GetState()
}

func TestSameRequestSameAnswer(t *testing.T) {
	t.Parallel()
	f := setup(t)
	req := &membershipv1.CreateMemberRequest{RequestId: uuid.NewString(), Member: &membershipv1.Member{
		Alias: "Wren", Role: membershipv1.Member_SURVIVOR, LegalName: "Ada Example",
	}}
	answers := make([]*membershipv1.Member, 6)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			var err error
			if answers[i], err = f.members.CreateMember(f.ctx(), req); err != nil {
				t.Errorf("copy %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i, a := range answers {
		if !proto.Equal(a, answers[0]) {
			t.Errorf("copy %d got %v, copy 0 %v", i, a, answers[0])
		}
	}
	other := proto.CloneOf(req)
	other.Member.Alias = "Linnet"
	if _, err := f.members.CreateMember(f.ctx(), other); status.Code(err) != codes.InvalidArgument {
		t.Errorf("same request_id with another body: %v", err)
	}
	list, err := f.members.ListMembers(f.ctx(), &membershipv1.ListMembersRequest{})
	if err != nil || len(list.GetMembers()) != 1 {
		t.Errorf("%d members, %v, want one", len(list.GetMembers()), err)
	}

	g := f.newGroup(5)
	approve := &membershipv1.ApproveMembershipRequest{RequestId: uuid.NewString()}
	m, err := f.members.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetName(), Member: answers[0].GetName()})
	if err != nil {
		t.Fatal(err)
	}
	approve.Name = m.GetName()
	once := make([]*membershipv1.Membership, 4)
	for i := range once {
		wg.Go(func() {
			var err error
			if once[i], err = f.members.ApproveMembership(f.ctx(), approve); err != nil {
				t.Errorf("approve, copy %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i, a := range once {
		if !proto.Equal(a, once[0]) {
			t.Errorf("approve, copy %d got %v, copy 0 %v", i, a, once[0])
		}
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	f := setup(t)
	m := f.newMember()
	ms := f.join(f.newGroup(0).GetName())
	member := func(edit func(*membershipv1.Member)) func(context.Context) error {
		return func(ctx context.Context) error {
			x := &membershipv1.Member{Alias: "Wren", Role: membershipv1.Member_PATIENT}
			edit(x)
			_, err := f.members.CreateMember(ctx, &membershipv1.CreateMemberRequest{Member: x})
			return err
		}
	}
	readOnly := suitetest.Client(t.Context(), f.org, "members.read")
	for name, tc := range map[string]struct {
		ctx   context.Context
		call  func(context.Context) error
		code  codes.Code
		field string
	}{
		"no member": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.CreateMember(ctx, &membershipv1.CreateMemberRequest{})
			return err
		}, codes.InvalidArgument, "member"},
		"control character": {f.ctx(), member(func(m *membershipv1.Member) { m.Alias = "a\x00b" }), codes.InvalidArgument, "member.alias"},
		"long alias":        {f.ctx(), member(func(m *membershipv1.Member) { m.Alias = strings.Repeat("x", 61) }), codes.InvalidArgument, "member.alias"},
		"unknown role":      {f.ctx(), member(func(m *membershipv1.Member) { m.Role = 99 }), codes.InvalidArgument, "member.role"},
		"no role":           {f.ctx(), member(func(m *membershipv1.Member) { m.Role = 0 }), codes.InvalidArgument, "member.role"},
		"no e-mail address": {f.ctx(), member(func(m *membershipv1.Member) { m.Email = "nobody" }), codes.InvalidArgument, "member.email"},
		"year 20":           {f.ctx(), member(func(m *membershipv1.Member) { m.BirthYear = 20 }), codes.InvalidArgument, "member.birth_year"},
		"no language":       {f.ctx(), member(func(m *membershipv1.Member) { m.Languages = []string{"en", "?"} }), codes.InvalidArgument, "member.languages[1]"},
		"country":           {f.ctx(), member(func(m *membershipv1.Member) { m.Area = &membershipv1.Member_Area{Country: "usa"} }), codes.InvalidArgument, "member.area.country"},
		"NUL in a place":    {f.ctx(), member(func(m *membershipv1.Member) { m.Area = &membershipv1.Member_Area{Locality: "\x00"} }), codes.InvalidArgument, "member.area.locality"},
		"NUL in a version": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.GrantConsent(ctx, &membershipv1.GrantConsentRequest{Name: m.GetName(), Kind: 1, Version: "\x00"})
			return err
		}, codes.InvalidArgument, "version"},
		"letters of any script": {f.ctx(), member(func(m *membershipv1.Member) { m.Alias = "می\u200cخواهم 👩\u200d🦰" }), codes.OK, ""},
		"consent of no kind": {f.ctx(), member(func(m *membershipv1.Member) {
			m.Consents = []*membershipv1.Member_Consent{{Version: "1"}}
		}), codes.InvalidArgument, "member.consents[0].kind"},
		"request_id": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.StartLeave(ctx, &membershipv1.StartLeaveRequest{Name: ms.GetName(), RequestId: "1"})
			return err
		}, codes.InvalidArgument, "request_id"},
		"bad name": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.GetMember(ctx, &membershipv1.GetMemberRequest{Name: "members/1"})
			return err
		}, codes.InvalidArgument, "name"},
		"the system's own reason": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.EndMembership(ctx, &membershipv1.EndMembershipRequest{Name: ms.GetName(), Reason: membershipv1.Membership_GROUP_ARCHIVED})
			return err
		}, codes.InvalidArgument, "reason"},
		"no reason": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.EndMembership(ctx, &membershipv1.EndMembershipRequest{Name: ms.GetName()})
			return err
		}, codes.InvalidArgument, "reason"},
		"page size": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.ListMembers(ctx, &membershipv1.ListMembersRequest{PageSize: 201})
			return err
		}, codes.InvalidArgument, "page_size"},
		"page token": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.ListMembers(ctx, &membershipv1.ListMembersRequest{PageToken: "x"})
			return err
		}, codes.InvalidArgument, "page_token"},
		"group that is not there": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{Group: aip.Name("groups", aip.NewID()), Member: m.GetName()})
			return err
		}, codes.NotFound, ""},
		"another's group": {f.as(aip.Name("organizations", aip.NewID())), func(ctx context.Context) error {
			_, err := f.members.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{Group: ms.GetGroup(), Member: m.GetName()})
			return err
		}, codes.NotFound, ""},
		"scope": {readOnly, member(func(*membershipv1.Member) {}), codes.PermissionDenied, ""},
		"a client places no referral": {f.ctx(), func(ctx context.Context) error {
			_, err := f.members.PlaceReferral(ctx, &membershipv1.PlaceReferralRequest{
				Referral: aip.Name("referrals", aip.NewID()), Group: ms.GetGroup(),
				Subject: &membershipv1.ReferralSubject{Member: &membershipv1.Member{Role: membershipv1.Member_PATIENT}},
			})
			return err
		}, codes.PermissionDenied, ""},
		"nobody": {t.Context(), member(func(*membershipv1.Member) {}), codes.Unauthenticated, ""},
	} {
		err := tc.call(tc.ctx)
		if status.Code(err) != tc.code || fieldOf(err) != tc.field {
			t.Errorf("%s: %v on %q, want %v on %q", name, err, fieldOf(err), tc.code, tc.field)
		}
	}
	if got := f.state(ms); got != membershipv1.Membership_APPROVED_PENDING_GUIDELINES {
		t.Errorf("refused calls changed the membership: %v", got)
	}
}

func TestReferralServicePlacesAndReleases(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1)
	referral := aip.Name("referrals", aip.NewID())
	ctx := auth.System(suitetest.Client(t.Context(), aip.Name("organizations", aip.NewID()), "referrals.write"), "referral") // whoever accepts, the service vouches
	req := &membershipv1.PlaceReferralRequest{
		Referral: referral, Group: g.GetName(), RequestId: uuid.NewString(),
		Subject: &membershipv1.ReferralSubject{Member: &membershipv1.Member{Role: membershipv1.Member_PATIENT, LegalName: "Ada Example"}},
	}
	placed, err := f.placer.PlaceReferral(ctx, req)
	if err != nil || placed.GetOrganization() != f.org || placed.GetReferral() != referral {
		t.Fatalf("place: %v, %v", placed, err)
	}
	for _, id := range []string{req.GetRequestId(), uuid.NewString(), ""} {
		req.RequestId = id
		again, err := f.placer.PlaceReferral(ctx, req)
		if err != nil || !proto.Equal(again, placed) {
			t.Errorf("again with request_id %q: %v, %v", id, again, err)
		}
	}
	list, err := f.members.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Filter: `referral = "` + referral + `"`})
	if err != nil || len(list.GetMemberships()) != 1 {
		t.Errorf("the owner sees %v, %v, want the membership", list, err)
	}
	if _, err := f.placer.ReleaseReferral(ctx, &membershipv1.ReleaseReferralRequest{Referral: referral, RequestId: uuid.NewString()}); err != nil {
		t.Fatal(err)
	}
	if got := f.state(placed); got != membershipv1.Membership_ENDED {
		t.Errorf("after the release: %v", got)
	}
}

func TestReadingsAreAudited(t *testing.T) {
	t.Parallel()
	f := setup(t)
	m := f.newMember()
	if _, err := f.members.GetMember(f.ctx(), &membershipv1.GetMemberRequest{Name: m.GetName()}); err != nil {
		t.Fatal(err)
	}
	var accesses string
	if err := f.DBs["membership"].QueryRow(t.Context(),
		`SELECT string_agg(access || ' ' || caller, ', ' ORDER BY access) FROM audit_log WHERE resource = $1`, m.GetName()).Scan(&accesses); err != nil {
		t.Fatal(err)
	}
	if want := "READ apiClients/test, WRITE apiClients/test"; accesses != want {
		t.Errorf("audit log: %s, want %s", accesses, want)
	}
}

func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func fieldOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			return bad.GetFieldViolations()[0].GetField()
		}
	}
	return ""
}
