package index

import (
	"math"
	"math/bits"
	"slices"
)

// run finds the results of a query.
func (r *search) run() Result {
	mask, n := r.match(-1)
	res := Result{Words: r.reached}
	want := r.q.Limit + 1 // one more tells whether there are others
	var hits []item
	switch r.q.Order {
	case Distance:
		b := r.best(want, true, func(k *Key) float64 { return k.First })
		r.nearestOf(mask, n, b)
		hits = b.sorted()
		res.Hits = r.hits(hits, func(i item) Key { return Key{i.a, 0, i.id} })
	case Soonest:
		b := r.best(want, true, func(k *Key) float64 { return k.First })
		r.soonest(mask, n, b)
		hits = b.sorted()
		res.Hits = r.hits(hits, func(i item) Key { return Key{i.a, 0, i.id} })
	default:
		res.Hits = r.relevant(mask, n, want)
	}
	if len(res.Hits) > r.q.Limit {
		res.Hits, res.More = res.Hits[:r.q.Limit], true
	}
	if len(r.q.Count) > 0 {
		res.Total, res.Counts = r.counts()
	}
	return res
}

// best returns an empty best; with after, it passes over what the page before has shown.
func (r *search) best(most int, after bool, number func(k *Key) float64) *best {
	b := &best{most: most, items: make([]item, 0, most)}
	if k := r.q.After; k != nil && after {
		b.after, b.afterA, b.afterID = true, number(k), k.ID
	}
	return b
}

func (r *search) hits(items []item, key func(i item) Key) []Hit {
	out := make([]Hit, len(items))
	for i, x := range items {
		out[i] = Hit{key(x), -1}
		if n := r.q.Near; n != nil && r.at[x.d] != (Point{}) {
			out[i].Chord = r.at[x.d].to(n.Point)
		}
	}
	return out
}

// nearestOf offers the documents of mask by their distance.
func (r *search) nearestOf(mask []uint64, n int, b *best) {
	p := r.q.Near.Point
	if n <= r.few {
		eachBit(mask, func(d uint32) bool {
			c := Farthest
			if at := r.at[d]; at != (Point{}) {
				c = at.to(p)
			}
			if b.wants(c, r.ids[d]) && r.ok(d) {
				b.offer(c, r.ids[d], d)
			}
			return true
		})
		return
	}
	reach := math.Inf(1)
	if r.q.Near.Chord > 0 && !r.q.Near.Remote {
		reach = r.q.Near.Chord
	}
	r.nearest(mask, p, reach, r.ok, b, &r.queue)
}

// soonest offers the documents of mask by their next session.
func (r *search) soonest(mask []uint64, n int, b *best) {
	offer := func(d uint32, from, to float64) {
		if t := r.next(d, r.now); t >= from && t < to && b.wants(t, r.ids[d]) && r.ok(d) {
			b.offer(t, r.ids[d], d)
		}
	}
	from := r.now
	if b.after && b.afterA > float64(from) {
		if b.afterA >= Never {
			from = r.last + 1
		} else {
			from = int64(b.afterA)
		}
	}
	hour := from / 3600
	start := 0.0
	if n > r.few && from <= r.last {
		// What starts in an hour is in the set of that hour of the week: walk them until there are enough.
		for h := hour; h < hour+week; h++ {
			lo, hi := float64(h*3600), float64((h+1)*3600)
			m := &r.utc[hourOf(h*3600)]
			if m.bits != nil {
				for i := range min(len(m.bits), len(mask)) {
					for w := mask[i] & m.bits[i]; w != 0; w &= w - 1 {
						offer(uint32(i<<6+bits.TrailingZeros64(w)), lo, hi)
					}
				}
			} else {
				for _, d := range m.list {
					if mask[d>>6]>>(d&63)&1 == 1 {
						offer(d, lo, hi)
					}
				}
			}
			if b.limit() < hi {
				return
			}
		}
		start = float64((hour + week) * 3600)
	}
	eachBit(mask, func(d uint32) bool {
		offer(d, start, math.Inf(1))
		return true
	})
}

// relevant returns the documents of mask by points, those with like points by distance where that is asked for, else by
// their next session.
func (r *search) relevant(mask []uint64, n, want int) []Hit {
	ranks := r.rank(mask)
	var out []Hit
	for points, tier := range ranks.descending() {
		if len(out) == want {
			break
		}
		first := float64(-points)
		k := r.q.After
		if k != nil && first < k.First {
			continue
		}
		b := r.best(want-len(out), k != nil && k.First == first, func(k *Key) float64 { return k.Second })
		if r.q.Near != nil {
			r.nearestOf(tier, min(n, ranks.count(points)), b)
		} else {
			r.soonest(tier, min(n, ranks.count(points)), b)
		}
		out = append(out, r.hits(b.sorted(), func(i item) Key { return Key{first, i.a, i.id} })...)
	}
	return slices.Clip(out)
}
