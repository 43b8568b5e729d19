package ical_test

import (
	"slices"
	"testing"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
)

// A session that does not say where it is, is where the group meets, unless nobody comes together there.
func TestPlaceOfTheGroup(t *testing.T) {
	t.Parallel()
	g := &groupsv1.Group{
		Name: "groups/1", Title: "Cards", Format: groupsv1.Group_IN_PERSON,
		Venue: &groupsv1.Group_Venue{Label: "Library", Address: &typev1.PostalAddress{
			AddressLines: []string{"6501 Memorial Dr"}, Locality: "Houston", AdministrativeArea: "TX", PostalCode: "77007", Country: "US",
		}},
	}
	at := func(format schedulingv1.Series_Format, place string) []string {
		s := session("a", time.Date(2026, 3, 24, 19, 0, 0, 0, time.UTC), "UTC", schedulingv1.Session_SCHEDULED)
		s.Format, s.Place = format, place
		return slices.DeleteFunc(write(t, g, s), func(l string) bool { return len(l) < 9 || l[:9] != "LOCATION:" })
	}
	for _, c := range []struct {
		format schedulingv1.Series_Format
		place  string
		want   []string
	}{
		{0, "", []string{`LOCATION:Library\, 6501 Memorial Dr\, Houston\, TX 77007\, US`}},
		{schedulingv1.Series_HYBRID, "Room 2", []string{"LOCATION:Room 2"}},
		{schedulingv1.Series_ONLINE, "", nil},
	} {
		if got := at(c.format, c.place); !slices.Equal(got, c.want) {
			t.Errorf("%s at %q: %q, want %q", c.format, c.place, got, c.want)
		}
	}
}
