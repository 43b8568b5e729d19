package index

import (
	"iter"
	"math/bits"
)

// rank divides documents into tiers of like points, whole machine words at a time.
type rank struct {
	mask  []uint64
	terms []rankTerm
	tier  []uint64
	small []uint64 // of a tier with few documents
	few   int      // how many documents the tiers have at most, but for the last, that one look at all documents divides
	least int
	tally []int // documents by points, from least on
}

type rankTerm struct {
	masks  [][]uint64 // of the levels, best first, as long as mask
	points []int
	base   int
}

func (r *search) rank(mask []uint64) *rank {
	k := &rank{mask: mask, tier: r.blank(r.n), small: r.blank(r.n), few: r.few >> 4}
	most := 0
	var spare []uint64
	for _, t := range r.terms {
		rt := rankTerm{base: t.base}
		for _, l := range t.levels {
			if l.points == t.base {
				continue
			}
			m := r.blank(r.n)
			for _, w := range l.ways {
				spare = r.join(m, w, spare)
			}
			rt.masks, rt.points = append(rt.masks, m), append(rt.points, l.points)
		}
		k.least += t.base
		if len(rt.points) > 0 {
			most += max(rt.points[0], t.base)
			k.terms = append(k.terms, rt)
		} else {
			most += t.base
		}
	}
	k.tally = make([]int, most-k.least+1)
	for i, w := range mask {
		if w != 0 {
			k.split(i, 0, w, 0, func(part uint64, points int) { k.tally[points] += bits.OnesCount64(part) })
		}
	}
	return k
}

// split divides the documents of one machine word by the points above least that they get from the terms from t on.
func (k *rank) split(i, t int, part uint64, points int, emit func(part uint64, points int)) {
	if t == len(k.terms) {
		emit(part, points)
		return
	}
	term := &k.terms[t]
	for l, m := range term.masks {
		if hit := part & m[i]; hit != 0 {
			k.split(i, t+1, hit, points+term.points[l]-term.base, emit)
			if part &^= hit; part == 0 {
				return
			}
		}
	}
	k.split(i, t+1, part, points, emit)
}

// count returns how many documents have the points.
func (k *rank) count(points int) int { return k.tally[points-k.least] }

// descending yields the points that documents have, most first, each with the documents that have them. The bits are good
// until the next turn.
func (k *rank) descending() iter.Seq2[int, []uint64] {
	return func(yield func(int, []uint64) bool) {
		all := count(k.mask)
		for above := len(k.tally) - 1; above >= 0; {
			if k.tally[above] == all {
				yield(above+k.least, k.mask)
				return
			}
			last, n := above, 0
			for last > 0 && n+k.tally[last] <= k.few {
				n += k.tally[last]
				last--
			}
			upper := make([][]uint32, above-last) // of the points above the last tier's
			tier := k.tier
			clear(tier)
			for i, w := range k.mask {
				if w == 0 {
					continue
				}
				k.split(i, 0, w, 0, func(part uint64, points int) {
					switch {
					case points == last:
						tier[i] |= part
					case points > last && points <= above:
						for ; part != 0; part &= part - 1 {
							upper[points-last-1] = append(upper[points-last-1], uint32(i<<6+bits.TrailingZeros64(part)))
						}
					}
				})
			}
			for points := above; points > last; points-- {
				list := upper[points-last-1]
				if len(list) == 0 {
					continue
				}
				for _, d := range list {
					k.small[d>>6] |= 1 << (d & 63)
				}
				more := yield(points+k.least, k.small)
				for _, d := range list {
					k.small[d>>6] = 0
				}
				if !more {
					return
				}
			}
			if k.tally[last] > 0 && !yield(last+k.least, tier) {
				return
			}
			above = last - 1
		}
	}
}
