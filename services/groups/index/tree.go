package index

import "math/bits"

const (
	leafBits = 6 // a leaf is the 64 documents of one machine word
	fanBits  = 4 // a node has 16 below it
)

// tree is packed over the documents with a place: level 0 holds a cube around each leaf, the last level one around all.
type tree struct {
	levels [][]cube
}

// newTree packs the places of documents in Hilbert order.
func newTree(at []Point) tree {
	var t tree
	leaves := make([]cube, (len(at)+63)>>leafBits)
	for i := range leaves {
		leaves[i] = emptyCube()
		for _, p := range at[i<<leafBits : min((i+1)<<leafBits, len(at))] {
			if p != (Point{}) { // a gap before the next multiple of 64
				leaves[i].extend(cube{p, p})
			}
		}
	}
	for below := leaves; len(below) > 0; {
		t.levels = append(t.levels, below)
		if len(below) == 1 {
			break
		}
		above := make([]cube, (len(below)+1<<fanBits-1)>>fanBits)
		for i := range above {
			above[i] = emptyCube()
			for _, c := range below[i<<fanBits : min((i+1)<<fanBits, len(below))] {
				above[i].extend(c)
			}
		}
		below = above
	}
	return t
}

// visit is a node of the tree that a search has yet to open.
type visit struct {
	bound float64 // nothing in it is nearer
	level int32
	node  int32
}

// visits is a heap, nearest first.
type visits []visit

func (h *visits) push(v visit) {
	*h = append(*h, v)
	q := *h
	i := len(q) - 1
	for i > 0 {
		p := (i - 1) / 2
		if q[p].bound <= v.bound {
			break
		}
		q[i] = q[p]
		i = p
	}
	q[i] = v
}

func (h *visits) pop() visit {
	q := *h
	top, last := q[0], q[len(q)-1]
	q = q[:len(q)-1]
	*h = q
	i := 0
	for {
		c := 2*i + 1
		if c >= len(q) {
			break
		}
		if c+1 < len(q) && q[c+1].bound < q[c].bound {
			c++
		}
		if last.bound <= q[c].bound {
			break
		}
		q[i] = q[c]
		i = c
	}
	if len(q) > 0 {
		q[i] = last
	}
	return top
}

// nearest offers to best the documents of mask, by their distance from p, nearest first as far as the tree reaches, none
// that cannot be among the best. reach is the squared chord beyond which ok takes nothing.
func (s *state) nearest(mask []uint64, p Point, reach float64, ok func(d uint32) bool, best *best, queue *visits) {
	offer := func(d uint32) {
		c := Farthest
		if at := s.at[d]; at != (Point{}) {
			c = at.to(p)
		}
		if best.wants(c, s.ids[d]) && ok(d) {
			best.offer(c, s.ids[d], d)
		}
	}
	*queue = (*queue)[:0]
	if top := len(s.tree.levels) - 1; top >= 0 {
		queue.push(visit{s.tree.levels[top][0].nearest(p), int32(top), 0})
	}
	for len(*queue) > 0 {
		v := queue.pop()
		if v.bound > reach || v.bound > best.limit() {
			break
		}
		if v.level == 0 {
			for w := mask[v.node]; w != 0; w &= w - 1 {
				offer(uint32(v.node)<<leafBits + uint32(bits.TrailingZeros64(w)))
			}
			continue
		}
		below := s.tree.levels[v.level-1]
		from := int(v.node) << fanBits
		for i := from; i < min(from+1<<fanBits, len(below)); i++ {
			if v.level == 1 && mask[i] == 0 {
				continue
			}
			if b := below[i].nearest(p); b <= reach && b <= best.limit() && !best.passed(below[i].farthest(p)) {
				queue.push(visit{b, v.level - 1, int32(i)})
			}
		}
	}
	// Behind the tree: what came since, then, only if there are too few so far, what has no place.
	for i := s.base >> 6; i < len(mask); i++ {
		for w := mask[i]; w != 0; w &= w - 1 {
			offer(uint32(i<<6 + bits.TrailingZeros64(w)))
		}
	}
	if best.limit() < Farthest || reach < Farthest {
		return
	}
	for i := (s.placed + 63) >> 6; i < s.base>>6; i++ {
		for w := mask[i]; w != 0; w &= w - 1 {
			offer(uint32(i<<6 + bits.TrailingZeros64(w)))
		}
	}
}

// within adds to words the documents in the tree that in takes, looking only into nodes that open takes; what lies behind
// the tree is tried one by one.
func (s *state) within(words []uint64, open func(c *cube) bool, in func(p Point) bool) {
	try := func(w int) {
		for b := s.live[w]; b != 0; b &= b - 1 {
			if d := w<<6 + bits.TrailingZeros64(b); in(s.at[d]) {
				words[w] |= b & -b
			}
		}
	}
	var descend func(level, node int)
	descend = func(level, node int) {
		if !open(&s.tree.levels[level][node]) {
			return
		}
		if level == 0 {
			try(node)
			return
		}
		for i := node << fanBits; i < min((node+1)<<fanBits, len(s.tree.levels[level-1])); i++ {
			descend(level-1, i)
		}
	}
	if top := len(s.tree.levels) - 1; top >= 0 {
		descend(top, 0)
	}
	for w := s.base >> 6; w < len(s.live); w++ {
		try(w)
	}
}
