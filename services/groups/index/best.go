package index

import (
	"bytes"
	"math"
	"slices"

	"github.com/google/uuid"
)

// best keeps the least of what it is offered, by a number and then by id.
type best struct {
	most  int
	items []item // a heap, greatest first, once it is full

	// What does not come after these is passed over.
	after   bool
	afterA  float64
	afterID uuid.UUID
}

type item struct {
	a  float64
	d  uint32
	id uuid.UUID
}

func (x *item) less(y *item) bool {
	return x.a < y.a || x.a == y.a && bytes.Compare(x.id[:], y.id[:]) < 0
}

// limit is the number that an offer must not exceed.
func (b *best) limit() float64 {
	if len(b.items) < b.most {
		return math.Inf(1)
	}
	if b.most == 0 {
		return math.Inf(-1)
	}
	return b.items[0].a
}

// passed reports whether everything up to the number is passed over.
func (b *best) passed(a float64) bool { return b.after && a < b.afterA }

// wants reports whether an offer would be kept.
func (b *best) wants(a float64, id uuid.UUID) bool {
	if b.after && (a < b.afterA || a == b.afterA && bytes.Compare(id[:], b.afterID[:]) <= 0) {
		return false
	}
	if len(b.items) < b.most {
		return true
	}
	return b.most > 0 && (&item{a: a, id: id}).less(&b.items[0])
}

// offer keeps what it wants.
func (b *best) offer(a float64, id uuid.UUID, d uint32) {
	x := item{a, d, id}
	if len(b.items) < b.most {
		b.items = append(b.items, x)
		if len(b.items) == b.most {
			for i := len(b.items)/2 - 1; i >= 0; i-- {
				b.sink(i)
			}
		}
		return
	}
	b.items[0] = x
	b.sink(0)
}

func (b *best) sink(i int) {
	q := b.items
	x := q[i]
	for {
		c := 2*i + 1
		if c >= len(q) {
			break
		}
		if c+1 < len(q) && q[c].less(&q[c+1]) {
			c++
		}
		if !x.less(&q[c]) {
			break
		}
		q[i] = q[c]
		i = c
	}
	q[i] = x
}

// sorted returns what was kept, least first.
func (b *best) sorted() []item {
	slices.SortFunc(b.items, func(x, y item) int {
		switch {
		case x.less(&y):
			return -1
		case y.less(&x):
			return 1
		}
		return 0
	})
	return b.items
}
