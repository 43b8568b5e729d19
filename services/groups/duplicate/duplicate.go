// Package duplicate tells whether two listings are of the same group, and finds the pairs that are worth the question. It
// is pure: no I/O, no state, no clock.
//
// [Compare] weighs the evidence: each thing that two listings share or differ in makes it more or less likely that they
// are one group, and the weights (natural logarithms of the odds) add up. [Keys] are what duplicates share at least one
// of, so that a directory of a million groups needs no comparison of all with all.
package duplicate

import (
	"cmp"
	"math"
	"slices"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

const (
	// Likely is the score from which a pair is proposed to people.
	Likely = 0.7

	// Much is by how much the weight of a pair that people dismissed must grow to be proposed once more: about what a
	// shared address or link weighs.
	Much = 2.0

	// prior is the weight of a pair that shares a key and of which nothing else is known.
	prior = -4.0
)

// Criterion is what a reason is about.
type Criterion string

// The criteria.
const (
	Title        Criterion = "title"
	Place        Criterion = "place"
	Times        Criterion = "times"
	Link         Criterion = "link"
	Contact      Criterion = "contact"
	Text         Criterion = "text"
	Format       Criterion = "format"
	Language     Criterion = "language"
	Focus        Criterion = "focus"
	Audience     Criterion = "audience"
	Organization Criterion = "organization"
	Source       Criterion = "source"
)

// Reason is a piece of evidence.
type Reason struct {
	Criterion Criterion
	Words     string  // for people: "12 m apart", "both Tuesday 19:00"
	Weight    float64 // added to the logarithm of the odds; negative: speaks against
}

// Verdict is what speaks for and against two listings being of one group.
type Verdict struct {
	Score   float64  // how likely they are of one group, 0 to 1
	Weight  float64  // the sum that the score is made of
	Reasons []Reason // the weightiest first
}

// Listing is what a group is compared by.
type Listing struct {
	organization string
	source       string // source system and external id; empty: the owner's own
	system       string // source system
	title        title
	place        place
	times        times
	links        links
	text         []string // distinct words of the description, sorted
	format       groupsv1.Group_Format
	kind         groupsv1.Group_Kind
	languages    []string // main languages: "es" for "es-MX"
	cancers      []string
	demographics []int32
	audiences    []int32
	minAge       int32
	maxAge       int32
}

// Of takes from a group what it is compared by. Give it the public part alone when the pair is of two organizations, so
// that nobody learns from a score what the other keeps private.
func Of(g *groupsv1.Group) *Listing { return Zones{}.Of(g) }

// Zones remembers time zones from one listing to the next: to look one up takes longer than to compare two listings.
type Zones map[string]zone

// Of is [Of].
func (z Zones) Of(g *groupsv1.Group) *Listing {
	l := &Listing{
		organization: g.GetOrganization(),
		system:       g.GetSourceSystem(),
		title:        titleOf(g.GetTitle()),
		place:        placeOf(g.GetVenue(), g.GetFormat()),
		times:        timesOf(g, z),
		links:        linksOf(g),
		text:         textOf(g.GetSummary(), g.GetDescription()),
		format:       g.GetFormat(),
		kind:         g.GetKind(),
		cancers:      g.GetCancerTypes(),
		demographics: numbers(g.GetDemographics()),
		audiences:    numbers(g.GetAudiences()),
		minAge:       g.GetAgeLimits().GetMinYears(),
		maxAge:       g.GetAgeLimits().GetMaxYears(),
	}
	if g.GetExternalId() != "" {
		l.source = g.GetSourceSystem() + "\x00" + g.GetExternalId()
	}
	if l.maxAge == 0 {
		l.maxAge = math.MaxInt32
	}
	for _, tag := range g.GetLanguages() {
		if main := mainLanguage(tag); main != "" && !slices.Contains(l.languages, main) {
			l.languages = append(l.languages, main)
		}
	}
	return l
}

// Compare weighs whether the listings are of one group. The order of the two does not matter.
func Compare(a, b *Listing) Verdict {
	w := &weighing{}
	compareTitles(w, &a.title, &b.title)
	comparePlaces(w, &a.place, &b.place)
	compareTimes(w, &a.times, &b.times)
	compareLinks(w, &a.links, &b.links)
	compareTexts(w, a.text, b.text)
	compareKinds(w, a, b)
	compareSources(w, a, b)

	v := Verdict{Weight: prior, Reasons: w.reasons}
	slices.SortStableFunc(v.Reasons, func(x, y Reason) int {
		return cmp.Or(cmp.Compare(math.Abs(y.Weight), math.Abs(x.Weight)), cmp.Compare(x.Criterion, y.Criterion), cmp.Compare(x.Words, y.Words))
	})
	for _, r := range v.Reasons {
		v.Weight += r.Weight
	}
	v.Score = 1 / (1 + math.Exp(-v.Weight))
	return v
}

// weighing gathers reasons.
type weighing struct{ reasons []Reason }

func (w *weighing) add(c Criterion, weight float64, words string) {
	if weight != 0 {
		w.reasons = append(w.reasons, Reason{c, words, weight})
	}
}

// compareKinds weighs for whom and how the groups are.
func compareKinds(w *weighing, a, b *Listing) {
	remote := func(f groupsv1.Group_Format) bool {
		return f == groupsv1.Group_ONLINE || f == groupsv1.Group_PHONE || f == groupsv1.Group_ASYNCHRONOUS
	}
	switch {
	case a.format == 0 || b.format == 0 || a.format == b.format:
	case a.format == groupsv1.Group_IN_PERSON && remote(b.format), b.format == groupsv1.Group_IN_PERSON && remote(a.format):
		w.add(Format, -3, "one meets in a room, the other from afar")
	case remote(a.format) && remote(b.format):
		w.add(Format, -1, "they come together in different ways")
	}
	if a.kind != 0 && b.kind != 0 && a.kind != b.kind {
		w.add(Format, -1, "they offer different things")
	}
	if disjoint(a.languages, b.languages) {
		w.add(Language, -6, "different languages")
	}
	compareCancers(w, a.cancers, b.cancers)
	if disjoint(a.demographics, b.demographics) {
		w.add(Audience, -6, "for different communities")
	} else if len(a.demographics) > 0 && len(b.demographics) > 0 {
		w.add(Audience, 0.3, "for the same communities")
	}
	if disjoint(a.audiences, b.audiences) {
		w.add(Audience, -6, "for different people: one for those affected, the other for those around them")
	}
	if a.minAge > b.maxAge || b.minAge > a.maxAge {
		w.add(Audience, -5, "for different ages")
	}
}

// compareSources weighs who lists the groups.
func compareSources(w *weighing, a, b *Listing) {
	const telling = 12 // characters of an id that two sources would not both come to by chance
	switch {
	case a.source != "" && a.source == b.source && len(a.source)-len(a.system)-1 >= telling:
		w.add(Source, 4, "the same record of the same source")
	case a.source != "" && a.source == b.source:
		w.add(Source, 0.5, "the same number at a source of the same kind")
	}
	if a.organization == "" || a.organization != b.organization {
		return
	}
	if a.system != "" && a.system == b.system {
		w.add(Source, -1, "listed by one source, which tells them apart")
		return
	}
	w.add(Organization, 0.5, "the same organization")
}

// disjoint reports whether both lists have members and none in common.
func disjoint[E comparable](a, b []E) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	return !slices.ContainsFunc(a, func(e E) bool { return slices.Contains(b, e) })
}

func numbers[E ~int32](values []E) []int32 {
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}
