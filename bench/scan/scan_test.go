package scan

import (
	"math"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
)

// now is a Sunday.
func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// sample is three public groups, nearest to Berlin first, and a draft.
func sample(t *testing.T) *Groups {
	t.Helper()
	at := func(lat, lng float64) *groupsv1.Group_Venue {
		return &groupsv1.Group_Venue{Location: &latlng.LatLng{Latitude: lat, Longitude: lng}, Address: &typev1.PostalAddress{Locality: "Straße"}}
	}
	groups := []*groupsv1.Group{
		{
			Title: "Café für Erschöpfte", Venue: at(52.5, 13.4), State: groupsv1.Group_PUBLISHED, AcceptsIntake: true, Format: groupsv1.Group_IN_PERSON, Languages: []string{"de-AT"},
			CancerTypes: []string{"any"}, Availability: &groupsv1.Group_Availability{
				OpenSeats: new(int32(2)), TimeZone: "Europe/Berlin", // Monday 18:00, after one that is past
				NextSessions: []*timestamppb.Timestamp{timestamppb.New(now().Add(-time.Hour)), timestamppb.New(now().Add(29 * time.Hour))},
			},
		},
		{
			Title: "Breast circle", Venue: at(51.5, -0.1), State: groupsv1.Group_PAUSED, Format: groupsv1.Group_HYBRID, Languages: []string{"en"},
			CancerTypes: []string{"breast-male"}, Phases: []groupsv1.Group_Phase{groupsv1.Group_METASTATIC}, Availability: &groupsv1.Group_Availability{},
		},
		{
			Title: "Board", State: groupsv1.Group_PUBLISHED, AcceptsIntake: true, Format: groupsv1.Group_ASYNCHRONOUS, Languages: []string{"en", "de"}, CancerTypes: []string{"breast"},
			SideEffects:  []groupsv1.Group_SideEffect{groupsv1.Group_FATIGUE},
			Availability: &groupsv1.Group_Availability{TimeZone: "UTC", NextSessions: []*timestamppb.Timestamp{timestamppb.New(now().Add(time.Hour))}},
		},
		{Title: "Draft", State: groupsv1.Group_DRAFT, Languages: []string{"en"}, Availability: &groupsv1.Group_Availability{}},
	}
	s := New(len(groups))
	for i, g := range groups {
		g.Name = "groups/00000000-0000-7000-8000-00000000000" + string(rune('0'+i))
		if err := s.Set(i, g); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestSearch(t *testing.T) {
	t.Parallel()
	s := sample(t)
	berlin := &groupsv1.SearchGroupsRequest_Near{Center: &latlng.LatLng{Latitude: 52.52, Longitude: 13.4}}
	within := &groupsv1.SearchGroupsRequest_Near{Center: berlin.GetCenter(), RadiusKm: 100}
	type req = groupsv1.SearchGroupsRequest
	for name, tt := range map[string]struct {
		req  *req
		want string
	}{
		"nearest":                   {&req{Near: berlin}, "012"},
		"soonest":                   {&req{}, "201"},
		"language and its regions":  {&req{Near: berlin, Languages: []string{"de"}}, "02"},
		"region only":               {&req{Near: berlin, Languages: []string{"de-at"}}, "0"},
		"unknown language":          {&req{Near: berlin, Languages: []string{"cy"}}, ""},
		"type and above":            {&req{Near: berlin, CancerTypes: []string{"breast-male"}}, "012"},
		"above only":                {&req{Near: berlin, CancerTypes: []string{"breast"}}, "02"},
		"exact":                     {&req{Near: berlin, CancerTypes: []string{"breast"}, CancerTypeReach: groupsv1.SearchGroupsRequest_EXACT}, "2"},
		"subtree":                   {&req{Near: berlin, CancerTypes: []string{"breast"}, CancerTypeReach: groupsv1.SearchGroupsRequest_SUBTREE}, "12"},
		"phase, or none named":      {&req{Near: berlin, Phases: []groupsv1.Group_Phase{groupsv1.Group_IN_TREATMENT}}, "02"},
		"side effect must be named": {&req{Near: berlin, SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_FATIGUE}}, "2"},
		"words":                     {&req{Near: berlin, OrderBy: "distance", Query: "CAFE strasse"}, "0"},
		"a word too many":           {&req{Near: berlin, OrderBy: "distance", Query: "cafe tea"}, ""},
		"radius":                    {&req{Near: within}, "0"},
		"radius and remote":         {&req{Near: within, IncludeRemote: true}, "012"},
		"seats":                     {&req{Near: berlin, MinOpenSeats: 3}, "12"},
		"intake":                    {&req{Near: berlin, AcceptsIntake: true}, "02"},
		"format":                    {&req{Near: berlin, Formats: []groupsv1.Group_Format{groupsv1.Group_HYBRID}}, "1"},
		"Monday evening":            {&req{Near: berlin, Times: []*typev1.TimeOfWeek{{Day: dayofweek.DayOfWeek_MONDAY, StartMinute: 18 * 60, EndMinute: 19 * 60}}}, "0"},
		"past sessions":             {&req{Near: berlin, Times: []*typev1.TimeOfWeek{{Day: dayofweek.DayOfWeek_SUNDAY, StartMinute: 12 * 60, EndMinute: 13 * 60}}}, ""},
		"every day, one o'clock":    {&req{Near: berlin, Times: []*typev1.TimeOfWeek{{StartMinute: 13 * 60, EndMinute: 14 * 60}}}, "2"},
		"before":                    {&req{Near: berlin, NextSessionBefore: timestamppb.New(now().Add(2 * time.Hour))}, "2"},
	} {
		hits, total := s.Search(tt.req, now(), 25)
		got := ""
		for _, h := range hits {
			got += h.ID.String()[35:]
		}
		if got != tt.want || total != len(tt.want) {
			t.Errorf("%s: got %q of %d, want %q", name, got, total, tt.want)
		}
	}
	if hits, total := s.Search(&req{Near: berlin}, now(), 2); len(hits) != 2 || total != 3 || math.Abs(hits[0].Distance-2.22) > 0.01 {
		t.Errorf("two nearest: got %v of %d", hits, total)
	}
	if id := s.rows[1].id; !s.Finds(&req{Query: "circle"}, now(), id) || s.Finds(&req{Query: "cafe"}, now(), id) || s.Finds(&req{Query: "draft"}, now(), s.rows[3].id) {
		t.Error("Finds tells something else")
	}
	if hits, total := s.Search(&req{Query: "circle"}, now(), 2); hits != nil || total != 1 {
		t.Errorf("by relevance: got %v of %d", hits, total)
	}
}

func TestSeats(t *testing.T) {
	t.Parallel()
	s := sample(t)
	want := &groupsv1.SearchGroupsRequest{MinOpenSeats: 3}
	s.SetSeats(0, new(int32(3)))
	s.SetSeats(1, new(int32(0)))
	if hits, total := s.Search(want, now(), 5); total != 2 || hits[0].ID.String()[35:] != "2" || hits[1].ID.String()[35:] != "0" {
		t.Errorf("got %v of %d", hits, total)
	}
	s.SetSeats(1, nil)
	if _, total := s.Search(want, now(), 5); total != 3 {
		t.Errorf("got %d, want 3", total)
	}
}
