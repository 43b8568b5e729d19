package groups

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/groups/index"
)

// unsaid is the value of a facet of which a group says nothing, where that means all of them.
const unsaid = ""

// noLimit stands for an age that nobody reaches.
const noLimit = math.MaxUint8

// docOf returns what search keeps of a group: of its public part only.
func docOf(id, org uuid.UUID, state groupsv1.Group_State, g *groupsv1.Group, a index.Availability) index.Doc {
	v, cost := g.GetVenue(), g.GetCost()
	d := index.Doc{
		ID: id, Title: g.GetTitle(),
		Texts:  []string{g.GetSummary(), g.GetDescription(), v.GetLabel(), v.GetAddress().GetLocality()},
		MaxAge: noLimit,
		Gift:   cost.GetType() == groupsv1.Group_Cost_FREE || cost.GetType() == groupsv1.Group_Cost_DONATION,
		Remote: g.GetFormat() != groupsv1.Group_IN_PERSON,
		Address: index.Address{
			Locality: v.GetAddress().GetLocality(), Region: v.GetAddress().GetAdministrativeArea(),
			PostalCode: v.GetAddress().GetPostalCode(), Country: v.GetAddress().GetCountry(),
		},
		Availability: a,
	}
	if m := cost.GetAmount(); cost.GetType() == groupsv1.Group_Cost_FEE && m != nil {
		d.Fee = index.Money{Currency: m.GetCurrencyCode(), Units: m.GetUnits(), Nanos: m.GetNanos()}
	}
	if l := g.GetAgeLimits(); l.GetStrictness() == groupsv1.Group_AgeLimits_STRICT {
		if d.MinAge = uint8(l.GetMinYears()); l.GetMaxYears() > 0 {
			d.MaxAge = uint8(l.GetMaxYears())
		}
	}
	if at := v.GetLocation(); at != nil {
		d.Place = index.PointOf(at.GetLatitude(), at.GetLongitude())
	}
	d.Values = [index.Facets][]string{
		index.Kind: valueOf(g.GetKind()), index.Facilitation: valueOf(g.GetFacilitation()), index.Format: valueOf(g.GetFormat()),
		index.CancerType: g.GetCancerTypes(), index.Phase: orUnsaid(valuesOf(g.GetPhases())), index.SideEffect: valuesOf(g.GetSideEffects()),
		index.Audience: orUnsaid(valuesOf(g.GetAudiences())), index.Demographic: valuesOf(g.GetDemographics()),
		index.Accessibility: valuesOf(g.GetAccessibility()), index.Language: widened(g.GetLanguages()),
		index.SizeClass: valueOf(g.GetCapacity().GetSizeClass()), index.CostType: valueOf(cost.GetType()), index.Payer: lowered(cost.GetPayers()),
		index.Intake: valueOf(g.GetIntake()), index.Confidentiality: valueOf(g.GetConfidentiality()), index.Activity: valuesOf(g.GetActivities()),
		index.Structure: valueOf(g.GetStructure().GetType()), index.VenueKind: valueOf(v.GetKind()),
		index.State: valueOf(state), index.Organization: {org.String()},
	}
	return d
}

// availabilityOf returns what search keeps of a row of availability.
func availabilityOf(open *int32, starts []time.Time, minutes []int16) index.Availability {
	a := index.Availability{OpenSeats: -1}
	if open != nil {
		a.OpenSeats = max(*open, 0)
	}
	for i, t := range starts[:min(len(starts), len(minutes))] {
		a.Sessions = append(a.Sessions, index.Session{Start: t.Unix(), Minute: minutes[i]})
	}
	return a
}

// named is an enum of the API.
type named interface {
	~int32
	String() string
}

// valueOf returns the value's name alone; none for the unspecified one.
func valueOf[E named](e E) []string {
	if e == 0 {
		return nil
	}
	return []string{e.String()}
}

// valuesOf returns the values' names.
func valuesOf[E named](es []E) []string {
	out := make([]string, len(es))
	for i, e := range es {
		out[i] = e.String()
	}
	return out
}

func orUnsaid(names []string) []string {
	if len(names) == 0 {
		return []string{unsaid}
	}
	return names
}

// numbers returns enum values as PostgreSQL keeps them; never nil.
func numbers[E ~int32](values []E) []int32 {
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}

// words returns the distinct words of the texts in order, as search compares them.
func words(texts ...string) []string { return index.Words(texts...) }

// widened returns each language tag in lower case with its shorter forms ("es-MX": "es-mx", "es"), without repetition.
func widened(tags []string) []string {
	out := []string{}
	for _, tag := range tags {
		for t := strings.ToLower(tag); t != ""; {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
			t = t[:max(strings.LastIndexByte(t, '-'), 0)]
		}
	}
	return out
}

// lowered returns the strings in lower case.
func lowered(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ToLower(s)
	}
	return out
}
