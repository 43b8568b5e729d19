package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"cairn.care/bench/directory"
	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/groups/index"
)

// indexed is the search index by itself, in this process.
type indexed struct {
	*index.Index
	directory *directory.Directory
	zones     map[string]*time.Location
	rebuilds  atomic.Bool
}

func newIndexed(d *directory.Directory) *indexed {
	x := &indexed{Index: index.New(), directory: d, zones: map[string]*time.Location{}}
	for _, c := range d.Cities {
		x.zones[c.Zone.String()] = c.Zone
	}
	return x
}

func (x *indexed) search(_ context.Context, req *groupsv1.SearchGroupsRequest) (answer, error) {
	r := x.Search(indexQuery(req, time.Now()))
	a := answer{ids: make([]uuid.UUID, len(r.Hits)), counted: len(req.GetFacets()) > 0, total: r.Total, formats: map[groupsv1.Group_Format]int{}}
	for i, h := range r.Hits {
		a.ids[i] = h.ID
	}
	for _, c := range r.Counts[index.Format] {
		n, err := strconv.Atoi(c.Value)
		if err != nil {
			return a, fmt.Errorf("count of formats: %w", err)
		}
		a.formats[groupsv1.Group_Format(n)] = c.Groups
	}
	return a, nil
}

func (x *indexed) change(_ context.Context, c changes) error {
	var b index.Batch
	for _, g := range c.Groups {
		b.Upserts = append(b.Upserts, x.doc(x.directory.Group(g.Group, g.Version)))
	}
	for _, s := range c.Seats {
		b.Changes = append(b.Changes, index.Change{ID: x.directory.ID(s.Group), Availability: index.Availability{
			OpenSeats: openSeats(s.Open), Sessions: x.sessions(x.directory.Group(s.Group, s.Version)),
		}})
	}
	x.Apply(b)
	if x.Stale() && x.rebuilds.CompareAndSwap(false, true) {
		go func() {
			defer x.rebuilds.Store(false)
			x.Rebuild()
		}()
	}
	return nil
}

func (x *indexed) settle(context.Context) error { return nil }

// unsaid is the value of a facet of which a group says nothing, where that means all.
const unsaid = "-"

// doc is what the index keeps of a group.
func (x *indexed) doc(g *groupsv1.Group) index.Doc {
	venue := g.GetVenue()
	d := index.Doc{
		ID: uuid.MustParse(strings.TrimPrefix(g.GetName(), "groups/")), Title: g.GetTitle(),
		Texts:  []string{g.GetSummary(), g.GetDescription(), venue.GetLabel(), venue.GetAddress().GetLocality()},
		MaxAge: math.MaxUint8, Remote: g.GetFormat() != groupsv1.Group_IN_PERSON,
		Address: index.Address{
			Locality: venue.GetAddress().GetLocality(), Region: venue.GetAddress().GetAdministrativeArea(),
			PostalCode: venue.GetAddress().GetPostalCode(), Country: venue.GetAddress().GetCountry(),
		},
		Availability: index.Availability{OpenSeats: openSeats(g.GetAvailability().OpenSeats), Sessions: x.sessions(g)},
	}
	v := &d.Values
	v[index.Kind], v[index.Facilitation], v[index.Format] = numbers(g.GetKind()), numbers(g.GetFacilitation()), numbers(g.GetFormat())
	v[index.CancerType], v[index.SideEffect] = g.GetCancerTypes(), numbers(g.GetSideEffects()...)
	v[index.Phase], v[index.Audience] = orUnsaid(numbers(g.GetPhases()...)), orUnsaid(numbers(g.GetAudiences()...))
	v[index.Demographic], v[index.Accessibility] = numbers(g.GetDemographics()...), numbers(g.GetAccessibility()...)
	v[index.Language], v[index.SizeClass] = g.GetLanguages(), numbers(g.GetCapacity().GetSizeClass())
	v[index.CostType], v[index.Payer] = numbers(g.GetCost().GetType()), g.GetCost().GetPayers()
	v[index.Confidentiality], v[index.Activity] = numbers(g.GetConfidentiality()), numbers(g.GetActivities()...)
	v[index.Structure], v[index.VenueKind], v[index.State] = numbers(g.GetStructure().GetType()), numbers(venue.GetKind()), numbers(g.GetState())
	v[index.Organization] = []string{g.GetOrganization()}
	if g.GetAcceptsIntake() {
		v[index.Intake] = []string{"true"}
	}
	if l := g.GetAgeLimits(); l.GetStrictness() == groupsv1.Group_AgeLimits_STRICT {
		d.MinAge, d.MaxAge = uint8(l.GetMinYears()), uint8(l.GetMaxYears())
	}
	switch m := g.GetCost().GetAmount(); g.GetCost().GetType() {
	case groupsv1.Group_Cost_FREE, groupsv1.Group_Cost_DONATION:
		d.Gift = true
	default:
		d.Fee = index.Money{Currency: m.GetCurrencyCode(), Units: m.GetUnits(), Nanos: m.GetNanos()}
	}
	if at := venue.GetLocation(); at != nil {
		d.Place = index.PointOf(at.GetLatitude(), at.GetLongitude())
	}
	return d
}

func openSeats(open *int32) int32 {
	if open == nil {
		return -1
	}
	return *open
}

func (x *indexed) sessions(g *groupsv1.Group) []index.Session {
	var out []index.Session
	zone := x.zones[g.GetTimeZone()]
	for _, t := range g.GetAvailability().GetNextSessions() {
		local := t.AsTime().In(zone)
		out = append(out, index.Session{Start: t.GetSeconds(), Minute: int16((int(local.Weekday())+6)%7*24*60 + local.Hour()*60 + local.Minute())})
	}
	return out
}

// numbers writes enum values as the index's values.
func numbers[E ~int32](values ...E) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strconv.Itoa(int(v))
	}
	return out
}

func orUnsaid(values []string) []string {
	if len(values) == 0 {
		return []string{unsaid}
	}
	return values
}

// indexQuery asks the index what the request asks the service.
func indexQuery(req *groupsv1.SearchGroupsRequest, now time.Time) *index.Query {
	q := &index.Query{Words: req.GetQuery(), MinSeats: req.GetMinOpenSeats(), Now: now, Limit: found, Ranked: req.GetCancerTypes()}
	add := func(f index.Facet, values []string, more ...string) {
		if len(values) > 0 {
			q.Filters = append(q.Filters, index.Filter{Facet: f, Values: append(values, more...)})
		}
	}
	var types []string
	for _, code := range req.GetCancerTypes() {
		types = append(append(types, code), cancertype.Ancestors(code)...)
	}
	add(index.CancerType, types)
	add(index.Kind, numbers(req.GetKinds()...))
	add(index.Facilitation, numbers(req.GetFacilitations()...))
	add(index.Format, numbers(req.GetFormats()...))
	add(index.Phase, numbers(req.GetPhases()...), unsaid)
	add(index.SideEffect, numbers(req.GetSideEffects()...))
	add(index.Audience, numbers(req.GetAudiences()...), unsaid)
	add(index.Demographic, numbers(req.GetDemographics()...))
	add(index.Language, req.GetLanguages())
	add(index.SizeClass, numbers(req.GetSizeClasses()...))
	if req.GetAcceptsIntake() {
		add(index.Intake, []string{"true"})
	}
	if n := req.GetNear(); n != nil {
		q.Near = &index.Near{Point: index.PointOf(n.GetCenter().GetLatitude(), n.GetCenter().GetLongitude()), Remote: req.GetIncludeRemote()}
		if n.GetRadiusKm() > 0 {
			q.Near.Chord = index.Chord(n.GetRadiusKm())
		}
	}
	for _, f := range req.GetFacets() {
		q.Count = append(q.Count, map[groupsv1.SearchGroupsRequest_Facet]index.Facet{
			groupsv1.SearchGroupsRequest_KINDS: index.Kind, groupsv1.SearchGroupsRequest_FORMATS: index.Format,
			groupsv1.SearchGroupsRequest_CANCER_TYPES: index.CancerType, groupsv1.SearchGroupsRequest_PHASES: index.Phase,
			groupsv1.SearchGroupsRequest_AUDIENCES: index.Audience, groupsv1.SearchGroupsRequest_DEMOGRAPHICS: index.Demographic,
			groupsv1.SearchGroupsRequest_LANGUAGES: index.Language, groupsv1.SearchGroupsRequest_COSTS: index.CostType,
		}[f])
	}
	for _, t := range req.GetTimes() {
		day := int32(t.GetDay()-1) * 24 * 60
		q.Times = append(q.Times, index.Span{From: day + t.GetStartMinute(), To: day + t.GetEndMinute()})
	}
	switch {
	case req.GetOrderBy() == "soonest":
		q.Order = index.Soonest
	case req.GetOrderBy() == "" && req.GetQuery() != "":
		q.Order = index.Relevance
	default:
		q.Order = index.Distance
	}
	return q
}

// fill puts the directory's groups from one to before another into the index.
func (x *indexed) fill(groups []*groupsv1.Group) error {
	var b index.Batch
	for _, g := range groups {
		b.Upserts = append(b.Upserts, x.doc(g))
	}
	x.Apply(b)
	if n := x.Len(); n == 0 {
		return fmt.Errorf("the index is empty after %d groups", len(groups))
	}
	return nil
}
