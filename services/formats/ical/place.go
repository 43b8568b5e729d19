package ical

import (
	"cmp"
	"strings"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// placeOf says where a session is: as the session does, else, if people come together in a room, where the group meets.
func placeOf(g *groupsv1.Group, s *schedulingv1.Session) string {
	switch cmp.Or(s.GetFormat(), schedulingv1.Series_Format(g.GetFormat())) {
	case schedulingv1.Series_ONLINE, schedulingv1.Series_PHONE:
		return s.GetPlace()
	}
	if s.GetPlace() != "" {
		return s.GetPlace()
	}
	v := g.GetVenue()
	a := v.GetAddress()
	var parts []string
	add := func(text string) {
		if text = strings.TrimSpace(text); text != "" {
			parts = append(parts, text)
		}
	}
	add(v.GetLabel())
	for _, line := range a.GetAddressLines() {
		add(line)
	}
	add(a.GetLocality())
	add(a.GetAdministrativeArea() + " " + a.GetPostalCode())
	if len(parts) > 0 {
		add(a.GetCountry())
	}
	return strings.Join(parts, ", ")
}
