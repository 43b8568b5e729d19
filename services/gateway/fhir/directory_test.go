package fhir_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/groups"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/partners"
)

func directoryOf(services ...chassis.Component) []chassis.Component {
	return append([]chassis.Component{partners.Component(), groups.Component()}, services...)
}

// group publishes a group of an organization and returns its id.
func (s *site) group(org string, g *groupsv1.Group) string {
	s.t.Helper()
	ctx := suitetest.Client(s.t.Context(), "organizations/"+org, "groups.read", "groups.write")
	client := groupsv1.NewGroupsServiceClient(s.Conn("groups"))
	if g.GetFacilitation() == groupsv1.Group_PEER_LED {
		f, err := client.CreateFacilitator(ctx, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
			DisplayName: "Lead", LivedExperience: []*groupsv1.Facilitator_LivedExperience{{Role: groupsv1.Facilitator_LivedExperience_SURVIVOR, CancerType: "breast"}},
		}})
		if err != nil {
			s.t.Fatal(err)
		}
		g.Facilitators = []*groupsv1.Group_FacilitatorRole{{Facilitator: f.GetName(), Role: groupsv1.Group_FacilitatorRole_LEAD}}
	}
	made, err := client.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: g})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := client.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: made.GetName()}); err != nil {
		s.t.Fatal(err)
	}
	s.CatchUp()
	return strings.TrimPrefix(made.GetName(), "groups/")
}

func madrid() *groupsv1.Group {
	return &groupsv1.Group{
		Title: "Círculo del martes", Summary: "Evenings together", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_IN_PERSON,
		Languages: []string{"es-ES"}, TimeZone: "Europe/Madrid", CancerTypes: []string{"breast"}, Audiences: []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS},
		Venue: &groupsv1.Group_Venue{Kind: groupsv1.Group_Venue_COMMUNITY_CENTRE, Label: "Centro Cívico", Location: &latlng.LatLng{Latitude: 40.4168, Longitude: -3.7038},
			Address: &typev1.PostalAddress{AddressLines: []string{"Calle Mayor 1"}, Locality: "Madrid", Country: "ES"}},
		Capacity: &groupsv1.Group_Capacity{Seats: 12, Waitlist: true}, Contact: &groupsv1.Group_Contact{Email: "circle@nonprofit.test"},
		Cost:         &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FREE},
		RegularTimes: []*groupsv1.Group_RegularTime{{Rrule: "FREQ=WEEKLY;BYDAY=TU,TH", StartTime: "18:30", Duration: hours(2)}, {Rrule: "FREQ=MONTHLY;BYDAY=2WE", StartTime: "10:00", Duration: hours(1)}},
	}
}

func online() *groupsv1.Group {
	return &groupsv1.Group{
		Title: "Leukaemia evening call", Summary: "By video", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_ONLINE,
		Languages: []string{"en"}, TimeZone: "Europe/London", CancerTypes: []string{"leukaemia"}, Online: &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://secret.test/join"},
		Cost: &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FEE, Amount: &money.Money{CurrencyCode: "GBP", Units: 5}, InsuranceAccepted: true, Payers: []string{"Acme Health"}}, SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_FATIGUE},
	}
}

func TestHealthcareServices(t *testing.T) {
	t.Parallel()
	s := setup(t, directoryOf()...)
	org := s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Together", Contact: &partnersv1.Organization_Contact{Email: "office@together.test"}})
	circle, call := s.group(org, madrid()), s.group(org, online())

	got := s.get("/HealthcareService/"+circle, "").want(t, http.StatusOK)
	if got.json["name"] != "Círculo del martes" || !strings.Contains(string(got.body), "Free seats: 12.") || !strings.Contains(string(got.body), `"daysOfWeek":["tue","thu"]`) ||
		!strings.Contains(string(got.body), "SDOHCC-HealthcareServiceForReferralManagement") {
		t.Errorf("read: %s", got.body)
	}
	if cache := got.Header.Get("Cache-Control"); cache != "public, max-age=30" {
		t.Errorf("Cache-Control of what everybody sees: %q", cache)
	}
	s.get("/HealthcareService/"+circle, "", "If-None-Match", got.Header.Get("ETag")).want(t, http.StatusNotModified)
	if body := string(s.get("/HealthcareService/"+call, "").want(t, http.StatusOK).body); strings.Contains(body, "secret.test") || !strings.Contains(body, "office@together.test") {
		t.Errorf("the link to join is told, or the organization's contact is not: %s", body)
	}

	icd := url.QueryEscape("http://hl7.org/fhir/sid/icd-10-cm|C91.0")
	history := url.QueryEscape("http://hl7.org/fhir/sid/icd-10-cm|Z85.3")
	for query, want := range map[string][]string{
		"":                                   {circle, call},
		"?_id=" + call:                       {call},
		"?_id=" + call + "&active=true":      {call},
		"?_id=" + call + "&specialty=breast": {},
		"?name=circulo":                      {circle},
		"?name=mart%20circ":                  {circle},
		"?name=martes&name=leukaemia":        {},
		"?name:exact=C%C3%ADrculo%20del%20martes": {circle},
		"?_content=leukaemia":                     {call},
		"?active=true":                            {circle, call},
		"?active=false":                           {},
		"?organization=Organization/" + org:       {circle, call},
		"?organization=" + circle:                 {},
		"?service-type=513":                       {circle, call},
		"?service-type=https://cairn.care/fhir/CodeSystem/group-kind%7Ceducation": {},
		"?specialty=breast":                                {circle},
		"?specialty=" + history:                            {circle},
		"?specialty=" + icd:                                {},
		"?specialty:above=" + icd:                          {call},
		"?specialty:below=haematological":                  {call},
		"?specialty=nonsense":                              {},
		"?characteristic=online":                           {call},
		"?characteristic=online,in-person":                 {circle, call},
		"?characteristic=online&characteristic=fatigue":    {call},
		"?characteristic=in-person&characteristic=fatigue": {},
		"?characteristic=fatigue,survivors":                {circle, call},
		"?characteristic=survivors":                        {circle},
		"?characteristic=nonsense":                         {},
		"?program=acme%20health":                           {call},
		"?communication=es":                                {circle},
		"?open-seats=12":                                   {circle, call},
		"?open-seats=13":                                   {call},
		"?location=Location/" + circle:                     {circle},
		"?location.near=40.4|-3.7|20|km":                   {circle},
		"?location:Location.near=48.1|11.5|20":             {},
		"?_lastUpdated=lt2000":                             {},
		"?_lastUpdated=ge2000":                             {circle, call},
		"?_lastUpdated=ge2000&communication=es":            {circle},
	} {
		r := s.get("/HealthcareService"+query, "").want(t, http.StatusOK)
		ids := r.ids()
		slices.Sort(ids)
		slices.Sort(want)
		if !slices.Equal(ids, want) {
			t.Errorf("%s finds %v, want %v", query, ids, want)
		}
	}
	for query, want := range map[string]string{
		"?name:contains=circ":                          "not-supported http.name:contains: name does not take the modifier :contains",
		"?colour=red":                                  `not-supported http.colour: "colour" is no search parameter of HealthcareService here`,
		"?location.near=north":                         "value http.location.near: location.near is latitude|longitude|distance|unit",
		"?location.near=91|0":                          "value http.location.near: location.near is latitude",
		"?location.near=1|1|1|furlong":                 "value http.location.near: location.near: the unit is",
		"?_sort=name":                                  "not-supported http._sort: _sort of HealthcareService takes location.near",
		"?active=true&active=false":                    "not-supported http.active: active is there twice",
		"?active=perhaps":                              "value http.active: active is true or false",
		"?name=":                                       "not-supported http.name: name is empty",
		"?_lastUpdated=yesterday":                      "value http._lastUpdated: _lastUpdated: \"yesterday\" is no date",
		"?_lastUpdated=ne2020":                         "not-supported http._lastUpdated: _lastUpdated does not take ne",
		"?_count=-1":                                   "value http._count: _count is a whole number",
		"?_include=HealthcareService:colour":           "not-supported http._include: _include=HealthcareService:colour is not followed here",
		"?_include:iterate=HealthcareService:location": "not-supported http._include:iterate: _include:iterate is not followed here",
		"?_summary=perhaps":                            "value http._summary: _summary is true, text, data, count or false",
		"?_page=nonsense":                              "expired: this page is not, or no longer, known",
		"?name=%zz":                                    "structure: the query cannot be read",
		"?organization=Patient/1":                      "value http.organization: organization refers to Organization",
		"?open-seats=many":                             "value http.open-seats: open-seats: \"many\" is no number",
	} {
		r := s.get("/HealthcareService"+query, "")
		if r.StatusCode != http.StatusBadRequest && r.StatusCode != http.StatusGone || len(r.issues()) != 1 || !strings.HasPrefix(r.issues()[0], want) {
			t.Errorf("%s: %d %v; want %q", query, r.StatusCode, r.issues(), want)
		}
	}
	lenient := s.get("/HealthcareService?colour=red&communication=es", "", "Prefer", "handling=lenient").want(t, http.StatusOK)
	if len(lenient.ids()) != 1 || !strings.Contains(string(lenient.body), "ignored: colour") || strings.Contains(lenient.link("self"), "colour") {
		t.Errorf("lenient: %s", lenient.body)
	}
}

func TestSearchPages(t *testing.T) {
	t.Parallel()
	s := setup(t, directoryOf()...)
	org := s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Together"})
	var want []string
	for range 5 {
		want = append(want, s.group(org, online()))
	}
	slices.Sort(want)
	for _, query := range []string{"", "communication=en&"} {
		var got []string
		next := "/HealthcareService?" + query + "_count=2&_total=accurate"
		for next != "" {
			r := s.get(next, "").want(t, http.StatusOK)
			if r.json["total"] != 5.0 {
				t.Errorf("%s: total %v, want 5", next, r.json["total"])
			}
			got = append(got, r.ids()...)
			next = r.link("next")
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%q: the pages have %v, want %v", query, got, want)
		}
	}
	r := s.get("/HealthcareService?_summary=count", "").want(t, http.StatusOK)
	if r.json["total"] != 5.0 || len(r.resources("")) != 0 {
		t.Errorf("_summary=count: %s", r.body)
	}
	if r := s.get("/HealthcareService?_count=0&communication=en", "").want(t, http.StatusOK); r.json["total"] != 5.0 || len(r.resources("")) != 0 {
		t.Errorf("_count=0: %s", r.body)
	}
	if r := s.get("/HealthcareService?active=false", "").want(t, http.StatusOK); r.json["total"] != nil && r.json["total"] != 0.0 {
		t.Errorf("total of what is left out afterwards: %s", r.body)
	}
	for next, n := "/HealthcareService?characteristic=fatigue,online,in-person&_count=2", 0; next != ""; n++ {
		r := s.get(next, "").want(t, http.StatusOK)
		if len(r.ids()) > 2 || n > 10 {
			t.Errorf("page %d has %d, of two at most", n, len(r.ids()))
			break
		}
		next = r.link("next")
	}
	if r := s.get("/HealthcareService?_summary=count&_count=1", "").want(t, http.StatusOK); r.link("next") != "" {
		t.Errorf("a count goes on: %s", r.body)
	}
	if r := s.get("/HealthcareService?characteristic=online&_total=accurate&_count=1", "").want(t, http.StatusOK); r.json["total"] != 5.0 || len(r.ids()) != 1 {
		t.Errorf("_total=accurate of what is left out afterwards: %s", r.body)
	}
	byID := s.get("/HealthcareService?_count=3&_id="+strings.Join(want, ","), "").want(t, http.StatusOK)
	if rest := s.get(byID.link("next"), "").want(t, http.StatusOK); byID.json["total"] != 5.0 || len(byID.ids()) != 3 || len(rest.ids()) != 2 || rest.link("next") != "" {
		t.Errorf("_id in pages: %s, then %s", byID.body, rest.body)
	}
	posted := s.do(http.MethodPost, "/HealthcareService/_search?_count=2", "", "communication=en", "Content-Type", "application/x-www-form-urlencoded").want(t, http.StatusOK)
	if len(posted.ids()) != 2 || posted.link("next") == "" {
		t.Errorf("POST _search: %s", posted.body)
	}
	s.do(http.MethodPost, "/HealthcareService/_search", "", `{"a":1}`).want(t, http.StatusUnsupportedMediaType)
	// Another organization's, or another type's, is no page.
	s.get(strings.Replace(posted.link("next"), "HealthcareService", "Location", 1), "").want(t, http.StatusGone)
	s.get(posted.link("next")+"&communication=es", "").want(t, http.StatusBadRequest)
}

func TestParts(t *testing.T) {
	t.Parallel()
	s := setup(t, directoryOf()...)
	org := s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Together"})
	circle := s.group(org, madrid())
	for query, want := range map[string]struct{ has, lacks string }{
		"_summary=true":                       {"name", "availableTime"},
		"_summary=data":                       {"name", "text"},
		"_elements=name,type":                 {"type", "telecom"},
		"_elements=HealthcareService.telecom": {"telecom", "name"},
	} {
		for _, path := range []string{"/HealthcareService/" + circle + "?", "/HealthcareService?_id=" + circle + "&"} {
			r := s.get(path+query, "").want(t, http.StatusOK)
			body := r.json
			if r.json["resourceType"] == "Bundle" {
				body = r.resources("match")[0]
			}
			if body[want.has] == nil || body[want.lacks] != nil || !strings.Contains(string(r.body), "SUBSETTED") {
				t.Errorf("%s%s: %s", path, query, r.body)
			}
		}
	}
	with := s.get("/HealthcareService?_id="+circle+"&_include=HealthcareService:location&_include=HealthcareService:organization", "").want(t, http.StatusOK)
	if in := with.resources("include"); len(in) != 2 || in[0]["resourceType"] != "Location" || in[1]["resourceType"] != "Organization" {
		t.Errorf("_include: %s", with.body)
	}
	back := s.get("/Location?_id="+circle+"&_revinclude=HealthcareService:location", "").want(t, http.StatusOK)
	if in := back.resources("include"); len(in) != 1 || in[0]["resourceType"] != "HealthcareService" {
		t.Errorf("_revinclude: %s", back.body)
	}
}

func TestLocations(t *testing.T) {
	t.Parallel()
	s := setup(t, directoryOf()...)
	org := s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Together"})
	circle, call := s.group(org, madrid()), s.group(org, online())
	got := s.get("/Location/"+circle, "").want(t, http.StatusOK)
	for _, part := range []string{`"name":"Centro Cívico"`, `"city":"Madrid"`, `"latitude":40.4168`, `{"url":"openSeats","valueInteger":12}`, "SDOHCC-Location"} {
		if !strings.Contains(string(got.body), part) {
			t.Errorf("%s is not in %s", part, got.body)
		}
	}
	s.get("/Location/"+org, "").want(t, http.StatusNotFound)
	for query, want := range map[string][]string{
		"?name=centro":                  {circle},
		"?address-city=mad":             {circle},
		"?address-city=bar":             {},
		"?status=active":                {circle, call},
		"?status=suspended":             {},
		"?near=40.4|-3.7|20|km":         {circle},
		"?near=40.4|-3.7|20&_sort=near": {circle},
		"?organization=" + org:          {circle, call},
		"?status=http://hl7.org/fhir/location-status|active": {circle, call},
		"?status=http://hl7.org/fhir/location-status|":       {circle, call},
		"?status=urn:x|active":                               {},
		"?status=inactive":                                   {},
		"?_id=" + circle + "&near=48|11|5":                   {},
	} {
		ids := s.get("/Location"+query, "").want(t, http.StatusOK).ids()
		slices.Sort(ids)
		slices.Sort(want)
		if !slices.Equal(ids, want) {
			t.Errorf("%s finds %v, want %v", query, ids, want)
		}
	}
	near := s.get("/Location?near=40.4|-3.7", "").want(t, http.StatusOK)
	if !strings.Contains(string(near.body), "location-distance") {
		t.Errorf("no distance is told: %s", near.body)
	}
	// Without a token, an organization is shown that has public groups.
	s.get("/Organization/"+org, "").want(t, http.StatusOK)
}
