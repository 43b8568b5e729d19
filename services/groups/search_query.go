package groups

import (
	"fmt"
	"strings"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/groups/index"
)

// minutesOfDay is how many a day has on the wall clock, daylight saving aside.
const minutesOfDay = 24 * 60

// facetOf returns the facet of the index that the API calls so.
func facetOf(f groupsv1.SearchGroupsRequest_Facet) index.Facet {
	return map[groupsv1.SearchGroupsRequest_Facet]index.Facet{
		groupsv1.SearchGroupsRequest_KINDS: index.Kind, groupsv1.SearchGroupsRequest_FACILITATIONS: index.Facilitation,
		groupsv1.SearchGroupsRequest_FORMATS: index.Format, groupsv1.SearchGroupsRequest_CANCER_TYPES: index.CancerType,
		groupsv1.SearchGroupsRequest_PHASES: index.Phase, groupsv1.SearchGroupsRequest_SIDE_EFFECTS: index.SideEffect,
		groupsv1.SearchGroupsRequest_AUDIENCES: index.Audience, groupsv1.SearchGroupsRequest_DEMOGRAPHICS: index.Demographic,
		groupsv1.SearchGroupsRequest_LANGUAGES: index.Language, groupsv1.SearchGroupsRequest_ACCESSIBILITY: index.Accessibility,
		groupsv1.SearchGroupsRequest_SIZE_CLASSES: index.SizeClass, groupsv1.SearchGroupsRequest_COSTS: index.CostType,
		groupsv1.SearchGroupsRequest_PAYERS: index.Payer, groupsv1.SearchGroupsRequest_CONFIDENTIALITIES: index.Confidentiality,
		groupsv1.SearchGroupsRequest_INTAKES: index.Intake, groupsv1.SearchGroupsRequest_ACTIVITIES: index.Activity,
		groupsv1.SearchGroupsRequest_STRUCTURES: index.Structure, groupsv1.SearchGroupsRequest_VENUE_KINDS: index.VenueKind,
	}[f]
}

// queryOf reads a request, or says what is wrong with it. Where the request names a place, it is looked up, kept in the cursor, and
// told in the response.
func (s *server) queryOf(x *index.Index, req *groupsv1.SearchGroupsRequest, cur *searchCursor, resp *groupsv1.SearchGroupsResponse) (*index.Query, error) {
	q := &index.Query{Words: req.GetQuery(), Now: cur.Now, MinSeats: req.GetMinOpenSeats()}
	bad := facets(q, req)
	if strings.ContainsRune(req.GetQuery()+req.GetPayer()+req.GetNear().GetPlace(), 0) {
		bad = append(bad, fault.Field("query", "must not hold the character NUL"))
	}
	if req.Age != nil {
		q.HasAge, q.Age = true, uint8(req.GetAge())
	}
	if m := req.GetMaxCost(); m != nil {
		if !validMoney(m) {
			bad = append(bad, fault.Field("max_cost", `needs an ISO 4217 currency_code, e.g. "USD", and units and nanos that are not negative`))
		}
		q.MaxCost = &index.Money{Currency: m.GetCurrencyCode(), Units: m.GetUnits(), Nanos: m.GetNanos()}
	}
	if t := req.GetNextSessionBefore(); t != nil {
		if t.CheckValid() != nil {
			bad = append(bad, fault.Field("next_session_before", "is no valid instant"))
		}
		q.Before = new(t.AsTime())
	}
	bad = append(bad, times(q, req)...)
	bad = append(bad, region(x, q, req, cur, resp)...)
	for _, p := range req.GetPreferences() {
		pref := index.Preference{Facet: facetOf(p.GetFacet())}
		for _, g := range p.GetGrades() {
			pref.Grades = append(pref.Grades, index.Grade{Values: g.GetValues(), Points: int(g.GetPoints())})
		}
		q.Preferences = append(q.Preferences, pref)
	}
	switch req.GetOrderBy() {
	case "relevance":
		q.Order = index.Relevance
	case "distance":
		q.Order = index.Distance
		if q.Near == nil {
			bad = append(bad, fault.Field("order_by", `"distance" needs near`))
		}
	case "soonest":
		q.Order = index.Soonest
	default:
		switch {
		case len(words(req.GetQuery())) > 0, len(q.Preferences) > 0:
			q.Order = index.Relevance
		case q.Near != nil:
			q.Order = index.Distance
		case len(q.Ranked) > 0:
			q.Order = index.Relevance
		}
	}
	if len(q.Preferences) > 0 && q.Order != index.Relevance {
		bad = append(bad, fault.Field("preferences", `need order_by "relevance"`))
	}
	for i, f := range req.GetFacets() {
		for _, g := range req.GetFacets()[:i] {
			if f == g {
				bad = append(bad, fault.Field(fmt.Sprintf("facets[%d]", i), "%s is asked for twice", f))
			}
		}
		q.Count = append(q.Count, facetOf(f))
	}
	if bad != nil {
		return nil, fault.Invalid(bad...)
	}
	return q, nil
}

// facets adds the filters by values.
func facets(q *index.Query, req *groupsv1.SearchGroupsRequest) (bad []*fault.Violation) {
	add := func(f index.Facet, values ...string) {
		if len(values) > 0 {
			q.Filters = append(q.Filters, index.Filter{Facet: f, Values: values})
		}
	}
	orAll := func(f index.Facet, values []string) {
		if len(values) > 0 {
			add(f, append(values, unsaid)...)
		}
	}
	add(index.Kind, valuesOf(req.GetKinds())...)
	add(index.Facilitation, valuesOf(req.GetFacilitations())...)
	add(index.Format, valuesOf(req.GetFormats())...)
	orAll(index.Phase, valuesOf(req.GetPhases()))
	add(index.SideEffect, valuesOf(req.GetSideEffects())...)
	orAll(index.Audience, valuesOf(req.GetAudiences()))
	add(index.Demographic, valuesOf(req.GetDemographics())...)
	add(index.Language, lowered(req.GetLanguages())...)
	add(index.SizeClass, valuesOf(req.GetSizeClasses())...)
	add(index.Confidentiality, valuesOf(req.GetConfidentialities())...)
	add(index.Intake, valuesOf(req.GetIntakes())...)
	add(index.Activity, valuesOf(req.GetActivities())...)
	add(index.Structure, valuesOf(req.GetStructures())...)
	add(index.VenueKind, valuesOf(req.GetVenueKinds())...)
	if a := valuesOf(req.GetAccessibility()); len(a) > 0 {
		q.Filters = append(q.Filters, index.Filter{Facet: index.Accessibility, Values: a, All: true})
	}
	if req.GetFreeOnly() {
		add(index.CostType, groupsv1.Group_Cost_FREE.String(), groupsv1.Group_Cost_DONATION.String())
	}
	if req.GetPayer() != "" {
		add(index.Payer, strings.ToLower(req.GetPayer()))
	}
	if req.GetAcceptsIntake() {
		add(index.State, groupsv1.Group_PUBLISHED.String())
	}
	if req.GetOrganization() != "" {
		id, err := parseOrganization("organization", req.GetOrganization())
		if err != nil {
			bad = append(bad, fault.Field("organization", `is no name of an organization, "organizations/{uuid}"`))
		}
		add(index.Organization, id.String())
	}
	return append(bad, cancerFilters(q, req)...)
}

// cancerFilters adds the filter by cancer types, as far as they reach, and has relevance put those asked for first.
func cancerFilters(q *index.Query, req *groupsv1.SearchGroupsRequest) (bad []*fault.Violation) {
	var reached []string
	for i, code := range req.GetCancerTypes() {
		if _, ok := cancertype.Lookup(code); !ok {
			bad = append(bad, fault.Field(fmt.Sprintf("cancer_types[%d]", i), "%q is no cancer type: take a code of /v1/cancerTypes", code))
		}
		q.Ranked = append(q.Ranked, code)
		switch req.GetCancerTypeReach() {
		case groupsv1.SearchGroupsRequest_EXACT:
			reached = append(reached, code)
		case groupsv1.SearchGroupsRequest_SUBTREE:
			reached = append(reached, cancertype.Subtree(code)...)
		default:
			reached = append(append(reached, code), cancertype.Ancestors(code)...)
		}
	}
	if len(reached) > 0 {
		q.Filters = append(q.Filters, index.Filter{Facet: index.CancerType, Values: reached})
	}
	return bad
}

// times adds the times of the week.
func times(q *index.Query, req *groupsv1.SearchGroupsRequest) (bad []*fault.Violation) {
	for _, t := range req.GetTimes() {
		first, last := int32(t.GetDay())-1, int32(t.GetDay())-1 // Monday is 1
		if t.GetDay() == 0 {
			first, last = 0, 6
		}
		for day := first; day <= last; day++ {
			q.Times = append(q.Times, index.Span{From: day*minutesOfDay + t.GetStartMinute(), To: day*minutesOfDay + t.GetEndMinute()})
		}
	}
	if req.GetTimeZone() == "" {
		return nil
	}
	if !validZone(req.GetTimeZone()) {
		return append(bad, fault.Field("time_zone", `%q is no IANA time zone, e.g. "America/Chicago"`, req.GetTimeZone()))
	}
	zone, err := time.LoadLocation(req.GetTimeZone())
	if err != nil {
		return append(bad, fault.Field("time_zone", `%q is no IANA time zone, e.g. "America/Chicago"`, req.GetTimeZone()))
	}
	q.Zone = zone
	return nil
}

// region adds the circle and the box.
func region(x *index.Index, q *index.Query, req *groupsv1.SearchGroupsRequest, cur *searchCursor, resp *groupsv1.SearchGroupsResponse) (bad []*fault.Violation) {
	const degrees = "latitude must be -90 to 90 and longitude -180 to 180 degrees"
	if b := req.GetBox(); b != nil {
		sw, ne := b.GetSouthWest(), b.GetNorthEast()
		switch {
		case !validLatLng(sw):
			bad = append(bad, fault.Field("box.south_west", degrees))
		case !validLatLng(ne):
			bad = append(bad, fault.Field("box.north_east", degrees))
		case sw.GetLatitude() > ne.GetLatitude():
			bad = append(bad, fault.Field("box.north_east", "must not be south of south_west"))
		default:
			q.Box = index.NewBox(sw.GetLatitude(), sw.GetLongitude(), ne.GetLatitude(), ne.GetLongitude())
		}
	}
	n := req.GetNear()
	if n == nil {
		return bad
	}
	q.Near = &index.Near{Point: pointOf(n.GetCenter()), Remote: req.GetIncludeRemote()}
	if n.GetRadiusKm() > 0 {
		q.Near.Chord = max(index.Chord(n.GetRadiusKm()), 1e-24) // a radius of nearly nothing is still one
	}
	if n.GetPlace() == "" {
		if !validLatLng(n.GetCenter()) {
			bad = append(bad, fault.Field("near.center", degrees))
		}
		return bad
	}
	var others []index.Found
	if cur.Place == nil {
		found := x.Places(n.GetPlace())
		if len(found) == 0 {
			hint := "check the spelling, name a larger town nearby, or give coordinates in near.center"
			if near := x.PlacesNear(n.GetPlace()); len(near) > 0 {
				hint = "did you mean " + strings.Join(near, " or ") + "?"
			}
			return append(bad, fault.Field("near.place", "no group's address is in %q: %s", n.GetPlace(), hint))
		}
		cur.Place, others = &found[0], found[1:]
	}
	q.Near.Point, resp.Place = cur.Place.Point, placeOf(*cur.Place, others)
	return bad
}
