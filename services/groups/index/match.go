package index

import (
	"math/bits"
	"slices"
)

func popcount(w uint64) int { return bits.OnesCount64(w) }

// usualFew is up to how many candidates are looked at one by one rather than with the whole index's bits.
const usualFew = 8192

// scratch is memory that a search needs and gives back.
type scratch struct {
	free  [][]uint64
	used  [][]uint64
	queue visits
	list  []uint32
}

// blank returns zeroed bits for n documents, good until the search ends.
func (c *scratch) blank(n int) []uint64 {
	n = (n + 63) >> 6
	var w []uint64
	if last := len(c.free) - 1; last >= 0 && cap(c.free[last]) >= n {
		w, c.free = c.free[last][:n], c.free[:last]
		clear(w)
	} else {
		if last >= 0 {
			c.free = c.free[:last] // has become too short
		}
		w = make([]uint64, n, n+room>>6)
	}
	c.used = append(c.used, w)
	return w
}

func (c *scratch) reset() {
	c.free = append(c.free, c.used...)
	c.used = c.used[:0]
	c.list = c.list[:0]
}

// search is a query under way.
type search struct {
	*state
	*scratch
	*plan
	q   *Query
	now int64
	few int

	zone   *offsets
	before int64

	checks []func(d uint32) bool
	region []uint64 // the documents in the circle or box; nil: anywhere, or decided one by one
}

func (s *state) begin(q *Query, mem *scratch, few int) *search {
	r := &search{state: s, scratch: mem, plan: s.plan(q), q: q, now: q.Now.Unix(), few: few}
	if q.Before != nil {
		r.before = q.Before.Unix()
		if q.Before.Nanosecond() > 0 {
			r.before++
		}
	}
	r.times()
	r.conditions()
	return r
}

// times adds the condition on hours of the week, which takes in too many: what a session must meet exactly is in conditions.
func (r *search) times() {
	if len(r.q.Times) == 0 {
		return
	}
	in, sets := wallHours(r.q.Times), &r.local
	if r.q.Zone != nil {
		r.zone = newOffsets(r.q.Zone, r.q.Now, r.last)
		in, sets = r.zone.hours(r.q.Times), &r.utc
	}
	c := clause{facet: -1}
	for h, ok := range in {
		if ok {
			c.ways = append(c.ways, []*set{&sets[h]})
		}
	}
	r.clauses = append(r.clauses, c)
}

// conditions collects what is decided document by document.
func (r *search) conditions() {
	q, s := r.q, r.state
	if q.HasAge {
		r.checks = append(r.checks, func(d uint32) bool { return s.minAge[d] <= q.Age && q.Age <= s.maxAge[d] })
	}
	if q.MaxCost != nil {
		most, in := q.MaxCost.amount(), s.known[q.MaxCost.Currency]
		r.checks = append(r.checks, func(d uint32) bool {
			c := s.currencies[d]
			return c == gift || c != 0 && c == in && s.fees[d] <= most
		})
	}
	if q.MinSeats > 0 && !slices.Contains(seatSteps[:], q.MinSeats) {
		r.checks = append(r.checks, func(d uint32) bool { return s.seats[d] < 0 || s.seats[d] >= q.MinSeats })
	}
	if n := q.Near; n != nil && n.Chord > 0 {
		r.checks = append(r.checks, func(d uint32) bool {
			return s.at[d] != Point{} && s.at[d].to(n.Point) <= n.Chord || n.Remote && s.remote.has(d)
		})
	}
	if q.Box != nil {
		r.checks = append(r.checks, func(d uint32) bool { return q.Box.Contains(s.at[d]) })
	}
	if len(q.Times) > 0 {
		r.checks = append(r.checks, r.suits)
	}
	if r.q.Before != nil {
		r.checks = append(r.checks, func(d uint32) bool {
			return slices.ContainsFunc(s.sessions(d), func(t uint32) bool { return int64(t) > r.now && int64(t) < r.before })
		})
	}
}

// suits reports whether a session to come starts in one of the times asked for.
func (r *search) suits(d uint32) bool {
	first := r.first[d]
	for i, t := range r.sessions(d) {
		if int64(t) <= r.now {
			continue
		}
		var m int32
		if r.zone != nil {
			m = r.zone.minute(int64(t))
		} else {
			m = int32(r.minutes[first+uint32(i)])
		}
		for _, w := range r.q.Times {
			if w.From <= m && m < w.To {
				return true
			}
		}
	}
	return false
}

func (r *search) ok(d uint32) bool {
	for _, c := range r.checks {
		if !c(d) {
			return false
		}
	}
	return true
}

// match returns the live documents that meet all clauses but those of one facet (-1: none is left out), and how many they are. What
// is decided document by document is not decided yet, except where it is cheaper so.
func (r *search) match(without int) ([]uint64, int) {
	clauses := make([]*clause, 0, len(r.clauses))
	for i := range r.clauses {
		if c := &r.clauses[i]; without < 0 || c.facet != without {
			clauses = append(clauses, c)
		}
	}
	slices.SortFunc(clauses, func(a, b *clause) int { return a.most() - b.most() })
	words := r.blank(r.n)
	if len(clauses) > 0 && clauses[0].most() < r.few {
		r.list = r.list[:0]
		for _, w := range clauses[0].ways {
			r.list = r.gather(w)
		}
		n := 0
		for _, d := range r.list {
			if bit := uint64(1) << (d & 63); words[d>>6]&bit == 0 && r.isLive(d) && all(clauses[1:], d) {
				words[d>>6] |= bit
				n++
			}
		}
		return words, n
	}
	copy(words, r.live)
	var union, both []uint64
	for _, c := range clauses {
		if len(c.ways) == 1 {
			for _, m := range c.ways[0] {
				m.andInto(words)
			}
			continue
		}
		if union == nil {
			union = r.blank(r.n)
		} else {
			clear(union)
		}
		for _, w := range c.ways {
			both = r.join(union, w, both)
		}
		for i, u := range union {
			words[i] &= u
		}
	}
	if reg := r.regionWords(); reg != nil {
		for i, w := range reg {
			words[i] &= w
		}
	}
	return words, count(words)
}

// gather appends to the list the documents that are in all sets of the way.
func (r *search) gather(way []*set) []uint32 {
	m := least(way)
	m.each(func(d uint32) bool {
		for _, o := range way {
			if o != m && !o.has(d) {
				return true
			}
		}
		r.list = append(r.list, d)
		return true
	})
	return r.list
}

// join adds to words the documents that are in all sets of the way; spare is for its own use, and returned for the next time.
func (r *search) join(words []uint64, way []*set, spare []uint64) []uint64 {
	if len(way) == 1 {
		way[0].orInto(words)
		return spare
	}
	if m := least(way); m.n < r.few {
		r.list = r.list[:0]
		for _, d := range r.gather(way) {
			words[d>>6] |= 1 << (d & 63)
		}
		return spare
	}
	if spare == nil {
		spare = r.blank(r.n)
	} else {
		clear(spare)
	}
	way[0].orInto(spare)
	for _, m := range way[1:] {
		m.andInto(spare)
	}
	for i, w := range spare {
		words[i] |= w
	}
	return spare
}

// regionWords returns the documents in the circle or box where that is found out best beforehand, else nil: by distance, the
// tree is walked from the middle anyhow.
func (r *search) regionWords() []uint64 {
	if r.region != nil {
		return r.region
	}
	n, box := r.q.Near, r.q.Box
	circle := n != nil && n.Chord > 0 && (r.q.Order != Distance || len(r.q.Count) > 0)
	if !circle && box == nil {
		return nil
	}
	r.region = r.blank(r.n)
	if circle {
		r.within(r.region, func(c *cube) bool { return c.nearest(n.Point) <= n.Chord }, func(p Point) bool { return p != Point{} && p.to(n.Point) <= n.Chord })
		if n.Remote {
			r.remote.orInto(r.region)
		}
	}
	if box != nil {
		in := r.region
		if circle {
			in = r.blank(r.n)
		}
		r.within(in, func(c *cube) bool { return c.meets(&box.bounds) }, box.Contains)
		if circle {
			for i, w := range in {
				r.region[i] &= w
			}
		}
	}
	return r.region
}

func all(clauses []*clause, d uint32) bool {
	for _, c := range clauses {
		if !c.has(d) {
			return false
		}
	}
	return true
}
