package groups

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
	"cairn.care/services/internal/suitetest"
)

type group = *groupsv1.Group

func TestGroupLife(t *testing.T) {
	t.Parallel()
	s := setup(t)
	g := s.create(t, listing("Walk and talk"))
	if g.GetState() != groupsv1.Group_DRAFT || g.GetAcceptsIntake() || g.GetOrganization() != ours || g.GetCapacity().GetSizeClass() != groupsv1.Group_SMALL {
		t.Errorf("created %v, want a small draft of ours that takes nobody", g)
	}
	if read := must[group](t)(s.GetGroup(s.owner, &groupsv1.GetGroupRequest{Name: g.GetName()})); !proto.Equal(g, read) {
		t.Errorf("read differs from created (-created +read):\n%s", cmp.Diff(g, read, protocmp.Transform()))
	}
	_, err := s.GetGroup(s.stranger, &groupsv1.GetGroupRequest{Name: g.GetName()})
	refused(t, err, codes.NotFound)
	_, err = s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: g.GetName()})
	refused(t, err, codes.NotFound)

	g = must[group](t)(s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: g.GetName(), Etag: g.GetEtag()}))
	if !g.GetAcceptsIntake() || g.GetAvailability().GetOpenSeats() != 8 {
		t.Errorf("published %v, want one that takes people on 8 seats", g)
	}
	if read := must[group](t)(s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: g.GetName()})); !proto.Equal(g, read) {
		t.Errorf("the public reads (-owner +public):\n%s", cmp.Diff(g, read, protocmp.Transform()))
	}

	_, err = s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: g.GetName()})
	refused(t, err, codes.FailedPrecondition, "GROUP_STATE")
	_, err = s.PauseGroup(s.owner, &groupsv1.PauseGroupRequest{Name: g.GetName(), Etag: `"1"`})
	refused(t, err, codes.Aborted)
	_, err = s.PauseGroup(s.stranger, &groupsv1.PauseGroupRequest{Name: g.GetName()})
	refused(t, err, codes.NotFound)
	_, err = s.PauseGroup(s.public, &groupsv1.PauseGroupRequest{Name: g.GetName()})
	refused(t, err, codes.Unauthenticated)
	_, err = s.PauseGroup(suitetest.Client(t.Context(), ours, "groups.read"), &groupsv1.PauseGroupRequest{Name: g.GetName()})
	refused(t, err, codes.PermissionDenied)

	g = must[group](t)(s.PauseGroup(s.owner, &groupsv1.PauseGroupRequest{Name: g.GetName()}))
	if g.GetAcceptsIntake() || g.GetPauseReason() != groupsv1.Group_PAUSED_BY_OWNER {
		t.Errorf("paused %v, want one that takes nobody, for its owner's reason", g)
	}
	must[group](t)(s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: g.GetName()}))
	g = must[group](t)(s.ArchiveGroup(s.owner, &groupsv1.ArchiveGroupRequest{Name: g.GetName()}))
	_, err = s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: g.GetName()})
	refused(t, err, codes.NotFound)
	_, err = s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: g.GetName(), Title: "Too late"}})
	refused(t, err, codes.FailedPrecondition, "GROUP_STATE")
}

func TestDeleteAndUndelete(t *testing.T) {
	t.Parallel()
	s := setup(t)
	g := s.published(t, listing("Choir"))
	id := uuid.NewString()
	deleted := must[group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: g.GetName(), RequestId: id}))
	if deleted.GetDeleteTime() == nil || deleted.GetAcceptsIntake() {
		t.Errorf("deleted %v, want a delete_time", deleted)
	}
	if again := must[group](t)(s.DeleteGroup(s.owner, &groupsv1.DeleteGroupRequest{Name: g.GetName(), RequestId: id})); !proto.Equal(deleted, again) {
		t.Errorf("the same request again gives %v, want %v", again, deleted)
	}
	_, err := s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: g.GetName()})
	refused(t, err, codes.NotFound)
	list := must[*groupsv1.ListGroupsResponse](t)(s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{}))
	if len(list.GetGroups()) != 0 {
		t.Errorf("listed %d groups, want the deleted one left out", len(list.GetGroups()))
	}
	list = must[*groupsv1.ListGroupsResponse](t)(s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{ShowDeleted: true}))
	if len(list.GetGroups()) != 1 {
		t.Errorf("listed %d groups with show_deleted, want 1", len(list.GetGroups()))
	}
	_, err = s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: g.GetName()})
	refused(t, err, codes.FailedPrecondition, "GROUP_DELETED")

	back := must[group](t)(s.UndeleteGroup(s.owner, &groupsv1.UndeleteGroupRequest{Name: g.GetName()}))
	if back.GetState() != groupsv1.Group_PAUSED || back.GetDeleteTime() != nil {
		t.Errorf("undeleted %v, want it paused", back)
	}
	_, err = s.UndeleteGroup(s.owner, &groupsv1.UndeleteGroupRequest{Name: g.GetName()})
	refused(t, err, codes.FailedPrecondition, "GROUP_NOT_DELETED")
}

// The address of a home, the way into a meeting and an imported record's rest are the owner's and the platform's only.
func TestPrivateFields(t *testing.T) {
	t.Parallel()
	s := setup(t)
	in := listing("At Maria's")
	in.Format = groupsv1.Group_HYBRID
	in.Venue = &groupsv1.Group_Venue{
		Kind: groupsv1.Group_Venue_HOME, Label: "Maria's flat", Directions: "Ring at Lopez", Location: &latlng.LatLng{Latitude: 39.12345, Longitude: -94.56789},
		Address: &typev1.PostalAddress{AddressLines: []string{"12 Hidden Lane"}, Locality: "Kansas City", PostalCode: "64113", Country: "US"},
	}
	in.Online = &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.test/j/secret", Phone: "+1 555 0100", JoinInstructions: "PIN 4711"}
	in.Extensions = must[*structpb.Struct](t)(structpb.NewStruct(map[string]any{"feedback_email": "maria@home.test"}))
	g := s.published(t, in)

	for who, ctx := range map[string]group{
		"owner":    must[group](t)(s.GetGroup(s.owner, &groupsv1.GetGroupRequest{Name: g.GetName()})),
		"platform": must[group](t)(s.GetGroup(s.platform, &groupsv1.GetGroupRequest{Name: g.GetName()})),
	} {
		want := proto.CloneOf(in.GetVenue())
		want.Precision = groupsv1.Group_Venue_EXACT
		if !proto.Equal(ctx.GetOnline(), in.GetOnline()) || !proto.Equal(ctx.GetVenue(), want) || !proto.Equal(ctx.GetExtensions(), in.GetExtensions()) {
			t.Errorf("the %s reads %v, want everything", who, ctx)
		}
	}
	s.CatchUp()
	found := must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(s.owner, &groupsv1.SearchGroupsRequest{Query: "maria"})).GetResults()
	if len(found) != 1 {
		t.Fatalf("found %d groups, want 1", len(found))
	}
	for who, got := range map[string]group{
		"public":                must[group](t)(s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: g.GetName()})),
		"stranger":              must[group](t)(s.GetGroup(s.stranger, &groupsv1.GetGroupRequest{Name: g.GetName()})),
		"client without groups": must[group](t)(s.GetGroup(suitetest.Client(t.Context(), ours, "referrals.read"), &groupsv1.GetGroupRequest{Name: g.GetName()})),
		"search":                found[0].GetGroup(),
	} {
		text := fmt.Sprint(got)
		for _, secret := range []string{"Hidden", "64113", "Lopez", "flat", "secret", "0100", "4711", "home.test", "39.123", "94.567"} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s reads %q in %v", who, secret, got)
			}
		}
		if got.GetVenue().GetLocation().GetLatitude() != 39.12 || got.GetVenue().GetPrecision() != groupsv1.Group_Venue_APPROXIMATE || got.GetOnline().GetPlatform() != "Zoom" {
			t.Errorf("the %s reads %v, want the neighbourhood and the platform", who, got)
		}
	}
	if hidden := must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(s.public, &groupsv1.SearchGroupsRequest{Query: "flat"})).GetResults(); len(hidden) != 0 {
		t.Errorf("a private word finds %d groups", len(hidden))
	}
	for name, db := range s.DBs {
		var n int
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE data ~ 'Hidden|secret|4711'`).Scan(&n); err != nil || n > 0 {
			t.Errorf("%d events of %s hold private fields (%v)", n, name, err)
		}
	}
}

func TestUpdateGroup(t *testing.T) {
	t.Parallel()
	s := setup(t)
	in := listing("Writing")
	in.Guidelines = &groupsv1.Group_Guidelines{Text: "Be kind.", Version: 77}
	in.Online = &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.test/1"}
	g := s.published(t, in)
	if v := g.GetGuidelines().GetVersion(); v != 1 {
		t.Errorf("guidelines have version %d, want 1", v)
	}
	set := func(change *groupsv1.Group, paths ...string) (group, error) {
		change.Name = g.GetName()
		return s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: change, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	same := must[group](t)(set(&groupsv1.Group{Title: "Writing"}))
	if same.GetEtag() != g.GetEtag() {
		t.Errorf("an update that changes nothing gives etag %s, want %s", same.GetEtag(), g.GetEtag())
	}
	g2 := must[group](t)(set(&groupsv1.Group{Guidelines: &groupsv1.Group_Guidelines{Text: "Be kind, be brief."}, Capacity: &groupsv1.Group_Capacity{Seats: 20}}))
	if g2.GetGuidelines().GetVersion() != 2 || g2.GetEtag() == g.GetEtag() || g2.GetAvailability().GetOpenSeats() != 20 || g2.GetCapacity().GetSizeClass() != groupsv1.Group_LARGE {
		t.Errorf("updated %v, want version 2, a new etag and 20 seats", g2)
	}
	if g2.GetOnline().GetJoinUri() != "https://zoom.test/1" {
		t.Errorf("updated %v, want the join link kept", g2)
	}
	g3 := must[group](t)(set(&groupsv1.Group{}, "online", "venue.label"))
	if g3.GetOnline() != nil || g3.GetVenue().GetLabel() != "" || g3.GetVenue().GetLocation() == nil {
		t.Errorf("cleared online and venue.label: %v", g3)
	}
	if read := must[group](t)(s.GetGroup(s.owner, &groupsv1.GetGroupRequest{Name: g.GetName()})); !proto.Equal(g3, read) {
		t.Errorf("read differs from the update's answer:\n%s", cmp.Diff(g3, read, protocmp.Transform()))
	}

	_, err := set(&groupsv1.Group{Title: "x", Etag: g.GetEtag()})
	refused(t, err, codes.Aborted)
	_, err = set(&groupsv1.Group{}, "state")
	refused(t, err, codes.InvalidArgument, "update_mask")
	_, err = set(&groupsv1.Group{}, "title")
	refused(t, err, codes.InvalidArgument, "group.title")
	_, err = set(&groupsv1.Group{}, "languages", "venue")
	refused(t, err, codes.FailedPrecondition, "LANGUAGE_MISSING", "VENUE_MISSING")
	_, err = s.UpdateGroup(s.stranger, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: g.GetName(), Title: "Mine"}})
	refused(t, err, codes.NotFound)
}

func TestBadGroups(t *testing.T) {
	t.Parallel()
	s := setup(t)
	deep := structpb.NewStringValue("x")
	for range 100 {
		deep = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{deep}})
	}
	for field, change := range map[string]func(*groupsv1.Group){
		"group.title":                 func(g *groupsv1.Group) { g.Title = "  " },
		"group.summary":               func(g *groupsv1.Group) { g.Summary = "a\x00b" },
		"group.kind":                  func(g *groupsv1.Group) { g.Kind = 0 },
		"group.facilitation":          func(g *groupsv1.Group) { g.Facilitation = 99 },
		"group.languages[1]":          func(g *groupsv1.Group) { g.Languages = []string{"en", "klingon"} },
		"group.cancer_types[0]":       func(g *groupsv1.Group) { g.CancerTypes = []string{"brest"} },
		"group.time_zone":             func(g *groupsv1.Group) { g.TimeZone = "America/Kansas" },
		"group.venue.location":        func(g *groupsv1.Group) { g.Venue.Location.Latitude = 91 },
		"group.venue.address.country": func(g *groupsv1.Group) { g.Venue.Address.Country = "USA" },
		"group.cost.amount":           func(g *groupsv1.Group) { g.Cost = &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FEE} },
		"group.cost.payers":           func(g *groupsv1.Group) { g.Cost = &groupsv1.Group_Cost{Payers: []string{"Aetna"}} },
		"group.structure":             func(g *groupsv1.Group) { g.Structure = &groupsv1.Group_Structure{SessionCount: 8} },
		"group.venue.label":           func(g *groupsv1.Group) { g.Venue.Label = "Libr\x1bary" },
		"group.external_id":           func(g *groupsv1.Group) { g.ExternalId = "" },
		"group.age_limits":            func(g *groupsv1.Group) { g.AgeLimits = &groupsv1.Group_AgeLimits{MinYears: 40, MaxYears: 18} },
		"group.organization":          func(g *groupsv1.Group) { g.Organization = theirs },
		"group.facilitators[0].facilitator": func(g *groupsv1.Group) {
			g.Facilitators = []*groupsv1.Group_FacilitatorRole{{Facilitator: "x", Role: groupsv1.Group_FacilitatorRole_LEAD}}
		},
		"group.facilitators": func(g *groupsv1.Group) {
			g.Facilitators = []*groupsv1.Group_FacilitatorRole{{Facilitator: "facilitators/" + uuid.NewString(), Role: groupsv1.Group_FacilitatorRole_LEAD}}
		},
		"group.extensions": func(g *groupsv1.Group) {
			g.Extensions = &structpb.Struct{Fields: map[string]*structpb.Value{"x": deep}}
		},
		"group.online.join_uri": func(g *groupsv1.Group) { g.Online = &groupsv1.Group_Online{JoinUri: "not a link"} },
		"group.structure.start_date": func(g *groupsv1.Group) {
			g.Structure = &groupsv1.Group_Structure{Type: groupsv1.Group_Structure_CLOSED, StartDate: &date.Date{Year: 2026, Month: 2, Day: 30}}
		},
	} {
		in := listing("Bad")
		change(in)
		_, err := s.CreateGroup(s.owner, &groupsv1.CreateGroupRequest{Group: in})
		refused(t, err, codes.InvalidArgument, field)
	}
	in := listing("Twice")
	taken := s.create(t, in)
	_, err := s.CreateGroup(s.owner, &groupsv1.CreateGroupRequest{Group: in})
	refused(t, err, codes.AlreadyExists, taken.GetName())
	other := must[group](t)(s.CreateGroup(s.stranger, &groupsv1.CreateGroupRequest{Group: in}))
	if other.GetOrganization() != theirs {
		t.Errorf("the same external id of another owner: %v", other)
	}
	forOthers := proto.CloneOf(in)
	forOthers.Organization, forOthers.ExternalId = theirs, "9"
	_, err = s.CreateGroup(s.platform, &groupsv1.CreateGroupRequest{Group: forOthers})
	refused(t, err, codes.InvalidArgument, "group.organization") // does not exist
	_, err = s.CreateFacilitator(s.platform, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{DisplayName: "Ana", Organization: theirs}})
	refused(t, err, codes.InvalidArgument, "facilitator.organization")
	there := must[*partnersv1.Organization](t)(partnersv1.NewPartnersServiceClient(s.Conn("partners")).CreateOrganization(
		suitetest.Platform(t.Context(), "partners.write"), &partnersv1.CreateOrganizationRequest{
			Organization: &partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Wren Circle"},
		})).GetName()
	for range 2 { // asked, and remembered
		forOthers.Organization, forOthers.ExternalId = there, uuid.NewString()
		if g := must[group](t)(s.CreateGroup(s.platform, &groupsv1.CreateGroupRequest{Group: forOthers})); g.GetOrganization() != there {
			t.Errorf("the platform creates for another organization: %v", g)
		}
	}
	_, err = s.GetGroup(s.owner, &groupsv1.GetGroupRequest{Name: "groups/7"})
	refused(t, err, codes.InvalidArgument, "name")
}

func TestPublishRules(t *testing.T) {
	t.Parallel()
	s := setup(t)
	peer := must[*groupsv1.Facilitator](t)(s.CreateFacilitator(s.owner, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
		DisplayName: "Ana", LivedExperience: []*groupsv1.Facilitator_LivedExperience{{CancerType: "breast", Role: groupsv1.Facilitator_LivedExperience_SURVIVOR}},
	}})).GetName()
	now := s.Clock.Now()
	licensed := s.therapist(t, &date.Date{Year: int32(now.Year() + 1), Month: 1, Day: 1}).GetName()
	own := func(change func(*groupsv1.Group)) *groupsv1.Group {
		g := listing("Ours")
		g.SourceSystem, g.ExternalId = "", ""
		g.Facilitators = []*groupsv1.Group_FacilitatorRole{{Facilitator: peer, Role: groupsv1.Group_FacilitatorRole_LEAD}}
		change(g)
		return g
	}
	therapy := func(g *groupsv1.Group) {
		g.Kind, g.Facilitation, g.Confidentiality = groupsv1.Group_GROUP_THERAPY, groupsv1.Group_PROFESSIONALLY_LED, groupsv1.Group_LEGALLY_MANDATED
		g.Facilitators = []*groupsv1.Group_FacilitatorRole{{Facilitator: licensed, Role: groupsv1.Group_FacilitatorRole_LEAD}}
	}
	for name, c := range map[string]struct {
		change func(*groupsv1.Group)
		broken []string
	}{
		"peer-led":            {func(*groupsv1.Group) {}, nil},
		"therapy":             {therapy, nil},
		"no lead":             {func(g *groupsv1.Group) { g.Facilitators = nil }, []string{"LIVED_EXPERIENCE_MISSING"}},
		"an advisor only":     {func(g *groupsv1.Group) { g.Facilitators[0].Role = groupsv1.Group_FacilitatorRole_CLINICAL_ADVISOR }, []string{"LIVED_EXPERIENCE_MISSING"}},
		"a listing":           {func(g *groupsv1.Group) { g.Facilitators, g.SourceSystem, g.ExternalId = nil, "hsds", "1" }, nil},
		"a therapist as peer": {func(g *groupsv1.Group) { g.Facilitators[0].Facilitator = licensed }, []string{"LIVED_EXPERIENCE_MISSING"}},
		"nothing said":        {func(g *groupsv1.Group) { g.Summary, g.Languages, g.CancerTypes = "", nil, nil }, []string{"SUMMARY_MISSING", "LANGUAGE_MISSING", "CANCER_TYPE_MISSING"}},
		"no place":            {func(g *groupsv1.Group) { g.Venue = nil }, []string{"VENUE_MISSING"}},
		"no platform":         {func(g *groupsv1.Group) { g.Format = groupsv1.Group_ONLINE }, []string{"PLATFORM_MISSING"}},
		"no number":           {func(g *groupsv1.Group) { g.Format = groupsv1.Group_PHONE }, []string{"PHONE_MISSING"}},
		"a cohort, not dated": {func(g *groupsv1.Group) {
			g.Structure = &groupsv1.Group_Structure{Type: groupsv1.Group_Structure_CLOSED}
		}, []string{"COHORT_START_MISSING"}},
		"unmoderated": {func(g *groupsv1.Group) { g.Facilitation = groupsv1.Group_UNMODERATED }, []string{"UNMODERATED"}},
		"an unmoderated forum": {func(g *groupsv1.Group) {
			g.Facilitation, g.Kind = groupsv1.Group_UNMODERATED, groupsv1.Group_ONLINE_COMMUNITY
		}, nil},
		"therapy by a peer": {func(g *groupsv1.Group) { g.Kind = groupsv1.Group_GROUP_THERAPY }, []string{"THERAPY_FACILITATION", "THERAPY_CONFIDENTIALITY", "LICENCE_MISSING"}},
		"a licence that only advises": {func(g *groupsv1.Group) {
			therapy(g)
			g.Facilitators[0].Role = groupsv1.Group_FacilitatorRole_CLINICAL_ADVISOR
		}, []string{"LICENCE_MISSING"}},
	} {
		g := s.create(t, own(c.change))
		_, err := s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: g.GetName()})
		if c.broken == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c.broken != nil {
			refused(t, err, codes.FailedPrecondition, c.broken...)
		}
	}
}

func TestListGroups(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var titles []string
	for i := range 7 {
		g := listing(fmt.Sprintf("Group %d", i))
		if i%2 == 0 {
			g.Languages = []string{"es", "en"}
			g.Cost = &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FEE, Amount: &money.Money{CurrencyCode: "USD", Units: 5}}
		}
		s.create(t, g)
		titles = append(titles, g.GetTitle())
	}
	s.published(t, listing("Group 7"))
	must[group](t)(s.CreateGroup(s.stranger, &groupsv1.CreateGroupRequest{Group: listing("Not ours")}))

	for filter, want := range map[string]int{
		"":                                     8,
		`languages:"es"`:                       4,
		`state = "PUBLISHED"`:                  1,
		`title = "Group 3"`:                    1,
		`state = DRAFT AND NOT languages:"es"`: 3,
		`kind = GROUP_THERAPY`:                 0,
		`create_time > "2000-01-01T00:00:00Z" AND time_zone = "America/Chicago"`: 8,
	} {
		got := must[*groupsv1.ListGroupsResponse](t)(s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{Filter: filter}))
		if len(got.GetGroups()) != want {
			t.Errorf("filter %s lists %d, want %d", filter, len(got.GetGroups()), want)
		}
	}
	for _, order := range []string{"", "title", "title desc", "create_time", "update_time desc"} {
		seen := map[string]int{}
		var paged []string
		for token := ""; ; {
			got := must[*groupsv1.ListGroupsResponse](t)(s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{OrderBy: order, PageSize: 3, PageToken: token}))
			for _, g := range got.GetGroups() {
				seen[g.GetName()]++
				paged = append(paged, g.GetTitle())
			}
			if token = got.GetNextPageToken(); token == "" {
				break
			}
			_, err := s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{OrderBy: order, PageSize: 3, PageToken: token, ShowDeleted: true})
			refused(t, err, codes.InvalidArgument, "page_token")
		}
		if len(seen) != 8 || len(paged) != 8 {
			t.Errorf("order %q pages %v, want each of 8 once", order, paged)
		}
		if order == "title" && !cmp.Equal(paged[:7], titles) {
			t.Errorf("order %q pages %v, want %v first", order, paged, titles)
		}
	}
	forged := must[string](t)(page.Encode(keysetCursor{Key: "yesterday"}, "ListGroups", auth.Tenant{Org: uuid.MustParse(ours[len("organizations/"):])}, "", "", false))
	_, err := s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{PageToken: forged})
	refused(t, err, codes.InvalidArgument, "page_token")
	_, err = s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{Filter: "title = \"a\x00b\""})
	refused(t, err, codes.InvalidArgument, "filter")
	_, err = s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{Filter: `secret = 1`})
	refused(t, err, codes.InvalidArgument, "filter")
	_, err = s.ListGroups(s.owner, &groupsv1.ListGroupsRequest{OrderBy: "languages"})
	refused(t, err, codes.InvalidArgument, "order_by")
	_, err = s.ListGroups(s.public, &groupsv1.ListGroupsRequest{})
	refused(t, err, codes.Unauthenticated)
	all := must[*groupsv1.ListGroupsResponse](t)(s.ListGroups(s.platform, &groupsv1.ListGroupsRequest{}))
	if len(all.GetGroups()) != 9 {
		t.Errorf("the platform lists %d, want 9", len(all.GetGroups()))
	}
}

// A name reads as it is written; a text may have lines.
func TestTricksInNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ line, text bool }{
		"Círculo de los martes": {true, true},
		"مجموعة الدعم":          {true, true},
		"\u200fקבוצה":           {true, true}, // marks of direction are part of ordinary writing
		"One\nTwo":              {false, true},
		"One\tTwo":              {false, true},
		"One\x00":               {false, false},
		"One\x1b[31m":           {false, false},
		"One\u0085":             {false, false},
		"One\u202eowT":          {false, true},
		"One\u2066Two\u2069":    {false, true},
		"One\u2028Two":          {false, true},
	} {
		line, plain := &checker{}, &checker{}
		line.plainLine("title", text)
		plain.plainText("description", text)
		if (line.err() == nil) != want.line || (plain.err() == nil) != want.text {
			t.Errorf("%q as a name: %v, as a text: %v; want %v", text, line.err(), plain.err(), want)
		}
	}
	for field, g := range map[string]*groupsv1.Group{
		"group.title":                       {Title: "a\u202eb"},
		"group.venue.address.locality":      {Title: "a", Venue: &groupsv1.Group_Venue{Address: &typev1.PostalAddress{Locality: "a\nb"}}},
		"group.description":                 {Title: "a", Description: "a\x1bb"},
		"group.structure.goals[1]":          {Title: "a", Structure: &groupsv1.Group_Structure{Goals: []string{"a", "\x07"}}},
		"group.regular_times[0].rrule":      {Title: "a", RegularTimes: []*groupsv1.Group_RegularTime{{Rrule: "FREQ=DAILY\n"}}},
		"group.facilitators[0].facilitator": {Title: "a", Facilitators: []*groupsv1.Group_FacilitatorRole{{Facilitator: "\x00"}}},
	} {
		refused(t, checkGroup(g), codes.InvalidArgument, field)
	}
}
