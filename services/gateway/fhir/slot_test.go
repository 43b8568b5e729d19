package fhir_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/groups"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/scheduling"
)

// noon is a Thursday noon in Kansas City's winter, ten days before its daylight saving.
var noon = time.Date(2027, 3, 4, 18, 0, 0, 0, time.UTC)

// planner is a nonprofit whose groups meet.
type planner struct {
	*site
	ctx       context.Context
	nonprofit string // the organization's id
	groups    groupsv1.GroupsServiceClient
	members   membershipv1.MembershipServiceClient
	sessions  schedulingv1.SchedulingServiceClient
	rsvps     schedulingv1.RsvpServiceClient
}

func newPlanner(s *site) *planner {
	s.t.Helper()
	return plannerOf(s, s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Hope House"}))
}

func plannerOf(s *site, id string) *planner {
	return &planner{
		site: s, nonprofit: id,
		ctx: suitetest.Client(s.t.Context(), "organizations/"+id, "groups.write", "members.write", "members.read", "schedule.write", "schedule.read",
			"referrals.read", "referrals.write"),
		groups: groupsv1.NewGroupsServiceClient(s.Conn("groups")), members: membershipv1.NewMembershipServiceClient(s.Conn("membership")),
		sessions: schedulingv1.NewSchedulingServiceClient(s.Conn("scheduling")), rsvps: schedulingv1.NewRsvpServiceClient(s.Conn("scheduling")),
	}
}

// group creates a group that meets in a room in Missouri, and publishes it unless it is to stay a draft. It returns its id.
func (p *planner) group(edits ...func(*groupsv1.Group)) string {
	p.t.Helper()
	g := &groupsv1.Group{
		Title: "Camino", Summary: "For people after breast cancer.", Languages: []string{"es", "en"}, Kind: groupsv1.Group_PEER_SUPPORT,
		Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_IN_PERSON, CancerTypes: []string{"breast"},
		Venue: &groupsv1.Group_Venue{Kind: groupsv1.Group_Venue_COMMUNITY_CENTRE, Label: "Hope House", Address: &typev1.PostalAddress{
			AddressLines: []string{"1 Main St"}, Locality: "Kansas City", AdministrativeArea: "MO", PostalCode: "64101", Country: "US",
		}},
		Contact:  &groupsv1.Group_Contact{Uri: "https://hope.test/camino", Phone: "+1 816 555 0100"},
		TimeZone: "America/Chicago", SourceSystem: "test", ExternalId: uuid.NewString(),
	}
	draft := false
	for _, e := range edits {
		e(g)
	}
	if g.GetTitle() == "Draft" {
		draft = true
	}
	g, err := p.groups.CreateGroup(p.ctx, &groupsv1.CreateGroupRequest{Group: g})
	if err != nil {
		p.t.Fatalf("create group: %v", err)
	}
	if !draft {
		if g, err = p.groups.PublishGroup(p.ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()}); err != nil {
			p.t.Fatalf("publish group: %v", err)
		}
	}
	return strings.TrimPrefix(g.GetName(), "groups/")
}

// weekly gives a group sessions on Thursdays at 19:00 in Kansas City, and returns the first of them.
func (p *planner) weekly(group string, edits ...func(*schedulingv1.Series)) []*schedulingv1.Session {
	p.t.Helper()
	series := &schedulingv1.Series{
		Group: "groups/" + group, Rrule: "FREQ=WEEKLY", TimeZone: "America/Chicago", LocalStart: "2027-03-04T19:00", Duration: durationpb.New(90 * time.Minute),
	}
	for _, e := range edits {
		e(series)
	}
	if _, err := p.sessions.CreateSeries(p.ctx, &schedulingv1.CreateSeriesRequest{Series: series}); err != nil {
		p.t.Fatalf("create series: %v", err)
	}
	resp, err := p.sessions.ListSessions(p.ctx, &schedulingv1.ListSessionsRequest{Filter: `group = "groups/` + group + `"`, PageSize: 10})
	if err != nil {
		p.t.Fatalf("list sessions: %v", err)
	}
	return resp.GetSessions()
}

// comes has somebody new say yes to a session of a group.
func (p *planner) comes(group string, session *schedulingv1.Session) {
	p.t.Helper()
	m, err := p.members.CreateMember(p.ctx, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
		Organization: "organizations/" + p.nonprofit, Alias: "Wren", Role: membershipv1.Member_SURVIVOR,
	}})
	if err != nil {
		p.t.Fatalf("create member: %v", err)
	}
	in, err := p.members.CreateMembership(p.ctx, &membershipv1.CreateMembershipRequest{Group: "groups/" + group, Member: m.GetName()})
	if err != nil {
		p.t.Fatalf("create membership: %v", err)
	}
	if in, err = p.members.ApproveMembership(p.ctx, &membershipv1.ApproveMembershipRequest{Name: in.GetName()}); err != nil {
		p.t.Fatalf("approve: %v", err)
	}
	if in.GetState() != membershipv1.Membership_ACTIVE {
		if _, err := p.members.AcknowledgeGuidelines(p.ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: in.GetName()}); err != nil {
			p.t.Fatalf("acknowledge guidelines: %v", err)
		}
	}
	if _, err := p.rsvps.SetRsvp(p.ctx, &schedulingv1.SetRsvpRequest{Session: session.GetName(), Membership: in.GetName(), Answer: schedulingv1.Rsvp_YES}); err != nil {
		p.t.Fatalf("set rsvp: %v", err)
	}
}

func slotID(s *schedulingv1.Session) string { return strings.TrimPrefix(s.GetName(), "sessions/") }

// extensions returns the values of a resource's extensions by their URLs.
func extensions(resource map[string]any) map[string]any {
	out := map[string]any{}
	list, _ := resource["extension"].([]any)
	for _, e := range list {
		m, _ := e.(map[string]any)
		url, _ := m["url"].(string)
		for name, v := range m {
			if strings.HasPrefix(name, "value") {
				out[url] = v
			}
		}
	}
	return out
}

const capacity = "http://fhir-registry.smarthealthit.org/StructureDefinition/slot-capacity"

func TestSlots(t *testing.T) {
	t.Parallel()
	s := setup(t, partners.Component(), groups.Component(), membership.Component(), scheduling.Component())
	s.Clock.Set(noon)
	p := newPlanner(s)
	camino := p.group()
	sessions := p.weekly(camino, func(s *schedulingv1.Series) { s.Seats, s.Topics = 2, []string{"Sleep"} })
	draft := p.group(func(g *groupsv1.Group) { g.Title = "Draft" })
	hidden := p.weekly(draft)
	therapy := p.group(func(g *groupsv1.Group) { g.Title, g.Kind = "Painting", groupsv1.Group_EDUCATION })
	unlimited := p.weekly(therapy, func(s *schedulingv1.Series) { s.LocalStart = "2027-03-05T10:00" })

	got := s.get("/Slot/"+slotID(sessions[0]), "").want(t, http.StatusOK)
	if got.json["start"] != "2027-03-04T19:00:00-06:00" || got.json["end"] != "2027-03-04T20:30:00-06:00" || got.json["status"] != "free" || got.json["comment"] != "Sleep" {
		t.Errorf("read: %s", got.body)
	}
	ext := extensions(got.json)
	if ext[capacity] != 2.0 || ext["http://hl7.org/fhir/uv/smart-scheduling-links/StructureDefinition/booking-deep-link"] != "https://hope.test/camino" ||
		ext["http://fhir-registry.smarthealthit.org/StructureDefinition/booking-phone"] != "+1 816 555 0100" {
		t.Errorf("extensions: %v", ext)
	}
	s.get("/Slot/"+slotID(sessions[0]), "", "If-None-Match", got.Header.Get("ETag")).want(t, http.StatusNotModified)
	if after := s.get("/Slot/"+slotID(sessions[2]), "").want(t, http.StatusOK); after.json["start"] != "2027-03-18T19:00:00-05:00" {
		t.Errorf("after daylight saving began: %s", after.body)
	}
	s.get("/Slot/"+slotID(hidden[0]), "").want(t, http.StatusNotFound)
	s.get("/Slot/"+uuid.NewString(), "").want(t, http.StatusNotFound)
	s.get("/Schedule/"+draft, "").want(t, http.StatusNotFound)
	if got := s.get("/Slot/"+slotID(unlimited[0]), "").want(t, http.StatusOK); extensions(got.json)[capacity] != nil || got.json["status"] != "free" {
		t.Errorf("any number may come: %s", got.body)
	}

	p.comes(camino, sessions[1])
	status := func(session *schedulingv1.Session) (string, any) {
		t.Helper()
		got := s.get("/Slot/"+slotID(session), "").want(t, http.StatusOK)
		text, _ := got.json["status"].(string)
		return text, extensions(got.json)[capacity]
	}
	if is, left := status(sessions[1]); is != "free" || left != 1.0 {
		t.Errorf("one place is taken: %s, %v", is, left)
	}
	p.comes(camino, sessions[1])
	if is, left := status(sessions[1]); is != "busy" || left != 2.0 {
		t.Errorf("all are taken: %s, %v", is, left)
	}
	if fresh := s.get("/Slot?_lastUpdated=ge"+noon.Format(time.RFC3339)+"&_count=100&schedule="+camino, "").want(t, http.StatusOK); !slices.Contains(fresh.ids(), slotID(sessions[1])) {
		t.Errorf("a place that is taken changes the slot: %s", fresh.body)
	}
	if _, err := p.sessions.CancelSession(p.ctx, &schedulingv1.CancelSessionRequest{Name: sessions[2].GetName(), Reason: "Snow."}); err != nil {
		t.Fatal(err)
	}
	if is, _ := status(sessions[2]); is != "busy-unavailable" {
		t.Errorf("cancelled: %s", is)
	}

	first := []string{slotID(sessions[0]), slotID(unlimited[0]), slotID(sessions[1])}
	march := "start=ge2027-03-01&start=lt2027-03-12T12:00:00Z"
	for query, want := range map[string][]string{
		"?" + march: first,
		"?" + march + "&schedule=Schedule/" + camino:                                         {first[0], first[2]},
		"?" + march + "&schedule=" + camino + "," + therapy:                                  first,
		"?" + march + "&schedule=" + draft:                                                   {},
		"?" + march + "&schedule.actor=HealthcareService/" + therapy:                         {first[1]},
		"?" + march + "&schedule.actor=Location/" + therapy + "&schedule=Schedule/" + camino: {},
		"?" + march + "&schedule:Schedule.actor=Location/" + camino:                          {first[0], first[2]},
		"?" + march + "&status=free":                                                         first[:2],
		"?" + march + "&status=busy,busy-unavailable":                                        first[2:],
		"?" + march + "&service-type=513":                                                    {first[0], first[2]},
		"?" + march + "&service-type=http://terminology.hl7.org/CodeSystem/service-type|561": {first[1]},
		"?_id=" + first[2] + "," + slotID(hidden[0]) + "," + uuid.NewString():                {first[2]},
		"?start=2027-03-05":                      first[:2], // of UTC
		"?start=lt0001-01-01&schedule=" + camino: nil,
		"?start=gt2027-03-05T01:00:00Z&start=lt2027-03-12T10:00:00Z&schedule=" + camino: {first[2]},
		"?_lastUpdated=lt2020-01-01":          {},
		"?" + march + "&_sort=start&_count=1": first[:1],
	} {
		if got := s.get("/Slot"+query, "").want(t, http.StatusOK).ids(); !slices.Equal(got, want) {
			t.Errorf("%s finds %v, want %v", query, got, want)
		}
	}
	for query, want := range map[string]string{
		"?appointment-type=x": "not-supported", "?start=ne2027": "not-supported", "?_sort=-start": "not-supported", "?_sort=status": "not-supported",
		"?start=soon": "value", "?schedule=Location/" + camino: "value", "?_include=Slot:nothing": "not-supported",
	} {
		if got := s.get("/Slot"+query, "").want(t, http.StatusBadRequest).issues(); len(got) != 1 || !strings.HasPrefix(got[0], want+" ") && !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}

	// Pages go through everything once, whatever is left out of them.
	var all []string
	for next := s.url + "/Slot?status=free&start=lt2027-04-20&_count=3"; next != ""; {
		page := s.get(next, "").want(t, http.StatusOK)
		if len(page.ids()) > 3 {
			t.Fatalf("a page of %d", len(page.ids()))
		}
		all = append(all, page.ids()...)
		next = page.link("next")
	}
	if len(all) != 12 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 12 {
		t.Errorf("%d slots on all pages, want 5 of Camino and 7 of Painting: %v", len(all), all)
	}

	with := s.get("/Slot?_id="+first[0]+"&_include=Slot:schedule", "").want(t, http.StatusOK)
	if in := with.resources("include"); len(in) != 1 || in[0]["resourceType"] != "Schedule" || in[0]["id"] != camino {
		t.Errorf("_include: %s", with.body)
	}
	with = s.get("/Schedule?actor=HealthcareService/"+camino+"&_include=Schedule:actor:HealthcareService&_include=Schedule:actor:Location&_revinclude=Slot:schedule", "").want(t, http.StatusOK)
	kinds := map[any]int{}
	for _, r := range with.resources("include") {
		kinds[r["resourceType"]]++
	}
	if !slices.Equal(with.ids(), []string{camino}) || kinds["HealthcareService"] != 1 || kinds["Location"] != 1 || kinds["Slot"] < 50 {
		t.Errorf("a schedule with what belongs to it: %v, %v", with.ids(), kinds)
	}
	for query, want := range map[string][]string{
		"":                                     {camino, therapy},
		"?_id=" + therapy:                      {therapy},
		"?actor=Location/" + camino:            {camino},
		"?actor=Location/" + draft:             {},
		"?service-type=513":                    {camino},
		"?active=true":                         {camino, therapy},
		"?active=false":                        {},
		"?_lastUpdated=lt2020":                 {},
		"?_count=1":                            {camino},
		"?actor=" + camino + "&_id=" + therapy: {},
	} {
		if got := s.get("/Schedule"+query, "").want(t, http.StatusOK).ids(); !slices.Equal(got, want) {
			t.Errorf("Schedule%s finds %v, want %v", query, got, want)
		}
	}

	// A group that takes nobody new has no free slots, and what has begun neither.
	if _, err := p.groups.PauseGroup(p.ctx, &groupsv1.PauseGroupRequest{Name: "groups/" + therapy}); err != nil {
		t.Fatal(err)
	}
	if is, _ := status(unlimited[0]); is != "busy-unavailable" {
		t.Errorf("paused: %s", is)
	}
	s.Clock.Set(sessions[0].GetStartTime().AsTime())
	if is, _ := status(sessions[0]); is != "busy-unavailable" {
		t.Errorf("begun: %s", is)
	}
}
