package hsds_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/hsds"
)

func sample(t testing.TB) *formatstest.Feed {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "sample.json"))
	if err != nil {
		t.Fatal(err)
	}
	return formatstest.Read(t, hsds.Format{}, strings.NewReader(string(raw)), formats.Options{})
}

// Each service, at each of its places, is a group, or is rejected with all that is wrong with it.
func TestSample(t *testing.T) {
	t.Parallel()
	f := sample(t)
	want := []*groupsv1.Group{
		{
			Title: "Living with Leukemia", Description: "A peer support group for survivors, with a social worker.", Languages: []string{"en", "es"},
			Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_CO_FACILITATED, Format: groupsv1.Group_IN_PERSON,
			Venue: &groupsv1.Group_Venue{
				Label: "Hope House", Directions: "Bus 12", Location: &latlng.LatLng{Latitude: 39.1, Longitude: -94.58}, Precision: groupsv1.Group_Venue_EXACT,
				Address: &typev1.PostalAddress{AddressLines: []string{"4101 Main St"}, Locality: "Kansas City", AdministrativeArea: "MO", PostalCode: "64111", Country: "US"},
			},
			Accessibility: []groupsv1.Group_Accessibility{groupsv1.Group_STEP_FREE},
			CancerTypes:   []string{"chronic-myeloid-leukaemia", "leukaemia"},
			Audiences:     []groupsv1.Group_Audience{groupsv1.Group_FAMILY},
			Demographics:  []groupsv1.Group_Demographic{groupsv1.Group_WOMEN, groupsv1.Group_MEN},
			AgeLimits:     &groupsv1.Group_AgeLimits{MinYears: 18}, Capacity: &groupsv1.Group_Capacity{Seats: 12}, Cost: &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FREE},
			Contact:  &groupsv1.Group_Contact{Uri: "https://hope.example.org/leukemia", Email: "groups@hope.example.org", Phone: "555-0100"},
			TimeZone: "America/Chicago", ExternalId: "7f7b1f5c-0000-4000-8000-0000000000a1",
			RegularTimes: []*groupsv1.Group_RegularTime{
				{Rrule: "FREQ=WEEKLY;BYDAY=TU,TH", StartTime: "18:00", Duration: &durationpb.Duration{Seconds: 5400}},
				{Rrule: "FREQ=WEEKLY;INTERVAL=2;BYDAY=SA", StartTime: "10:00", Duration: &durationpb.Duration{Seconds: 3600}, StartDate: &date.Date{Year: 2026, Month: 1, Day: 10}},
			},
		},
		{
			Title: "Living with Leukemia", Description: "A peer support group for survivors, with a social worker.", Languages: []string{"en", "es"},
			Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_CO_FACILITATED, Format: groupsv1.Group_ONLINE,
			Online:       &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://us02web.zoom.us/j/555"},
			CancerTypes:  []string{"chronic-myeloid-leukaemia", "leukaemia"},
			Audiences:    []groupsv1.Group_Audience{groupsv1.Group_FAMILY},
			Demographics: []groupsv1.Group_Demographic{groupsv1.Group_WOMEN, groupsv1.Group_MEN},
			AgeLimits:    &groupsv1.Group_AgeLimits{MinYears: 18}, Capacity: &groupsv1.Group_Capacity{Seats: 12}, Cost: &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FREE},
			Contact:  &groupsv1.Group_Contact{Uri: "https://hope.example.org/leukemia", Email: "groups@hope.example.org", Phone: "555-0100"},
			TimeZone: "Etc/GMT+6", ExternalId: "7f7b1f5c-0000-4000-8000-0000000000a2",
			RegularTimes: []*groupsv1.Group_RegularTime{
				{Rrule: "FREQ=MONTHLY;BYDAY=1MO,3MO;UNTIL=20261231", StartTime: "19:00", Duration: &durationpb.Duration{Seconds: 3600}, TimeZone: "Etc/GMT+6"},
			},
		},
		{
			Title: "Sliding scale counselling", Description: "One to one talks with a licensed therapist.", Languages: []string{"en"},
			Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_IN_PERSON,
			Venue:    &groupsv1.Group_Venue{Address: &typev1.PostalAddress{AddressLines: []string{"1 Rd"}, Locality: "Pune", Country: "IN"}},
			Cost:     &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FEE, Amount: &money.Money{CurrencyCode: "USD", Units: 80, Nanos: 500_000_000}, SlidingScale: true},
			TimeZone: "Asia/Kolkata", ExternalId: "b1",
			RegularTimes: []*groupsv1.Group_RegularTime{{Rrule: "FREQ=WEEKLY;BYDAY=FR", StartTime: "09:00", Duration: &durationpb.Duration{Seconds: 3600}}},
		},
		{
			Title: "Cancer helpline", Summary: "Cancer helpline.", Languages: []string{"en"}, ExternalId: "7f7b1f5c-0000-4000-8000-000000000003",
			Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_PHONE,
			Online: &groupsv1.Group_Online{Phone: "0800 555 010"}, Contact: &groupsv1.Group_Contact{Phone: "0800 555 010"}, CancerTypes: []string{"any"},
		},
	}
	if len(f.Entries) != len(want) {
		t.Fatalf("%d groups are read, want %d; rejected: %q", len(f.Entries), len(want), f.Refused())
	}
	for i, e := range f.Entries {
		want[i].SourceSystem = "hsds"
		if d := cmp.Diff(want[i], e.Group, protocmp.Transform(), protocmp.IgnoreFields(&groupsv1.Group{}, "extensions")); d != "" {
			t.Errorf("group %d (-want +got):\n%s", i, d)
		}
		if e.Closed != (i == 2) {
			t.Errorf("group %d is closed: %t", i, e.Closed)
		}
	}
	refused := []string{
		`5 status "open"`, `6 name ""`, `7 id`, `8 service_at_locations ""`, `9 id "7f7b1f5c-0000-4000-8000-000000000003"`,
		`10 service_at_locations[0].location.latitude "91"`, `10 service_at_locations ""`, `10 maximum_age "18"`, `10 cost_options[0].amount "a lot"`,
		`10 capacities[0].available "12"`, `10 schedules[0].timezone "33"`,
	}
	if got := f.Refused(); !slices.EqualFunc(got, refused, strings.HasPrefix) {
		t.Errorf("rejected are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(refused, "\n"))
	}
}

// What a group has no field for is kept, is written again, and is kept the same when that is read.
func TestNothingIsForgotten(t *testing.T) {
	t.Parallel()
	f := sample(t)
	kept := f.Entries[0].Group.GetExtensions().AsMap()["hsds"]
	m, ok := kept.(map[string]any)
	if !ok {
		t.Fatalf("kept is %v", kept)
	}
	for _, key := range []string{"alternate_name", "eligibility_description", "fees_description", "organization", "attributes", "phones", "schedules", "capacities", "id"} {
		if m[key] == nil {
			t.Errorf("%s is not kept in %v", key, m)
		}
	}
	for _, key := range []string{"name", "description", "url", "email", "status", "minimum_age", "last_modified"} {
		if m[key] != nil {
			t.Errorf("%s is kept, though the group has it: %v", key, m[key])
		}
	}
	for i, e := range f.Entries {
		g := e.Group
		g.Name = "groups/0192d7a5-0000-7000-8000-00000000000" + string(rune('a'+i))
		if e.Closed {
			g.State = groupsv1.Group_PAUSED
		}
		raw, _, err := hsds.Write(formats.Listing{Group: g})
		if err != nil {
			t.Fatal(err)
		}
		again := formatstest.Read(t, hsds.Format{}, strings.NewReader(string(raw)), formats.Options{})
		if len(again.Entries) != 1 {
			t.Fatalf("rejected: %q: %s", again.Refused(), raw)
		}
		if d := cmp.Diff(formats.Said(g), formats.Said(again.Entries[0].Group), protocmp.Transform()); d != "" || again.Entries[0].Closed != e.Closed {
			t.Errorf("group %d is closed %t (-written +read):\n%s", i, again.Entries[0].Closed, d)
		}
		raw2, _, err := hsds.Write(formats.Listing{Group: withExtensions(g, again.Entries[0].Group)})
		if err != nil {
			t.Fatal(err)
		}
		var first, second any
		if json.Unmarshal(raw, &first) != nil || json.Unmarshal(raw2, &second) != nil {
			t.Fatalf("no JSON: %s", raw)
		}
		if d := cmp.Diff(first, second); d != "" {
			t.Errorf("group %d is written otherwise the second time (-first +second):\n%s", i, d)
		}
	}
}

func withExtensions(g, from *groupsv1.Group) *groupsv1.Group {
	g.Extensions = from.GetExtensions()
	return g
}
