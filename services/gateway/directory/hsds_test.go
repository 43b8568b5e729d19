package directory_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric/noop"
	tracing "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/hsds"
	"cairn.care/services/gateway"
	"cairn.care/services/groups"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/partners"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// site is the gateway over HTTP, in front of groups and partners.
type site struct {
	t      *testing.T
	suite  *suitetest.Suite
	url    string
	groups groupsv1.GroupsServiceClient
}

func setup(t *testing.T) *site {
	t.Helper()
	suite := suitetest.Start(t, []chassis.Component{groups.Component(), partners.Component()})
	g, err := gateway.New(t.Context(), gateway.Options{
		PublicURL: "http://cairn.test", MaxBodyBytes: 64 << 10, Log: slog.New(slog.DiscardHandler),
		Tracer: tracing.NewTracerProvider().Tracer("test"), Meter: noop.NewMeterProvider().Meter("test"),
		Peer: func(service string) grpc.ClientConnInterface {
			if service != "groups" {
				service = "partners" // what else there is, is not asked
			}
			return suite.ConnAs("gateway", service)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return &site{t, suite, server.URL, groupsv1.NewGroupsServiceClient(suite.Conn("groups"))}
}

// organization registers one.
func (s *site) organization(name string) *partnersv1.Organization {
	s.t.Helper()
	o, err := partnersv1.NewPartnersServiceClient(s.suite.Conn("partners")).CreateOrganization(suitetest.Platform(s.t.Context(), "partners.write"), &partnersv1.CreateOrganizationRequest{
		Organization: &partnersv1.Organization{
			Kind: partnersv1.Organization_NONPROFIT, DisplayName: name, DistressThreshold: 7,
			Contact: &partnersv1.Organization_Contact{Website: "https://example.org", Phone: "+34 91 555 01 00"},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// group creates one that can be published, and publishes it.
func (s *site) group(o *partnersv1.Organization, title string, change ...func(*groupsv1.Group)) *groupsv1.Group {
	s.t.Helper()
	g := &groupsv1.Group{
		Title: title, Description: "For people after breast cancer.", Languages: []string{"en", "pt-BR"}, Kind: groupsv1.Group_PEER_SUPPORT,
		Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_IN_PERSON, CancerTypes: []string{"breast"},
		Venue: &groupsv1.Group_Venue{
			Label: "Library", Address: &typev1.PostalAddress{AddressLines: []string{"1 Main St"}, Locality: "Kansas City", Country: "US"},
			Location: &latlng.LatLng{Latitude: 39.1, Longitude: -94.58},
		},
		Cost:     &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FREE},
		Capacity: &groupsv1.Group_Capacity{Seats: 8}, TimeZone: "America/Chicago", SourceSystem: "test", ExternalId: title,
		RegularTimes: []*groupsv1.Group_RegularTime{{Rrule: "FREQ=WEEKLY;BYDAY=TU", StartTime: "18:30", Duration: &durationpb.Duration{Seconds: 5400}}},
	}
	for _, c := range change {
		c(g)
	}
	g, err := s.groups.CreateGroup(s.owner(o), &groupsv1.CreateGroupRequest{Group: g})
	if err != nil {
		s.t.Fatal(err)
	}
	g, err = s.groups.PublishGroup(s.owner(o), &groupsv1.PublishGroupRequest{Name: g.GetName()})
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

func (s *site) owner(o *partnersv1.Organization) context.Context {
	return suitetest.Client(s.t.Context(), o.GetName(), "groups.read", "groups.write")
}

// answer is a response without its body.
type answer struct {
	StatusCode int
	Header     http.Header
}

// get asks for a path; headers come in pairs.
func (s *site) get(path string, headers ...string) (answer, []byte) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header}, body
}

// json asks for a path that is there.
func (s *site) json(path string) map[string]any {
	s.t.Helper()
	resp, body := s.get(path)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("GET %s = %d %s: %s", path, resp.StatusCode, resp.Header.Get("Content-Type"), body)
	}
	var out map[string]any
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&out); err != nil {
		s.t.Fatalf("GET %s: %v: %s", path, err, body)
	}
	return out
}

// names are the names, or ids, of what stands on a page.
func names(page map[string]any) []string {
	out := []string{}
	list, _ := page["contents"].([]any)
	for _, e := range list {
		m, _ := e.(map[string]any)
		name, _ := m["name"].(string)
		if service, ok := m["service"].(map[string]any); ok {
			name, _ = service["name"].(string)
		}
		out = append(out, name)
	}
	return out
}

func id(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// A partner reads the whole directory page by page, and what it reads is the groups.
func TestServices(t *testing.T) {
	t.Parallel()
	s := setup(t)
	hope, other := s.organization("Hope House"), s.organization("Other House")
	s.organization("Nothing to show")
	want := map[string]*groupsv1.Group{}
	for i := range 5 {
		o := hope
		if i == 4 {
			o = other
		}
		g := s.group(o, fmt.Sprintf("Circle %d", i), func(g *groupsv1.Group) {
			if i == 3 {
				g.Format, g.Venue, g.Online = groupsv1.Group_ONLINE, nil, &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.us/j/secret", JoinInstructions: "secret"}
			}
		})
		want[id(g.GetName())] = g
	}
	draft, err := s.groups.CreateGroup(s.owner(hope), &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
		Title: "Draft", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_ONLINE,
	}})
	if err != nil {
		t.Fatal(err)
	}

	first, err := url.Parse(s.url + "/hsds/v3/services?per_page=2")
	if err != nil {
		t.Fatal(err)
	}
	next, pages := hsds.FirstPage(first, time.Time{}), 0
	for more := true; more; pages++ {
		resp, body := s.get(strings.TrimPrefix(next.String(), s.url))
		if resp.StatusCode != http.StatusOK || strings.Contains(string(body), "secret") {
			t.Fatalf("GET %s = %d %s", next, resp.StatusCode, body)
		}
		var p hsds.Page
		f := formatstest.Read(t, hsds.Format{}, io.TeeReader(bytes.NewReader(body), &p), formats.Options{})
		if len(f.Rejected) > 0 {
			t.Errorf("rejected: %q", f.Refused())
		}
		for _, e := range f.Entries {
			g := want[e.Group.GetExternalId()]
			if d := cmp.Diff(formats.Said(g), formats.Said(e.Group), protocmp.Transform()); d != "" || e.Group.GetExtensions() != nil {
				t.Errorf("%s keeps %v (-want +got):\n%s", g.GetTitle(), e.Group.GetExtensions(), d)
			}
			delete(want, e.Group.GetExternalId())
		}
		next, more = hsds.NextPage(next, &p)
	}
	if pages != 3 || len(want) != 0 {
		t.Errorf("%d pages are read, want 3; %d groups are missing", pages, len(want))
	}

	list := s.json("/hsds/v3/services?page=2&per_page=3")
	if got := names(list); !slices.Equal(got, []string{"Circle 3", "Circle 4"}) || list["total_items"] != 5.0 || list["total_pages"] != 2.0 || list["page_number"] != 2.0 ||
		list["size"] != 2.0 || list["first_page"] != false || list["last_page"] != true || list["empty"] != false {
		t.Errorf("page 2 is %v", list)
	}
	if past := s.json("/hsds/v3/services?page=9"); past["empty"] != true || len(names(past)) != 0 || past["contents"] == nil {
		t.Errorf("page 9 is %v", past)
	}
	if got := names(s.json("/hsds/v3/services?organization_id=" + id(other.GetName()))); !slices.Equal(got, []string{"Circle 4"}) {
		t.Errorf("the other's services are %q", got)
	}
	if m := s.json("/hsds/v3/services?minimal=true&per_page=1")["contents"].([]any)[0].(map[string]any); len(m) != 2 || m["id"] == nil || m["last_modified"] == nil { //nolint:forcetypeassert // the test fails by panic
		t.Errorf("a minimal service is %v", m)
	}
	for _, path := range []string{"/hsds/v3/services/" + id(draft.GetName()), "/hsds/v3/service_at_locations/" + hsds.LocationID(id(draft.GetName())), "/hsds/v3/services/x", "/hsds/v3/nothing"} {
		if resp, body := s.get(path); resp.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "reason") || strings.Contains(string(body), "Draft") {
			t.Errorf("GET %s = %d %s", path, resp.StatusCode, body)
		}
	}
}

// Only what was modified at or after an instant.
func TestModifiedAfter(t *testing.T) {
	t.Parallel()
	s := setup(t)
	o := s.organization("Hope House")
	s.group(o, "Before")
	s.suite.Clock.Advance(time.Hour)
	after := s.group(o, "After").GetUpdateTime().AsTime()
	for instant, want := range map[string][]string{
		after.Add(-time.Minute).Format(time.RFC3339):                {"After"},
		after.Format("2006-01-02T15:04:05.000000Z07:00"):            {"After"},
		after.Add(time.Millisecond).Format(time.RFC3339Nano):        {},
		after.Add(-2 * time.Hour).Format("2006-01-02T15:04:05"):     {"Before", "After"},
		after.AddDate(0, 0, 2).Format(time.DateOnly):                {},
		after.In(time.FixedZone("", 3600)).Format(time.RFC3339):     {"After"},
		after.AddDate(0, 0, -2).Format("2006-01-02T15:04:05") + "Z": {"Before", "After"},
	} {
		for _, list := range []string{"services", "service_at_locations"} {
			if got := names(s.json("/hsds/v3/" + list + "?modified_after=" + url.QueryEscape(instant))); !slices.Equal(got, want) {
				t.Errorf("%s modified after %s are %q, want %q", list, instant, got, want)
			}
		}
	}
}

// Words, terms and their taxonomies narrow.
func TestSearch(t *testing.T) {
	t.Parallel()
	s := setup(t)
	o := s.organization("Hope House")
	s.group(o, "Swimming", func(g *groupsv1.Group) { g.Audiences = []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS} })
	s.group(o, "Singing", func(g *groupsv1.Group) { g.CancerTypes = []string{"chronic-lymphocytic-leukaemia"} })
	term := func(uri string) string {
		for _, t := range hsds.Terms() {
			if strings.HasSuffix(t.URI, uri) {
				return t.ID
			}
		}
		t.Fatalf("no term %s", uri)
		return ""
	}
	taxonomy := func(uri string) string {
		for _, x := range hsds.Taxonomies() {
			if strings.HasSuffix(x.URI, uri) {
				return x.ID
			}
		}
		t.Fatalf("no taxonomy %s", uri)
		return ""
	}
	for query, want := range map[string][]string{
		"search=swimming":          {"Swimming"},
		"search=nothingofthatkind": {},
		"search=swimming&organization_id=0192d7a5-0000-7000-8000-00000000000a": {},
		"search=swimming&modified_after=2999-01-01T00:00:00Z":                  {},
		"taxonomy_term_id=" + term("cancer-types/breast"):                      {"Swimming"},
		"taxonomy_term_id=" + term("cancer-types/leukaemia"):                   {"Singing"},
		"taxonomy_term_id=" + term("audiences/SURVIVORS"):                      {"Swimming"},
		"taxonomy_term_id=" + term("kinds/PEER_SUPPORT") + "&search=singing":   {"Singing"},
		"taxonomy_term_id=" + term("kinds/EDUCATION"):                          {},
		"taxonomy_id=" + taxonomy("audiences"):                                 {"Swimming"},
		"taxonomy_id=" + taxonomy("cancer-types") + "&search=singing":          {"Singing"},
		"taxonomy_term_id=0192d7a5-0000-7000-8000-00000000000a":                {},
	} {
		var got []string
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); { // the search follows what is written
			if got = names(s.json("/hsds/v3/services?" + query)); slices.Equal(got, want) {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s finds %q, want %q", query, got, want)
		}
	}
}

// An organization is public while it has public groups, with what is public of it.
func TestOrganizations(t *testing.T) {
	t.Parallel()
	s := setup(t)
	hope, hidden := s.organization("Hope House"), s.organization("Hidden House")
	g := s.group(hope, "Circle")
	if got := names(s.json("/hsds/v3/organizations")); !slices.Equal(got, []string{"Hope House"}) {
		t.Errorf("organizations are %q", got)
	}
	if got := names(s.json("/hsds/v3/organizations?search=hid")); len(got) != 0 {
		t.Errorf("found are %q", got)
	}
	o := s.json("/hsds/v3/organizations/" + id(hope.GetName()))
	if o["name"] != "Hope House" || o["website"] != "https://example.org" || o["services"] != nil || o["phones"] == nil {
		t.Errorf("the organization is %v", o)
	}
	nested, ok := s.json("/hsds/v3/organizations/" + id(hope.GetName()) + "?full_service=true")["services"].([]any)
	if !ok || len(nested) != 1 || nested[0].(map[string]any)["id"] != id(g.GetName()) { //nolint:forcetypeassert // the test fails by panic
		t.Errorf("its services are %v", nested)
	}
	if resp, body := s.get("/hsds/v3/organizations/" + id(hidden.GetName())); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an organization without public groups is %d %s", resp.StatusCode, body)
	}
	service := s.json("/hsds/v3/services/" + id(g.GetName()))
	of, _ := service["organization"].(map[string]any)
	if of["name"] != "Hope House" || of["id"] != id(hope.GetName()) {
		t.Errorf("the service is %v's", of)
	}
	at := s.json("/hsds/v3/service_at_locations/" + hsds.LocationID(id(g.GetName())))
	if at["service"].(map[string]any)["id"] != id(g.GetName()) || at["location"].(map[string]any)["name"] != "Library" { //nolint:forcetypeassert // the test fails by panic
		t.Errorf("the service at its location is %v", at)
	}
	s.suite.Clock.Advance(time.Minute)
	if _, err := s.groups.ArchiveGroup(s.owner(hope), &groupsv1.ArchiveGroupRequest{Name: g.GetName()}); err != nil {
		t.Fatal(err)
	}
	if got := names(s.json("/hsds/v3/services")); len(got) != 0 {
		t.Errorf("services are %q", got)
	}
}

// Taxonomies and terms are those that services carry.
func TestTaxonomies(t *testing.T) {
	t.Parallel()
	s := setup(t)
	root := s.json("/hsds/v3/")
	if root["version"] != "3.1" || root["openapi_url"] == nil || root["profile"] != "http://cairn.test/docs" {
		t.Errorf("the root is %v", root)
	}
	list := s.json("/hsds/v3/taxonomies?search=cancer+types")
	first := list["contents"].([]any)[0].(map[string]any)                                           //nolint:forcetypeassert // the test fails by panic
	if one := s.json("/hsds/v3/taxonomies/" + first["id"].(string)); one["name"] != first["name"] { //nolint:forcetypeassert // the test fails by panic
		t.Errorf("the taxonomy is %v, listed as %v", one, first)
	}
	top := s.json(fmt.Sprintf("/hsds/v3/taxonomy_terms?top_only=true&taxonomy_id=%s", first["id"]))
	if got := names(top); !slices.Equal(got, []string{"Any cancer"}) {
		t.Fatalf("on top are %q", got)
	}
	root = top["contents"].([]any)[0].(map[string]any) //nolint:forcetypeassert // the test fails by panic
	below := s.json(fmt.Sprintf("/hsds/v3/taxonomy_terms?parent_id=%s&search=breast", root["id"]))
	if got := names(below); !slices.Equal(got, []string{"Breast cancer"}) {
		t.Errorf("below are %q", got)
	}
	if one := s.json(fmt.Sprintf("/hsds/v3/taxonomy_terms/%s", root["id"])); one["code"] != "any" || one["taxonomy_detail"] == nil {
		t.Errorf("the term is %v", one)
	}
	for _, kind := range []string{"taxonomies", "taxonomy_terms"} {
		if resp, _ := s.get("/hsds/v3/" + kind + "/0192d7a5-0000-7000-8000-00000000000a"); resp.StatusCode != http.StatusNotFound {
			t.Errorf("one of %s that is not there is %d", kind, resp.StatusCode)
		}
	}
}

// Answers can be kept, and are asked for again with their ETag.
func TestCaching(t *testing.T) {
	t.Parallel()
	s := setup(t)
	o := s.organization("Hope House")
	g := s.group(o, "Circle")
	for _, path := range []string{"/hsds/v3", "/hsds/v3/", "/hsds/v3/services", "/hsds/v3/services/" + id(g.GetName()), "/hsds/v3/organizations", "/hsds/v3/taxonomies"} {
		resp, _ := s.get(path)
		tag := resp.Header.Get("ETag")
		if tag == "" || resp.Header.Get("Cache-Control") != "public, max-age=30" {
			t.Errorf("GET %s has the ETag %q and may be kept %q", path, tag, resp.Header.Get("Cache-Control"))
		}
		if resp, body := s.get(path, "If-None-Match", tag); resp.StatusCode != http.StatusNotModified || len(body) != 0 {
			t.Errorf("GET %s again = %d with %d bytes, want 304", path, resp.StatusCode, len(body))
		}
	}
	before, _ := s.get("/hsds/v3/services")
	s.group(o, "Another")
	if after, _ := s.get("/hsds/v3/services", "If-None-Match", before.Header.Get("ETag")); after.StatusCode != http.StatusOK {
		t.Errorf("after a change the list is %d", after.StatusCode)
	}
}

// What cannot be asked for is refused where it stands.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for path, want := range map[string]string{
		"services?page=0":                                         "page: must be a whole number from 1 to 100000",
		"services?page=x&per_page=5000":                           "per_page: must be a whole number from 1 to 1000",
		"services?full=true&per_page=1000":                        "per_page: must be a whole number from 1 to 200",
		"services?full=maybe":                                     "full: must be true or false",
		"services?full=true&minimal=true":                         "minimal: does not go with full",
		"services?nonsense=1":                                     "nonsense: is no parameter of this call; it takes page,",
		"services?page=1&page=2":                                  "page: is given twice",
		"services?format=ndjson":                                  "format: must be json",
		"services?organization_id=hope":                           "organization_id: must be a UUID",
		"services?modified_after=yesterday":                       "modified_after: must be an instant",
		"services?search=%ff":                                     "search: must be text",
		"services?search=%00":                                     "search: must be text",
		"services?%zz=1":                                          "query: cannot be read",
		"services/0192d7a5-0000-7000-8000-00000000000a?full=true": "full: is no parameter of this call; it takes none",
		"organizations?modified_after=2026-01-01":                 "modified_after: is no parameter",
		"taxonomy_terms?parent_id=1":                              "parent_id: must be a UUID",
	} {
		resp, body := s.get("/hsds/v3/" + path)
		var fault struct {
			Message string `json:"message"`
		}
		if err := json.Unmarshal(body, &fault); err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(fault.Message, want) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("GET %s = %d %s, want %q", path, resp.StatusCode, body, want)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/hsds/v3/services", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET" {
		t.Errorf("POST = %d, allowed is %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}
