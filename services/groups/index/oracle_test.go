package index

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"cairn.care/services/cancertype"
)

// oracle decides searches by the words of the contract, group by group.
type oracle struct {
	docs  map[uuid.UUID]*Doc
	vocab map[string]bool      // of the docs; nil: to be found out
	words map[*Doc][2][]string // of title, and of everything; documents do not change
	names []called
}

func newOracle() *oracle {
	return &oracle{docs: map[uuid.UUID]*Doc{}, words: map[*Doc][2][]string{}, names: names()}
}

// of returns the words of the group's title, and of everything.
func (o *oracle) of(d *Doc) (title, text []string) {
	w, ok := o.words[d]
	if !ok {
		w = [2][]string{Words(d.Title), Words(append([]string{d.Title}, d.Texts...)...)}
		o.words[d] = w
	}
	return w[0], w[1]
}

func (o *oracle) apply(b Batch) {
	o.vocab = nil
	for i := range b.Upserts {
		o.docs[b.Upserts[i].ID] = &b.Upserts[i]
	}
	for _, c := range b.Changes {
		if d := o.docs[c.ID]; d != nil {
			d := *d
			d.Availability = c.Availability
			o.docs[c.ID] = &d
		}
	}
	for _, id := range b.Removals {
		delete(o.docs, id)
	}
}

func (o *oracle) vocabulary() map[string]bool {
	if o.vocab == nil {
		o.vocab = map[string]bool{}
		for _, d := range o.docs {
			_, text := o.of(d)
			for _, w := range text {
				o.vocab[w] = true
			}
		}
	}
	return o.vocab
}

// levenshtein is the plain table of the optimal string alignment.
func levenshtein(a, b string) int {
	x, y := []rune(a), []rune(b)
	t := make([][]int, len(x)+1)
	for i := range t {
		t[i] = make([]int, len(y)+1)
		for j := range t[i] {
			switch {
			case i == 0 || j == 0:
				t[i][j] = i + j
			default:
				t[i][j] = min(t[i-1][j]+1, t[i][j-1]+1, t[i-1][j-1]+1)
				if x[i-1] == y[j-1] {
					t[i][j] = min(t[i][j], t[i-1][j-1])
				}
				if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
					t[i][j] = min(t[i][j], t[i-2][j-2]+1)
				}
			}
		}
	}
	return t[len(x)][len(y)]
}

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}

const nothing = -100

// called is a name of a cancer or a side effect.
type called struct {
	topic topic
	words []string
}

func names() (out []called) {
	for _, t := range cancertype.All() {
		for _, n := range cancertype.Names(t.Code) {
			out = append(out, called{topic{CancerType, t.Code}, Words(n)})
		}
	}
	for value, spoken := range effects {
		for _, n := range spoken {
			out = append(out, called{topic{SideEffect, value}, Words(n)})
		}
	}
	return out
}

// part is a part of a query, with the cancers that it may be a misspelt name of, and by how many errors.
type part struct {
	phrase
	most  int // errors that are forgiven
	near  map[topic]int
	alike map[string]int // words of the vocabulary, by how many errors

	on   map[topic]bool  // of which the word is the beginning of a name
	goes map[string]bool // words of the vocabulary that it is the beginning of
}

func (o *oracle) parts(q *Query) (out []part) {
	for _, p := range phrases(q.Words) {
		x := part{phrase: p, near: map[topic]int{}, alike: map[string]int{}, on: map[topic]bool{}, goes: map[string]bool{}}
		w := p.words[0]
		if p.begun {
			for _, n := range o.names {
				if len(n.words) == 1 && strings.HasPrefix(n.words[0], w) {
					x.on[n.topic] = true
				}
			}
			for have := range o.vocabulary() {
				if have != w && strings.HasPrefix(have, w) {
					x.goes[have] = true
				}
			}
		}
		if p.topic == (topic{}) && len(x.on)+len(x.goes) == 0 && !o.vocabulary()[w] && !strings.ContainsAny(w, "0123456789") {
			if n := len([]rune(w)); n >= 8 {
				x.most = 2
			} else if n >= 4 {
				x.most = 1
			}
		}
		for _, n := range o.names {
			if e := levenshtein(w, n.words[0]); x.most > 0 && len(n.words) == 1 && e <= x.most {
				if best, ok := x.near[n.topic]; !ok || e < best {
					x.near[n.topic] = e
				}
			}
		}
		for have := range o.vocabulary() {
			if e := levenshtein(w, have); x.most > 0 && e <= x.most {
				x.alike[have] = e
			}
		}
		out = append(out, x)
	}
	return out
}

// concept returns the points of a group for the name of a cancer or a side effect.
func (o *oracle) concept(d *Doc, of topic) int {
	points := nothing
	title, text := o.of(d)
	for _, n := range o.names {
		if n.topic != of || len(n.words) == 0 || !containsAll(text, n.words) {
			continue
		}
		if points = max(points, 1); containsAll(title, n.words) {
			points = max(points, 4)
		}
	}
	if of.facet == SideEffect {
		if slices.Contains(d.Values[SideEffect], of.value) {
			points = max(points, 3)
		}
		return points
	}
	code := of.value
	for _, have := range d.Values[CancerType] {
		switch {
		case have == code || cancertype.IsAncestor(code, have):
			points = max(points, 3)
		case cancertype.IsAncestor(have, code) && have != "any":
			points = max(points, 2)
		case have == "any":
			points = max(points, 0)
		}
	}
	return points
}

// points returns what the group gets for the query's words, false if it misses one.
func (o *oracle) points(d *Doc, q *Query, parts []part) (int, bool) {
	total, has := 0, 0
	title, text := o.of(d)
	for _, p := range parts {
		points := nothing
		plain := 0
		if p.topic != (topic{}) {
			points, plain = o.concept(d, p.topic), 1
		}
		if containsAll(title, p.words) {
			points = max(points, 4)
		}
		if containsAll(text, p.words) {
			points = max(points, plain)
		}
		for t, e := range p.near {
			if c := o.concept(d, t); c != nothing {
				points = max(points, c-2*e)
			}
		}
		for have, e := range p.alike {
			if slices.Contains(text, have) {
				points = max(points, -2*e)
			}
			if slices.Contains(title, have) {
				points = max(points, 4-2*e)
			}
		}
		for t := range p.on {
			if c := o.concept(d, t); c != nothing {
				points = max(points, c-1)
			}
		}
		for have := range p.goes {
			if slices.Contains(text, have) {
				points = max(points, -1)
			}
			if slices.Contains(title, have) {
				points = max(points, 3)
			}
		}
		switch {
		case points == nothing && !q.Loose:
			return 0, false
		case points == nothing:
			continue
		case q.Loose && p.topic != (topic{}):
			points += 32
		case q.Loose:
			points += 8
		}
		has++
		total += points
	}
	if len(parts) > 0 && has == 0 {
		return 0, false
	}
	if len(q.Ranked) > 0 {
		closest := 0
		for _, have := range d.Values[CancerType] {
			if have == "any" {
				closest = max(closest, 1)
			}
			for _, want := range q.Ranked {
				if have == want {
					closest = max(closest, 3)
				} else if have != "any" && cancertype.IsAncestor(have, want) {
					closest = max(closest, 2)
				}
			}
		}
		total += closest
	}
	for _, p := range q.Preferences {
		best := 0
		for _, g := range p.Grades {
			if slices.ContainsFunc(g.Values, func(v string) bool { return slices.Contains(d.Values[p.Facet], v) }) {
				best = max(best, g.Points)
			}
		}
		total += best
	}
	return total, true
}

// meets reports whether the group meets the query's conditions but for words and the filters of one facet.
func meets(d *Doc, q *Query, without int) bool {
	for _, f := range q.Filters {
		if int(f.Facet) == without {
			continue
		}
		n := 0
		for _, v := range f.Values {
			if slices.Contains(d.Values[f.Facet], v) {
				n++
			}
		}
		if f.All && n < len(f.Values) || !f.All && n == 0 {
			return false
		}
	}
	if q.HasAge && (q.Age < d.MinAge || q.Age > d.MaxAge) {
		return false
	}
	if m := q.MaxCost; m != nil && !d.Gift {
		fee := d.Fee
		if fee.Currency == "" || fee.Currency != m.Currency || fee.Units > m.Units || fee.Units == m.Units && fee.Nanos > m.Nanos {
			return false
		}
	}
	if d.OpenSeats >= 0 && d.OpenSeats < q.MinSeats {
		return false
	}
	if n := q.Near; n != nil && n.Chord > 0 {
		near := d.Place != Point{} && d.Place.to(n.Point) <= n.Chord
		if !near && (!n.Remote || !d.Remote) {
			return false
		}
	}
	if q.Box != nil && !q.Box.Contains(d.Place) {
		return false
	}
	suits, early := len(q.Times) == 0, q.Before == nil
	for _, t := range d.Sessions {
		at := time.Unix(t.Start, 0)
		if !at.After(q.Now) {
			continue
		}
		early = early || at.Before(*q.Before)
		minute := int32(t.Minute)
		if q.Zone != nil {
			l := at.In(q.Zone)
			minute = int32((int(l.Weekday())+6)%7*1440 + l.Hour()*60 + l.Minute())
		}
		for _, s := range q.Times {
			suits = suits || s.From <= minute && minute < s.To
		}
	}
	return suits && early
}

// search finds the groups that have all the words, else those that have some.
func (o *oracle) search(q *Query) Result {
	res := o.scan(q)
	if len(res.Hits) > 0 || q.After != nil || q.Loose || len(o.parts(q)) < 2 {
		res.Loose = q.Loose
		return res
	}
	loose := *q
	loose.Loose = true
	res = o.scan(&loose)
	res.Loose = true
	return res
}

func (o *oracle) scan(q *Query) Result {
	type found struct {
		hit Hit
		doc *Doc
	}
	var all []found
	var res Result
	counts := map[Facet]map[string]int{}
	parts := o.parts(q)
	for _, d := range o.docs {
		if len(q.Count) == 0 && !meets(d, q, -1) {
			continue
		}
		points, ok := o.points(d, q, parts)
		if !ok {
			continue
		}
		for _, f := range q.Count {
			if meets(d, q, int(f)) {
				if counts[f] == nil {
					counts[f] = map[string]int{}
				}
				for _, v := range d.Values[f] {
					counts[f][v]++
				}
			}
		}
		if !meets(d, q, -1) {
			continue
		}
		res.Total++
		h := Hit{Key{ID: d.ID}, -1}
		away := Farthest
		if q.Near != nil && d.Place != (Point{}) {
			h.Chord = d.Place.to(q.Near.Point)
			away = h.Chord
		}
		soon := Never
		for _, t := range d.Sessions {
			if time.Unix(t.Start, 0).After(q.Now) {
				soon = math.Min(soon, float64(t.Start))
			}
		}
		switch q.Order {
		case Distance:
			h.First = away
		case Soonest:
			h.First = soon
		default:
			if h.First, h.Second = float64(-points), away; q.Near == nil {
				h.Second = soon
			}
		}
		all = append(all, found{h, d})
	}
	slices.SortFunc(all, func(a, b found) int { return a.hit.Compare(b.hit.Key) })
	for _, f := range all {
		if q.After != nil && f.hit.Compare(*q.After) <= 0 {
			continue
		}
		if res.More = len(res.Hits) == q.Limit; res.More {
			break
		}
		res.Hits = append(res.Hits, f.hit)
	}
	if len(q.Count) == 0 {
		res.Total = 0
		return res
	}
	res.Counts = map[Facet][]Count{}
	for _, f := range q.Count {
		res.Counts[f] = nil
		for v, n := range counts[f] {
			res.Counts[f] = append(res.Counts[f], Count{v, n})
		}
		slices.SortFunc(res.Counts[f], func(a, b Count) int { return cmp.Or(b.Groups-a.Groups, cmp.Compare(a.Value, b.Value)) })
	}
	return res
}

// The world of the random directories: few values, so that searches hit.
var (
	someWords   = []string{"morning", "café", "walk", "YOGA", "straße", "art", "niño", "talk", "leukaemia", "leukemia", "Brustkrebs", "blood", "cancer", "breast", "support", "supporting", "multiple", "myeloma", "circle", "癌症", "lymphedema", "the", "tired"}
	asked       = []string{"MORNING", "cafe", "walk", "yoga", "strasse", "nino", "leukemai", "leucemia", "breast", "brest", "blood cancer", "supprot", "suporting", "supportin", "zzzz", "circel", "癌", "cancer", "multiple myeloma", "64110", "tlak", "leuk", "sup", "wal", "lymphoedema", "lymph", "near", "the", "multiple "}
	someTypes   = []string{"any", "breast", "breast-male", "haematological", "leukaemia", "acute-myeloid-leukaemia", "lymphoma", "lung", "myeloma"}
	someTowns   = []Address{{"Kansas City", "MO", "64110", "US"}, {"Kansas City", "KS", "66101", "US"}, {"Köln", "", "50667", "DE"}, {"Portland", "OR", "97201", "US"}, {}}
	now         = time.Date(2026, 10, 20, 12, 30, 0, 0, time.UTC) // a week before the clocks go back in Europe
	someFacets  = []Facet{Kind, Format, Language, CancerType, Phase, Accessibility}
	sampleZones = []string{"Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland", "Pacific/Apia"}
)

func pick[E any](r *rand.Rand, from []E) E { return from[r.IntN(len(from))] }

func picks[E cmp.Ordered](r *rand.Rand, from []E, most int) []E {
	var out []E
	for range r.IntN(most + 1) {
		out = append(out, pick(r, from))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func randomPlace(r *rand.Rand) Point {
	switch r.IntN(8) {
	case 0:
		return Point{}
	case 1:
		return PointOf(r.Float64()*180-90, r.Float64()*360-180)
	case 2:
		return PointOf(-16.5+r.Float64(), 179.5+r.Float64()) // across the antimeridian
	case 3:
		return PointOf(89+r.Float64(), r.Float64()*360)
	case 4:
		return PointOf(39.1, -94.58) // many at one place
	}
	return PointOf(52.3+r.Float64()*.4, 13.1+r.Float64()*.6)
}

func randomAvailability(r *rand.Rand) Availability {
	a := Availability{OpenSeats: int32(r.IntN(20)) - 3}
	zone, err := time.LoadLocation(pick(r, sampleZones))
	if err != nil {
		panic(err)
	}
	at := now.Add(time.Duration(r.IntN(21*24*4)-4*24*4) * 15 * time.Minute)
	for range r.IntN(4) {
		l := at.In(zone)
		a.Sessions = append(a.Sessions, Session{at.Unix(), int16((int(l.Weekday())+6)%7*1440 + l.Hour()*60 + l.Minute())})
		at = at.Add(7 * 24 * time.Hour)
	}
	return a
}

func randomID(r *rand.Rand) (id uuid.UUID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

func randomDoc(r *rand.Rand, id uuid.UUID) Doc {
	d := Doc{
		ID: id, Title: strings.Join(picks(r, someWords, 3), " "), Texts: []string{strings.Join(picks(r, someWords, 5), ", "), "group"},
		MaxAge: 255, Gift: r.IntN(2) == 0, Place: randomPlace(r), Remote: r.IntN(4) == 0, Address: pick(r, someTowns), Availability: randomAvailability(r),
	}
	if r.IntN(3) == 0 {
		d.MinAge, d.MaxAge = uint8(r.IntN(60)), uint8(60+r.IntN(60))
	}
	if !d.Gift && r.IntN(3) > 0 {
		d.Fee = Money{pick(r, []string{"EUR", "USD"}), int64(r.IntN(4)), int32(r.IntN(2)) * 5e8}
	}
	for _, f := range someFacets {
		d.Values[f] = picks(r, []string{"a", "b", "c", "d"}, 2)
	}
	d.Values[CancerType] = picks(r, someTypes, 2)
	d.Values[SideEffect] = picks(r, []string{"LYMPHOEDEMA", "FATIGUE"}, 1)
	return d
}

func randomQuery(r *rand.Rand) *Query {
	q := &Query{Now: now, Limit: pick(r, []int{1, 7, 25}), Order: Order(r.IntN(3))}
	maybe := func(odds int, do func()) {
		if r.IntN(odds) == 0 {
			do()
		}
	}
	maybe(3, func() { q.Words = strings.Join(picks(r, asked, 3), " ") })
	maybe(2, func() {
		for range 1 + r.IntN(2) {
			q.Filters = append(q.Filters, Filter{pick(r, someFacets), append(picks(r, []string{"a", "b", "e"}, 2), "c"), r.IntN(4) == 0})
		}
	})
	maybe(4, func() {
		q.Ranked = picks(r, someTypes, 2)
		if len(q.Ranked) > 0 {
			q.Filters = append(q.Filters, Filter{Facet: CancerType, Values: append(picks(r, someTypes, 3), q.Ranked...)})
		}
	})
	maybe(3, func() {
		for range 1 + r.IntN(6) {
			p := Preference{Facet: pick(r, someFacets)}
			for range 1 + r.IntN(3) {
				p.Grades = append(p.Grades, Grade{picks(r, []string{"a", "b", "c", "d", "e"}, 2), 1 + r.IntN(40)})
			}
			q.Preferences = append(q.Preferences, p)
		}
	})
	maybe(4, func() { q.HasAge, q.Age = true, uint8(r.IntN(100)) })
	maybe(5, func() { q.MaxCost = &Money{pick(r, []string{"EUR", "USD", "CHF"}), int64(r.IntN(4)), 0} })
	maybe(4, func() { q.MinSeats = int32(r.IntN(15)) })
	maybe(2, func() {
		q.Near = &Near{Point: randomPlace(r), Remote: r.IntN(3) == 0}
		if q.Near.Point == (Point{}) {
			q.Near.Point = PointOf(90, 0)
		}
		maybe(2, func() { q.Near.Chord = Chord(pick(r, []float64{1, 10, 100, 2000, 9000, 20100})) })
	})
	maybe(6, func() {
		south, west := r.Float64()*170-90, r.Float64()*360-180
		if r.IntN(2) == 0 {
			q.Box = NewBox(south, west, south+r.Float64()*(90-south), r.Float64()*360-180)
		} else {
			q.Box = NewBox(52.4, 13.2, 52.6, 13.5)
		}
	})
	maybe(3, func() {
		for range 1 + r.IntN(2) {
			from := int32(r.IntN(week*60 - 120))
			q.Times = append(q.Times, Span{from, from + 1 + int32(r.IntN(600))%(week*60-from)})
		}
		maybe(2, func() {
			zone, err := time.LoadLocation(pick(r, sampleZones))
			if err != nil {
				panic(err)
			}
			q.Zone = zone
		})
	})
	maybe(5, func() { q.Before = new(now.Add(time.Duration(r.IntN(14*24)) * time.Hour)) })
	if q.Order == Distance && q.Near == nil {
		q.Order = Relevance
	}
	maybe(4, func() { q.Count = []Facet{Kind, CancerType, Language} })
	return q
}
