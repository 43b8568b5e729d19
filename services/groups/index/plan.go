package index

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"cairn.care/services/cancertype"
)

// clause is a condition: at least one of the ways must be met, each by all of its sets.
type clause struct {
	ways  [][]*set
	facet int // whose filter it is; -1: none
}

func (c *clause) most() int {
	n := 0
	for _, w := range c.ways {
		n += least(w).n
	}
	return n
}

// least returns the smallest of the sets.
func least(way []*set) *set {
	return slices.MinFunc(way, func(a, b *set) int { return cmp.Compare(a.n, b.n) })
}

func (c *clause) has(d uint32) bool {
	return slices.ContainsFunc(c.ways, func(w []*set) bool {
		return !slices.ContainsFunc(w, func(s *set) bool { return !s.has(d) })
	})
}

// level is a way to meet a term and what it is worth.
type level struct {
	points int
	ways   [][]*set
}

// term ranks documents by the best of the levels that they reach, the highest first; base is for those that reach none.
type term struct {
	levels []level
	base   int
}

// Points of a word of the query. A cancer counts by what the group is about before what its texts mention.
const (
	inTitle = 4 // the word, or another name of the cancer that it stands for, is in the title
	about   = 3 // the group is about that cancer, or one below it
	wider   = 2 // about a wider cancer
	inText  = 1 // a name of the cancer is in the text
	anyType = 0 // about any cancer
	plainly = 0 // a word that stands for no cancer is in the text
	mistype = 2 // lost by each error of typing
	unended = 1 // lost by a word of which the query has the beginning only
)

// Points for each part of the query that a group has, where no group has all of them: how many it has goes before where, and names
// of cancers and side effects before other words.
const (
	hasWord  = 8
	hasTopic = 32
)

// nearWords is how many words of the vocabulary a misspelt one stands for at most.
const nearWords = 50

// plan is a query as sets.
type plan struct {
	clauses []clause
	terms   []term
	reached []string // words
	several bool     // parts of the query
}

func (s *state) plan(q *Query) *plan {
	p := &plan{}
	for _, f := range q.Filters {
		if f.All {
			for _, v := range f.Values {
				p.clauses = append(p.clauses, clause{s.having(f.Facet, []string{v}), int(f.Facet)})
			}
		} else {
			p.clauses = append(p.clauses, clause{s.having(f.Facet, f.Values), int(f.Facet)})
		}
	}
	reached := map[string]bool{}
	parts := phrases(q.Words)
	p.several = len(parts) > 1
	some := clause{facet: -1}
	for _, ph := range parts {
		t := s.term(ph, reached)
		c := clause{facet: -1}
		for _, l := range t.levels {
			c.ways = append(c.ways, l.ways...)
		}
		if q.Loose {
			t.loosen(ph)
			some.ways = append(some.ways, c.ways...)
		} else {
			p.clauses = append(p.clauses, c)
		}
		p.terms = append(p.terms, t)
	}
	if q.Loose && len(parts) > 0 {
		p.clauses = append(p.clauses, some)
	}
	p.reached = slices.Sorted(maps.Keys(reached))
	if len(q.Ranked) > 0 {
		p.terms = append(p.terms, s.ranked(q.Ranked))
	}
	for _, pref := range q.Preferences {
		p.terms = append(p.terms, s.preferred(pref))
	}
	if step := slices.IndexFunc(seatSteps[:], func(n int32) bool { return n > q.MinSeats }); q.MinSeats > 0 {
		if step < 0 {
			step = len(seatSteps)
		}
		p.clauses = append(p.clauses, clause{[][]*set{{&s.roomy[step-1]}}, -1})
	}
	return p
}

// having returns a way for each value that some document has.
func (s *state) having(f Facet, values []string) [][]*set {
	var ways [][]*set
	for _, v := range values {
		if m := s.values[f][v]; m != nil {
			ways = append(ways, []*set{m})
		}
	}
	return ways
}

// term looks up a part of the query and notes which words it reaches.
func (s *state) term(p phrase, reached map[string]bool) term {
	by := map[int][][]*set{} // points → ways
	if p.topic != (topic{}) {
		for _, w := range p.words {
			reached[w] = true
		}
		s.concept(p.topic, 0, by, reached)
		s.spelled(p.words, inTitle, inText, by)
	} else {
		w := p.words[0]
		found := false
		if known := s.words[w]; known != nil && s.alive(&known.all) {
			found = true
			reached[w] = true
			s.spelled(p.words, inTitle, plainly, by)
		}
		if p.begun {
			found = s.begun(w, by, reached) || found
		}
		if !found {
			s.misspelt(w, by, reached)
		}
	}
	t := term{}
	for _, points := range slices.Backward(slices.Sorted(maps.Keys(by))) {
		t.levels = append(t.levels, level{points, by[points]})
	}
	if n := len(t.levels); n > 0 {
		t.base = t.levels[n-1].points
	}
	return t
}

// loosen makes the term count for those who reach any of its levels, nothing for the others.
func (t *term) loosen(p phrase) {
	for i := range t.levels {
		if t.levels[i].points += hasWord; p.topic != (topic{}) {
			t.levels[i].points += hasTopic - hasWord
		}
	}
	t.base = 0
}

// begun adds the documents that have words beginning so, and those about what such words are names of. It reports whether there
// are any such words.
func (s *state) begun(w string, by map[int][][]*set, reached map[string]bool) bool {
	found := false
	known := conceptsOf()
	done := map[topic]bool{}
	for _, name := range known.singles {
		if t := known.byPhrase[name]; strings.HasPrefix(name, w) && !done[t] {
			found, done[t] = true, true
			s.concept(t, unended, by, reached)
		}
	}
	var hits []*entry
	for mask, i := letters(w), 0; i < len(s.entries); i++ {
		if e := &s.entries[i]; mask&^e.letters == 0 && len(e.text) > len(w) && strings.HasPrefix(e.text, w) {
			hits = append(hits, e)
		}
	}
	slices.SortFunc(hits, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(len(a.text), len(b.text)), cmp.Compare(a.text, b.text))
	})
	n := 0
	for _, h := range hits {
		if n == nearWords {
			break
		}
		if s.alive(&h.all) {
			found = true
			n++
			reached[h.text] = true
			s.spelled([]string{h.text}, inTitle-unended, plainly-unended, by)
		}
	}
	return found
}

// spelled adds the documents that have all the words: together in the title, or anywhere.
func (s *state) spelled(words []string, title, text int, by map[int][][]*set) {
	var titles, texts []*set
	for _, w := range words {
		known := s.words[w]
		if known == nil {
			return
		}
		titles, texts = append(titles, &known.title), append(texts, &known.all)
	}
	by[title] = append(by[title], titles)
	by[text] = append(by[text], texts)
}

// concept adds the documents about a cancer or a side effect, lost being the points that errors of typing cost.
func (s *state) concept(t topic, lost int, by map[int][][]*set, reached map[string]bool) {
	for _, words := range conceptsOf().phrases[t] {
		s.spelled(words, inTitle-lost, inText-lost, by)
		if len(words) == 1 {
			reached[words[0]] = true
		}
	}
	if t.facet != CancerType {
		by[about-lost] = append(by[about-lost], s.having(t.facet, []string{t.value})...)
		return
	}
	by[about-lost] = append(by[about-lost], s.having(CancerType, cancertype.Subtree(t.value))...)
	above := cancertype.Ancestors(t.value)
	if len(above) > 0 {
		by[wider-lost] = append(by[wider-lost], s.having(CancerType, above[:len(above)-1])...)
		by[anyType-lost] = append(by[anyType-lost], s.having(CancerType, above[len(above)-1:])...)
	}
}

// misspelt adds the documents that have the words of the vocabulary nearest to one that is not in it, and those about the
// cancers with nearest names.
func (s *state) misspelt(w string, by map[int][][]*set, reached map[string]bool) {
	most := forgiven(w)
	if most == 0 {
		return
	}
	type hit struct {
		text   string
		errors int
		word   *word
	}
	var hits []hit
	mask, target := letters(w), []rune(w)
	known := conceptsOf()
	for _, name := range known.singles {
		if n := distance(target, []rune(name), most); n <= most {
			s.concept(known.byPhrase[name], n*mistype, by, reached)
		}
	}
	for i := range s.entries {
		e := &s.entries[i]
		if popcount(e.letters^mask) > 2*most || utf8.RuneCountInString(e.text) > len(target)+most || len(e.text) < len(target)-most {
			continue
		}
		if n := distance(target, []rune(e.text), most); n <= most && s.alive(&e.all) {
			hits = append(hits, hit{e.text, n, e.word})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Or(cmp.Compare(a.errors, b.errors), cmp.Compare(a.text, b.text)) })
	for _, h := range hits[:min(len(hits), nearWords)] {
		reached[h.text] = true
		s.spelled([]string{h.text}, inTitle-h.errors*mistype, plainly-h.errors*mistype, by)
	}
}

// ranked returns the term that puts first the groups about the cancers, then those about wider ones, then any.
func (s *state) ranked(codes []string) term {
	var above []string
	for _, c := range codes {
		for _, a := range cancertype.Ancestors(c) {
			if a != cancertype.Any {
				above = append(above, a)
			}
		}
	}
	return term{levels: []level{
		{about, s.having(CancerType, codes)}, {wider, s.having(CancerType, above)}, {1, s.having(CancerType, []string{cancertype.Any})},
	}}
}

// preferred ranks by the grades of a preference.
func (s *state) preferred(p Preference) term {
	t := term{}
	for _, g := range p.Grades {
		t.levels = append(t.levels, level{g.Points, s.having(p.Facet, g.Values)})
	}
	slices.SortStableFunc(t.levels, func(a, b level) int { return cmp.Compare(b.points, a.points) })
	return t
}
