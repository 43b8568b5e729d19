package referral

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/internal/suitetest"
)

func TestListReferrals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var made []string // newest first
	for i, who := range []string{"a", "b", "c", "d", "e"} {
		r := f.send(other(who), func(r *referralv1.Referral) {
			if i == 4 {
				r.RequestedGroup, r.Urgency = "", referralv1.Referral_STAT
			}
		})
		made = append([]string{r.GetName()}, made...)
	}
	f.accept(&referralv1.Referral{Name: made[4]})
	list := func(size int32, token, filter string) *referralv1.ListReferralsResponse {
		t.Helper()
		resp, err := f.ListReferrals(f.refer, &referralv1.ListReferralsRequest{PageSize: size, PageToken: token, Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var paged []string
	for token, first := "", true; first || token != ""; first = false {
		resp := list(2, token, "")
		for _, r := range resp.GetReferrals() {
			paged = append(paged, r.GetName())
			if r.GetSubject() != nil || r.GetStateReason() != "" || r.GetPlacerNumber() == "" || r.Distress == nil {
				t.Errorf("listed as %v", r)
			}
		}
		token = resp.GetNextPageToken()
	}
	if !slices.Equal(paged, made) {
		t.Errorf("paged: got %v, want %v", paged, made)
	}
	for filter, want := range map[string][]string{
		`state = ACCEPTED`:                              made[4:],
		`state = SENT AND urgency = STAT`:               made[:1],
		`NOT state = SENT OR urgency = STAT`:            {made[0], made[4]},
		`owner_organization = "` + f.nonprofit + `"`:    made[1:],
		`group = "` + f.group + `"`:                     made[4:],
		`create_time > "2027-03-05T00:00:00Z"`:          nil,
		`awaiting = RECEIVER AND placer_number = "P-1"`: made,
	} {
		var got []string
		for _, r := range list(0, "", filter).GetReferrals() {
			got = append(got, r.GetName())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", filter, got, want)
		}
	}
	token := list(2, "", "").GetNextPageToken()
	for what, req := range map[string]*referralv1.ListReferralsRequest{
		"filter":     {Filter: "colour = red"},
		"page_token": {PageToken: token, Filter: "state = SENT"},
		"page_size":  {PageSize: 201},
	} {
		if _, err := f.ListReferrals(f.refer, req); errText(err) != "InvalidArgument "+what {
			t.Errorf("%s: got %v", what, err)
		}
	}
	owned, err := f.ListReferrals(f.receive, &referralv1.ListReferralsRequest{})
	if err != nil || len(owned.GetReferrals()) != 4 {
		t.Errorf("the owner lists %v, %v", owned, err)
	}
	every, err := f.ListReferrals(f.platform, &referralv1.ListReferralsRequest{})
	if err != nil || len(every.GetReferrals()) != 5 {
		t.Errorf("an internal app lists %v, %v", every, err)
	}
	none, err := f.ListReferrals(f.strange, &referralv1.ListReferralsRequest{})
	if err != nil || len(none.GetReferrals()) != 0 {
		t.Errorf("a stranger lists %v, %v", none, err)
	}
}

func TestRecommendGroups(t *testing.T) {
	t.Parallel()
	f := setup(t)
	led := f.newGroup(f.receive, func(g *groupsv1.Group) {
		g.Title, g.Facilitation, g.CancerTypes, g.SideEffects = "Led by Dr Reyes", groupsv1.Group_PROFESSIONALLY_LED, []string{"any"}, nil
	})
	f.newGroup(f.receive, func(g *groupsv1.Group) { g.Title, g.Languages = "English only", []string{"en"} })
	f.newGroup(f.receive, func(g *groupsv1.Group) { g.Title, g.CancerTypes = "Lung", []string{"lung"} })
	needs := f.referral().GetNeeds()

	resources := groupsv1.NewResourcesServiceClient(f.Conn("groups"))
	offer := func(title string, change func(*groupsv1.Resource)) {
		m := &groupsv1.Resource{Kind: groupsv1.Resource_EXERCISE, Title: title, Languages: needs.GetLanguages()[:1], CancerTypes: needs.GetCancerTypes()}
		change(m)
		m, err := resources.CreateResource(f.receive, &groupsv1.CreateResourceRequest{Resource: m})
		if err == nil {
			_, err = resources.ReviewResource(f.receive, &groupsv1.ReviewResourceRequest{Name: m.GetName(), ReviewedBy: "Dr Reyes"})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	offer("Suits as well", func(*groupsv1.Resource) {})
	offer("Suits best", func(m *groupsv1.Resource) { m.SideEffects = needs.GetSideEffects() })
	offer("Another cancer", func(m *groupsv1.Resource) { m.CancerTypes = []string{"lung"} })
	offer("Another language", func(m *groupsv1.Resource) { m.Languages = []string{"fi"} })

	f.CatchUp()
	calm, err := f.RecommendGroups(f.refer, &referralv1.RecommendGroupsRequest{Needs: needs, Distress: proto.Int32(3)})
	if err != nil {
		t.Fatal(err)
	}
	if len(calm.GetRecommendations()) != 2 || calm.GetRecommendations()[0].GetGroup().GetName() != f.group || len(calm.GetCrisisResources()) > 0 {
		t.Errorf("calm: got %v", calm)
	}
	if len(calm.GetNearMisses()) != 1 || calm.GetNearMisses()[0].GetGroup().GetTitle() != "English only" {
		t.Errorf("near misses: got %v", calm.GetNearMisses())
	}
	if r := calm.GetResources(); len(r) != 2 || r[0].GetTitle() != "Suits best" || r[1].GetTitle() != "Suits as well" {
		t.Errorf("few groups suit: got the resources %v, want the two that suit", r)
	}
	if calm.GetDistressThreshold() != 4 || calm.GetWeightsVersion() == "" {
		t.Errorf("got threshold %d, weights %q", calm.GetDistressThreshold(), calm.GetWeightsVersion())
	}

	r := f.send(func(r *referralv1.Referral) { // the diagnosis is in the reason codes only
		r.Needs.CancerTypes, r.Needs.Role = nil, referralv1.Needs_ROLE_UNSPECIFIED
	})
	stored, err := f.RecommendGroups(f.refer, &referralv1.RecommendGroupsRequest{Referral: r.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	first := stored.GetRecommendations()[0]
	if first.GetGroup().GetName() != led || !strings.Contains(strings.Join(stored.GetNotes(), " "), "Distress 5 is at or above the threshold of 4") {
		t.Errorf("distress 5: got %v, %q", first.GetGroup(), stored.GetNotes())
	}
	second := stored.GetRecommendations()[1]
	if !slices.ContainsFunc(second.GetCriteria(), func(c *referralv1.Criterion) bool {
		return c.GetCode() == "diagnosis" && c.GetVerdict() == referralv1.Criterion_MET
	}) {
		t.Errorf("Z85.3 is not taken for breast cancer: %v", second.GetCriteria())
	}
	if first.GetGroup().GetOnline().GetJoinUri() != "" {
		t.Error("shows what is private")
	}

	crisis, err := f.RecommendGroups(suitetest.User(t.Context(), f.hospital, "COORDINATOR"), &referralv1.RecommendGroupsRequest{Needs: needs, Distress: proto.Int32(8)})
	if err != nil || len(crisis.GetCrisisResources()) < 2 || crisis.GetCrisisResources()[0].GetPhone() != "988" {
		t.Errorf("crisis: got %v, %v", crisis, err)
	}
	if len(crisis.GetRecommendations()) != 1 || crisis.GetRecommendations()[0].GetGroup().GetName() != led {
		t.Errorf("crisis: got %v", crisis.GetRecommendations())
	}

	for want, req := range map[string]*referralv1.RecommendGroupsRequest{
		"InvalidArgument needs":                 {},
		"InvalidArgument referral":              {Referral: r.GetName(), Needs: needs},
		"InvalidArgument needs.cancer_types[0]": {Needs: &referralv1.Needs{CancerTypes: []string{"toe"}}},
		"InvalidArgument max_results":           {Needs: needs, MaxResults: 51},
	} {
		if _, err := f.RecommendGroups(f.refer, req); errText(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f.newGroup(f.receive, func(g *groupsv1.Group) { g.Title = "A third one" })
	f.CatchUp()
	many, err := f.RecommendGroups(f.refer, &referralv1.RecommendGroupsRequest{Needs: needs, Distress: proto.Int32(3)})
	if err != nil || len(many.GetRecommendations()) != 3 || len(many.GetResources()) != 0 {
		t.Errorf("enough groups suit: got %d groups and %v, %v; want no resources", len(many.GetRecommendations()), many.GetResources(), err)
	}
	app, err := f.RecommendGroups(f.platform, &referralv1.RecommendGroupsRequest{Needs: needs})
	if err != nil || len(app.GetRecommendations()) == 0 {
		t.Errorf("internal app: got %v, %v", app, err)
	}
}

// The threshold is the referring organization's own.
func TestThresholdOfTheOrganization(t *testing.T) {
	t.Parallel()
	f := setup(t)
	orgs := partnersv1.NewPartnersServiceClient(f.Conn("partners"))
	if _, err := orgs.UpdateOrganization(f.platform, &partnersv1.UpdateOrganizationRequest{Organization: &partnersv1.Organization{Name: f.hospital, DistressThreshold: 7}}); err != nil {
		t.Fatal(err)
	}
	got, err := f.RecommendGroups(f.refer, &referralv1.RecommendGroupsRequest{Needs: &referralv1.Needs{}, Distress: proto.Int32(6)})
	if err != nil || got.GetDistressThreshold() != 7 || strings.Contains(strings.Join(got.GetNotes(), " "), "professionals come first") {
		t.Errorf("got %v, %v", got, err)
	}
}

// However many groups suit and are nearer, those that suit best are found: by her diagnosis and side effects, and by what she can pay.
func TestTheBestOfManyIsRecommended(t *testing.T) {
	t.Parallel()
	f := setup(t)
	at := func(lat float64) func(*groupsv1.Group) {
		return func(g *groupsv1.Group) {
			g.Format, g.Online = groupsv1.Group_IN_PERSON, nil
			g.Venue = &groupsv1.Group_Venue{Location: &latlng.LatLng{Latitude: lat, Longitude: -95.2}}
		}
	}
	for i := range candidates + 5 {
		f.newGroup(f.receive, at(29.7+float64(i)/10000), func(g *groupsv1.Group) {
			g.Title, g.CancerTypes, g.SideEffects = "Near", []string{"any"}, nil
			g.Cost = &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FEE, Amount: &money.Money{CurrencyCode: "USD", Units: 40}}
		})
	}
	best := f.newGroup(f.receive, at(29.8), func(g *groupsv1.Group) { g.Cost = &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FREE} })
	f.CatchUp()
	needs := proto.CloneOf(f.referral().GetNeeds())
	needs.Location = &latlng.LatLng{Latitude: 29.7, Longitude: -95.2}
	for _, limit := range []*money.Money{nil, {CurrencyCode: "USD"}, {CurrencyCode: "USD", Units: 10}} {
		needs.CostLimit = limit
		got, err := f.RecommendGroups(f.refer, &referralv1.RecommendGroupsRequest{Needs: needs})
		if err != nil || len(got.GetRecommendations()) == 0 || got.GetRecommendations()[0].GetGroup().GetName() != best {
			t.Errorf("with a limit of %v the first is %v, %v; want the one for breast cancer with lymphoedema, which is free", limit, got.GetRecommendations(), err)
		}
	}
}
