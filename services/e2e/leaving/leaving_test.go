// Package leaving runs the services together, as one process hosts them, and has members leave groups, speak of them and
// be offered something else, through every interceptor.
package leaving

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/groups"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/smtptest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/referral"
	"cairn.care/services/scheduling"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const office = "office@puentes.example"

type fixture struct {
	*suitetest.Suite
	t        *testing.T
	mail     *smtptest.Server
	org      string
	ctx      context.Context // of the organization's own client
	groups   groupsv1.GroupsServiceClient
	members  membershipv1.MembershipServiceClient
	feedback membershipv1.FeedbackServiceClient
}

func setup(t *testing.T, others ...chassis.Component) *fixture {
	t.Helper()
	server := smtptest.Start(t)
	s := suitetest.Start(t, append([]chassis.Component{partners.Component(), groups.Component(), membership.Component()}, others...), func(c *chassis.Config) {
		c.SMTPAddress, c.SMTPTLS, c.SMTPFrom = server.Address, "none", "Cairn <cairn@cairn.test>"
	})
	f := &fixture{
		Suite: s, t: t, mail: server,
		groups:   groupsv1.NewGroupsServiceClient(s.Conn("groups")),
		members:  membershipv1.NewMembershipServiceClient(s.Conn("membership")),
		feedback: membershipv1.NewFeedbackServiceClient(s.Conn("membership")),
	}
	o, err := partnersv1.NewPartnersServiceClient(s.Conn("partners")).CreateOrganization(suitetest.Platform(t.Context(), "partners.write"), &partnersv1.CreateOrganizationRequest{
		Organization: &partnersv1.Organization{
			Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Puentes", Languages: []string{"es-MX", "en"}, Contact: &partnersv1.Organization_Contact{Email: office},
		},
	})
	f.must(err)
	f.org = o.GetName()
	f.ctx = suitetest.Client(t.Context(), f.org, "groups.read", "groups.write", "members.read", "members.write", "schedule.read", "schedule.write")
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) newGroup(title string, led groupsv1.Group_Facilitation) string {
	f.t.Helper()
	group := &groupsv1.Group{
		Title: title, Summary: "For people after breast cancer.", Languages: []string{"es"}, Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: led,
		Format: groupsv1.Group_ONLINE, CancerTypes: []string{"breast"}, Online: &groupsv1.Group_Online{Platform: "Zoom"}, TimeZone: "America/Mexico_City",
		Cost: &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FREE},
	}
	if led == groupsv1.Group_PEER_LED {
		lead, err := f.groups.CreateFacilitator(f.ctx, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
			DisplayName: "Ana", LivedExperience: []*groupsv1.Facilitator_LivedExperience{{CancerType: "breast", Role: groupsv1.Facilitator_LivedExperience_SURVIVOR}},
		}})
		f.must(err)
		group.Facilitators = []*groupsv1.Group_FacilitatorRole{{Facilitator: lead.GetName(), Role: groupsv1.Group_FacilitatorRole_LEAD}}
	}
	g, err := f.groups.CreateGroup(f.ctx, &groupsv1.CreateGroupRequest{Group: group})
	f.must(err)
	_, err = f.groups.PublishGroup(f.ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()})
	f.must(err)
	return g.GetName()
}

// vetted is a reviewed exercise.
func (f *fixture) vetted() string {
	f.t.Helper()
	resources := groupsv1.NewResourcesServiceClient(f.Conn("groups"))
	r, err := resources.CreateResource(f.ctx, &groupsv1.CreateResourceRequest{Resource: &groupsv1.Resource{
		Kind: groupsv1.Resource_EXERCISE, Title: "Respirar", Languages: []string{"es"}, CancerTypes: []string{"any"},
	}})
	f.must(err)
	_, err = resources.ReviewResource(f.ctx, &groupsv1.ReviewResourceRequest{Name: r.GetName(), ReviewedBy: "Dr. Sol"})
	f.must(err)
	return r.GetName()
}

func (f *fixture) joins(group string) *membershipv1.Membership {
	f.t.Helper()
	m, err := f.members.CreateMember(f.ctx, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
		Alias: "Golondrina", LegalName: "Rosa Example", Role: membershipv1.Member_SURVIVOR, BirthYear: 1971, Languages: []string{"es-MX"}, CancerTypes: []string{"breast"},
		Area: &membershipv1.Member_Area{Country: "MX"},
	}})
	f.must(err)
	in, err := f.members.CreateMembership(f.ctx, &membershipv1.CreateMembershipRequest{Group: group, Member: m.GetName()})
	f.must(err)
	_, err = f.members.ApproveMembership(f.ctx, &membershipv1.ApproveMembershipRequest{Name: in.GetName()})
	f.must(err)
	in, err = f.members.AcknowledgeGuidelines(f.ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: in.GetName()})
	f.must(err)
	return in
}

// herself is a context in which the member calls.
func (f *fixture) herself(m *membershipv1.Membership) context.Context {
	return suitetest.Member(f.t.Context(), f.org, m.GetMember())
}

func (f *fixture) leaves(m *membershipv1.Membership, why membershipv1.Membership_EndReason, tell bool) *membershipv1.Membership {
	f.t.Helper()
	out, err := f.members.EndMembership(f.herself(m), &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: why, TellCoordinator: tell, RequestId: aip.NewID().String()})
	if err != nil {
		f.t.Fatalf("EndMembership: %v", err)
	}
	return out
}

func titles(list []*referralv1.Recommendation) []string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.GetGroup().GetTitle()
	}
	return out
}

// words are all that is said of alternatives.
func words(a *membershipv1.Alternatives) string {
	all := slices.Clone(a.GetNotes())
	for _, r := range slices.Concat(a.GetGroups(), a.GetNearMisses()) {
		for _, c := range r.GetCriteria() {
			all = append(all, c.GetExplanation())
		}
	}
	return strings.Join(all, "; ")
}

func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return status.Code(err).String()
}

func TestAlternatives(t *testing.T) {
	t.Parallel()
	f := setup(t, scheduling.Component(), referral.Component())
	left := f.newGroup("Coro", groupsv1.Group_PEER_LED)
	f.newGroup("Camino", groupsv1.Group_PEER_LED)
	f.newGroup("Puerto", groupsv1.Group_PROFESSIONALLY_LED)
	exercise := f.vetted()
	f.CatchUp()

	distressed := f.joins(left)
	out := f.leaves(distressed, membershipv1.Membership_DISTRESS, true).GetAlternatives()
	if got := titles(append(out.GetGroups(), out.GetNearMisses()...)); !slices.Equal(got, []string{"Puerto", "Camino"}) {
		t.Errorf("after distress she is offered %v, want the professionals first and not the group that she left", got)
	}
	if len(out.GetResources()) != 1 || out.GetResources()[0].GetName() != exercise {
		t.Errorf("resources %v, want the exercise", out.GetResources())
	}
	if lines := out.GetCrisisResources(); len(lines) == 0 || lines[0].GetCountry() != "MX" {
		t.Errorf("crisis lines %v, want Mexico's first", lines)
	}

	if out.GetLanguageCode() != "es" || len(out.GetNotes()) == 0 || !strings.Contains(out.GetNotes()[0], "habla hoy con alguien") || !strings.Contains(words(out), "angustia") {
		t.Errorf("she reads %q in %q, want her Spanish", words(out), out.GetLanguageCode())
	}
	for language, want := range map[string]string{"de-AT": "de", "fr": "fr", "it": "en"} {
		got, err := f.feedback.FindAlternatives(f.ctx, &membershipv1.FindAlternativesRequest{Name: distressed.GetName(), LanguageCode: language})
		if err != nil || got.GetLanguageCode() != want || words(got) == words(out) {
			t.Errorf("asked in %s: %q in %q, %v", language, words(got), got.GetLanguageCode(), err)
		}
	}

	// The organization is told why, in its language, and not who.
	letter := f.mail.Wait(t, office, 1)[0]
	if !strings.Contains(letter.Text, "Coro") || !strings.Contains(letter.Text, distressed.GetName()) || !strings.Contains(letter.Text, "angustia") {
		t.Errorf("the office reads %q", letter.Text)
	}
	for _, name := range []string{"Golondrina", "Rosa", distressed.GetMember()} {
		if strings.Contains(letter.Raw, name) {
			t.Errorf("the e-mail says who it is: %q", name)
		}
	}

	unhelped := f.joins(left)
	thinks, err := f.feedback.FindAlternatives(f.herself(unhelped), &membershipv1.FindAlternativesRequest{Name: unhelped.GetName()})
	if err != nil || len(thinks.GetGroups()) != 2 || len(thinks.GetCrisisResources()) != 0 {
		t.Errorf("before she leaves: %v, %v; want two groups and no crisis lines", thinks, err)
	}
	out = f.leaves(unhelped, membershipv1.Membership_NOT_HELPFUL, false).GetAlternatives()
	if len(out.GetGroups()) != 2 || len(out.GetResources()) != 1 || len(out.GetCrisisResources()) != 0 {
		t.Errorf("not helpful: %v; want two groups, the exercise and no crisis lines", out)
	}
	again, err := f.feedback.FindAlternatives(f.ctx, &membershipv1.FindAlternativesRequest{Name: unhelped.GetName()})
	if err != nil || !slices.Equal(titles(again.GetGroups()), titles(out.GetGroups())) {
		t.Errorf("asked again: %v, %v; want the same groups", titles(again.GetGroups()), err)
	}
	if got, err := f.feedback.FindAlternatives(f.herself(unhelped), &membershipv1.FindAlternativesRequest{Name: distressed.GetName()}); reasonOf(err) != "NOT_FOUND" {
		t.Errorf("asked for somebody else: %v, %v; want NOT_FOUND", got, err)
	}
	if moved := f.leaves(f.joins(left), membershipv1.Membership_MOVED_ON, true); moved.GetAlternatives() != nil {
		t.Errorf("moved on: offered %v, want nothing", moved.GetAlternatives())
	}
	// Whoever is in the other group too is not sent there.
	both := f.joins(left)
	other, err := f.members.CreateMembership(f.ctx, &membershipv1.CreateMembershipRequest{Group: out.GetGroups()[0].GetGroup().GetName(), Member: both.GetMember()})
	f.must(err)
	if got := titles(f.leaves(both, membershipv1.Membership_NOT_HELPFUL, true).GetAlternatives().GetGroups()); len(got) != 1 || got[0] != out.GetGroups()[1].GetGroup().GetTitle() {
		t.Errorf("with %s asked for already: %v", other.GetGroup(), got)
	}
	if box := f.mail.Wait(t, office, 2); len(box) != 2 || !strings.Contains(box[1].Text, "no le ayudaba") {
		t.Errorf("the office has %d e-mails; want two: of distress, and of the last one only", len(box))
	}
}

// TestLeavingNeedsNobody has her leave while the rest is out of reach.
func TestLeavingNeedsNobody(t *testing.T) {
	t.Parallel()
	f := setup(t)
	m := f.joins(f.newGroup("Coro", groupsv1.Group_PROFESSIONALLY_LED))
	out := f.leaves(m, membershipv1.Membership_DISTRESS, false)
	if out.GetState() != membershipv1.Membership_ENDED || out.GetAlternatives() != nil {
		t.Errorf("left as %v", out)
	}
	if _, err := f.feedback.FindAlternatives(f.ctx, &membershipv1.FindAlternativesRequest{Name: m.GetName()}); status.Code(err) != codes.Unavailable {
		t.Errorf("what is offered instead: %v, want UNAVAILABLE", err)
	}
}

// TestFeedbackOnASession speaks of sessions that scheduling keeps.
func TestFeedbackOnASession(t *testing.T) {
	t.Parallel()
	f := setup(t, scheduling.Component(), referral.Component())
	group := f.newGroup("Coro", groupsv1.Group_PROFESSIONALLY_LED)
	schedule := schedulingv1.NewSchedulingServiceClient(f.Conn("scheduling"))
	start := f.Clock.Now().UTC().Add(2 * time.Hour)
	series, err := schedule.CreateSeries(f.ctx, &schedulingv1.CreateSeriesRequest{Series: &schedulingv1.Series{
		Group: group, Rrule: "FREQ=WEEKLY", TimeZone: "UTC", LocalStart: start.Format("2006-01-02T15:04:05"), Duration: durationpb.New(time.Hour),
	}})
	f.must(err)
	list, err := schedule.ListSessions(f.ctx, &schedulingv1.ListSessionsRequest{Filter: `series = "` + series.GetName() + `"`, PageSize: 1})
	f.must(err)
	session := list.GetSessions()[0].GetName()
	m := f.joins(group)
	say := func(ctx context.Context, session string) (*membershipv1.Feedback, error) {
		return f.feedback.CreateFeedback(ctx, &membershipv1.CreateFeedbackRequest{RequestId: aip.NewID().String(), Feedback: &membershipv1.Feedback{
			Membership: m.GetName(), Occasion: membershipv1.Feedback_SESSION, Session: session, Helped: 4, FeltSafe: 5, Distress: proto.Int32(2), Comment: "Me ayudó.",
		}})
	}
	if _, err := say(f.herself(m), session); reasonOf(err) != "NOT_HELD" {
		t.Errorf("before it begins: %v, want NOT_HELD", err)
	}
	f.Clock.Advance(3 * time.Hour)
	if _, err := say(f.herself(m), aip.Name("sessions", aip.NewID())); reasonOf(err) != "NOT_FOUND" {
		t.Errorf("of a session that is none: %v, want NOT_FOUND", err)
	}
	got, err := say(f.herself(m), session)
	if err != nil || got.GetSession() != session {
		t.Fatalf("CreateFeedback: %v, %v", got, err)
	}
	if _, err := say(f.ctx, session); reasonOf(err) != "ALREADY_GIVEN" {
		t.Errorf("a second time: %v, want ALREADY_GIVEN", err)
	}
	for who, ctx := range map[string]context.Context{
		"a coordinator": suitetest.User(t.Context(), f.org, "COORDINATOR"), "a facilitator": suitetest.Facilitator(t.Context(), f.org, aip.Name("facilitators", aip.NewID())),
	} {
		if _, err := say(ctx, session); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s speaks for her: %v, want PERMISSION_DENIED", who, err)
		}
		if _, err := f.feedback.ListFeedback(ctx, &membershipv1.ListFeedbackRequest{}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s reads feedback: %v, want PERMISSION_DENIED", who, err)
		}
	}
	hers, err := f.feedback.ListFeedback(f.herself(m), &membershipv1.ListFeedbackRequest{})
	if err != nil || len(hers.GetFeedback()) != 1 || hers.GetFeedback()[0].GetComment() != "Me ayudó." {
		t.Errorf("she reads %v, %v", hers, err)
	}
	trend, err := f.feedback.GetDistressTrend(f.herself(m), &membershipv1.GetDistressTrendRequest{Name: m.GetMember()})
	if err != nil || len(trend.GetPoints()) != 1 || trend.GetPoints()[0].GetFeedback() != got.GetName() {
		t.Errorf("her trend is %v, %v", trend, err)
	}
}
