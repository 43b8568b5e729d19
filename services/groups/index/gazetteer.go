package index

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"cairn.care/services/formats"
)

// Found is a place that the groups' addresses name.
type Found struct {
	Address        // what is known of it; PostalCode only of a place found by postal code
	Point    Point // the middle of its groups
	Groups   int
	Spelling string // as one would ask for it and nothing else: "Portland, OR, US"
}

// site is a place, with the sum of its groups' points in billionths: sums of whole numbers do not depend on their order.
type site struct {
	Address
	x, y, z int64
	groups  int
}

// gazetteer knows the towns and postal codes of the documents that have a place.
type gazetteer struct {
	sites  []site
	byKey  map[string]uint32   // town or code with region and country → site
	byName map[string][]uint32 // folded town, or code without spaces → sites
}

func newGazetteer() gazetteer {
	return gazetteer{byKey: map[string]uint32{}, byName: map[string][]uint32{}}
}

// name returns the text as places are compared: its folded words.
func name(text string) string {
	var b strings.Builder
	tokens(fold(text), func(w string) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	})
	return b.String()
}

// code returns a postal code as such are compared.
func code(text string) string { return strings.ReplaceAll(name(text), " ", "") }

// add counts a document at its town and its postal code and returns the numbers of both, plus one; 0 is none.
func (g *gazetteer) add(a Address, p Point) (town, post uint32) {
	if p == (Point{}) {
		return 0, 0
	}
	return g.town(a, p), g.postCode(a, p)
}

func (g *gazetteer) town(a Address, p Point) uint32 {
	n := name(a.Locality)
	if n == "" {
		return 0
	}
	a.PostalCode = ""
	return g.count("t|"+n+"|"+name(a.Region)+"|"+name(a.Country), n, a, p)
}

func (g *gazetteer) postCode(a Address, p Point) uint32 {
	c := code(a.PostalCode)
	if c == "" {
		return 0
	}
	return g.count("p|"+c+"|"+name(a.Country), c, a, p)
}

func (g *gazetteer) count(key, name string, a Address, p Point) uint32 {
	i, ok := g.byKey[key]
	if !ok {
		i = uint32(len(g.sites))
		for _, s := range []*string{&a.Locality, &a.Region, &a.PostalCode, &a.Country} {
			*s = strings.Clone(*s)
		}
		g.sites = append(g.sites, site{Address: a})
		g.byKey[key], g.byName[name] = i, append(g.byName[name], i)
	}
	g.sites[i].move(p, 1)
	return i + 1
}

func (t *site) move(p Point, by int64) {
	t.x += by * int64(math.Round(p.X*1e9))
	t.y += by * int64(math.Round(p.Y*1e9))
	t.z += by * int64(math.Round(p.Z*1e9))
	t.groups += int(by)
}

// remove takes back what add counted.
func (g *gazetteer) remove(town, post uint32, p Point) {
	for _, i := range [2]uint32{town, post} {
		if i > 0 {
			g.sites[i-1].move(p, -1)
		}
	}
}

func (t *site) found() Found {
	x, y, z := float64(t.x), float64(t.y), float64(t.z)
	f := Found{Address: t.Address, Groups: t.groups}
	if l := math.Sqrt(x*x + y*y + z*z); l > 0 {
		f.Point = Point{x / l, y / l, z / l}
	}
	var parts []string
	for _, s := range []string{cmp.Or(t.PostalCode, t.Locality), t.Region, t.Country} {
		if s != "" && (s != t.Region || t.PostalCode == "") {
			parts = append(parts, s)
		}
	}
	f.Spelling = strings.Join(parts, ", ")
	return f
}

// find returns the places that the text can mean, the one with the most groups first: a town or a postal code, then, behind
// commas, any of region and country, by code or name.
func (g *gazetteer) find(text string) []Found {
	parts := strings.Split(text, ",")
	var out []Found
	add := func(key string, with []string, post bool) {
		for _, i := range g.byName[key] {
			t := &g.sites[i]
			if t.groups == 0 || (t.PostalCode != "") != post {
				continue
			}
			ok := true
			for _, w := range with {
				w = name(w)
				ok = ok && (w == "" || w == name(t.Region) || w == name(t.Country) || alike(w, t) || post && w == name(t.Locality))
			}
			if ok {
				out = append(out, t.found())
			}
		}
	}
	add(code(parts[0]), parts[1:], true)
	add(name(parts[0]), parts[1:], false)
	// "64110 Kansas City" and "Kansas City 64110", also "Kansas City MO" and "Albany New York"
	words := strings.Fields(parts[0])
	for last := len(words) - 1; last > 0 && len(out) == 0; last-- {
		final, front := strings.Join(words[last:], " "), strings.Join(words[:last], " ")
		if last == len(words)-1 {
			add(code(words[0]), append([]string{strings.Join(words[1:], " ")}, parts[1:]...), true)
			add(code(final), append([]string{front}, parts[1:]...), true)
		}
		add(name(front), append([]string{final}, parts[1:]...), false)
	}
	slices.SortFunc(out, func(a, b Found) int {
		return cmp.Or(cmp.Compare(b.Groups, a.Groups), cmp.Compare(a.Spelling, b.Spelling))
	})
	return out
}

// alike reports whether a folded name is another one of the site's region or country: "texas" of TX, "usa" of US.
func alike(w string, t *site) bool {
	if code, ok := formats.CountryNamed(w); ok && strings.EqualFold(code, t.Country) {
		return true
	}
	code, ok := formats.StateCode(w)
	own, known := formats.StateCode(t.Region)
	return ok && known && code == own
}

// maxAlike is how many towns are proposed for one that is not known.
const maxAlike = 5

// near returns the spellings of towns whose names are within some errors of typing of the text's, the nearest first.
func (g *gazetteer) near(text string) []string {
	town, _, _ := strings.Cut(text, ",")
	asked := []rune(name(town))
	most := forgiven(strings.ReplaceAll(string(asked), " ", ""))
	if most == 0 {
		return nil
	}
	type hit struct {
		Found
		errors int
	}
	var hits []hit
	for key, sites := range g.byName {
		errors := distance(asked, []rune(key), most)
		if errors > most {
			continue
		}
		for _, i := range sites {
			if t := &g.sites[i]; t.groups > 0 && t.PostalCode == "" {
				hits = append(hits, hit{t.found(), errors})
			}
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(a.errors, b.errors), cmp.Compare(b.Groups, a.Groups), cmp.Compare(a.Spelling, b.Spelling))
	})
	var out []string
	for _, h := range hits[:min(len(hits), maxAlike)] {
		out = append(out, h.Spelling)
	}
	return out
}

// mover brings the places of documents from another gazetteer.
type mover struct {
	to    *gazetteer
	sites []site
	seen  []uint32 // number in to, plus one
}

func newMover(to *gazetteer, sites []site) *mover {
	return &mover{to, sites, make([]uint32, len(sites))}
}

// move counts a document at a place, given and returned plus one.
func (m *mover) move(place uint32, p Point) uint32 {
	if place == 0 {
		return 0
	}
	if n := m.seen[place-1]; n > 0 {
		m.to.sites[n-1].move(p, 1)
		return n
	}
	a := m.sites[place-1].Address
	var n uint32
	if a.PostalCode != "" {
		n = m.to.postCode(a, p)
	} else {
		n = m.to.town(a, p)
	}
	m.seen[place-1] = n
	return n
}
