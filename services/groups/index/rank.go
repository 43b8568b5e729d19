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
	least int
	tally []int // documents by points, from least on
}

type rankTerm struct {
	masks  [][]uint64 // of the levels, best first, as long as mask
	points []int
	base   int
}

func (r *search) rank(mask []uint64) *rank {
	k := &rank{mask: mask, tier: r.blank(r.n)}
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
		for above := len(k.tally) - 1; above >= 0; above-- {
			if k.tally[above] == 0 {
				continue
			}
			tier := k.mask
			if k.tally[above] < count(k.mask) {
				tier = k.tier
				clear(tier)
				for i, w := range k.mask {
					if w != 0 {
						k.split(i, 0, w, 0, func(part uint64, points int) {
							if points == above {
								tier[i] |= part
							}
						})
					}
				}
			}
			if !yield(above+k.least, tier) {
				return
			}
		}
	}
}
