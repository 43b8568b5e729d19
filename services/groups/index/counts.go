package index

import (
	"cmp"
	"slices"
)

// counts returns how many documents the query finds in all, and for each facet asked for how many have each value among
// those that meet everything but the facet's own filters.
func (r *search) counts() (int, map[Facet][]Count) {
	mask, _ := r.match(-1)
	total := r.settle(mask)
	out := make(map[Facet][]Count, len(r.q.Count))
	for _, f := range r.q.Count {
		in, n := mask, total
		if slices.ContainsFunc(r.clauses, func(c clause) bool { return c.facet == int(f) }) {
			in, _ = r.match(int(f))
			n = r.settle(in)
		}
		out[f] = r.tally(f, in, n)
	}
	return total, out
}

// settle takes from words what does not meet the conditions decided document by document and returns what is left.
func (r *search) settle(words []uint64) int {
	if len(r.checks) > 0 {
		eachBit(words, func(d uint32) bool {
			if !r.ok(d) {
				words[d>>6] &^= 1 << (d & 63)
			}
			return true
		})
	}
	return count(words)
}

// tally counts the values of a facet among n documents, the most frequent first.
func (r *search) tally(f Facet, words []uint64, n int) []Count {
	var out []Count
	r.list = r.list[:0]
	if n <= r.few/8 { // ask each document
		eachBit(words, func(d uint32) bool {
			r.list = append(r.list, d)
			return true
		})
	}
	for v, m := range r.values[f] {
		groups := 0
		switch {
		case n == 0:
		case n <= r.few/8 && (m.bits != nil || n < m.n/16):
			for _, d := range r.list {
				if m.has(d) {
					groups++
				}
			}
		default:
			groups = m.countIn(words)
		}
		if groups > 0 {
			out = append(out, Count{v, groups})
		}
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Groups, a.Groups), cmp.Compare(a.Value, b.Value)) })
	return out
}
