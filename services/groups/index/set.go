package index

import (
	"math/bits"
	"slices"
)

// set is a set of document numbers: a sorted list while it is sparse, bits when it is dense. Nearly all the time of a broad
// search goes into intersecting dense sets, which is an AND of machine words here.
type set struct {
	list []uint32 // sorted; nil when dense
	bits []uint64 // nil when sparse; bits beyond its end are zero
	n    int      // members
}

const (
	leastDense = 256 // a set with fewer members is a list, whatever its density
	sparsity   = 32  // a list member takes as much memory as this many bits
)

func (s *set) has(d uint32) bool {
	if s.bits != nil {
		w := int(d >> 6)
		return w < len(s.bits) && s.bits[w]>>(d&63)&1 == 1
	}
	_, ok := slices.BinarySearch(s.list, d)
	return ok
}

// add puts in a document of an index with as many documents as total.
func (s *set) add(d uint32, total int) {
	if s.bits != nil {
		w := int(d >> 6)
		if w >= len(s.bits) {
			s.bits = slices.Grow(s.bits, w+1-len(s.bits))
			s.bits = s.bits[:w+1] // the rest of the capacity was never written
		}
		if s.bits[w]>>(d&63)&1 == 0 {
			s.bits[w] |= 1 << (d & 63)
			s.n++
		}
		return
	}
	if last := len(s.list) - 1; last < 0 || s.list[last] < d {
		s.list = append(s.list, d)
	} else if i, ok := slices.BinarySearch(s.list, d); !ok {
		s.list = slices.Insert(s.list, i, d)
	} else {
		return
	}
	s.n++
	if s.n >= leastDense && s.n*sparsity > total {
		s.bits = make([]uint64, int(max(uint32(total), s.list[len(s.list)-1]+1)+63)>>6, int(total>>6)+room>>6)
		for _, d := range s.list {
			s.bits[d>>6] |= 1 << (d & 63)
		}
		s.list = nil
	}
}

func (s *set) remove(d uint32) {
	if s.bits != nil {
		if s.has(d) {
			s.bits[d>>6] &^= 1 << (d & 63)
			s.n--
		}
		return
	}
	if i, ok := slices.BinarySearch(s.list, d); ok {
		s.list = slices.Delete(s.list, i, i+1)
		s.n--
	}
}

// each calls fn for every member in order until it returns false.
func (s *set) each(fn func(d uint32) bool) {
	if s.bits == nil {
		for _, d := range s.list {
			if !fn(d) {
				return
			}
		}
		return
	}
	for w, word := range s.bits {
		for ; word != 0; word &= word - 1 {
			if !fn(uint32(w<<6 + bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}

// orInto adds the members to words, which are long enough for all.
func (s *set) orInto(words []uint64) {
	if s.bits == nil {
		for _, d := range s.list {
			words[d>>6] |= 1 << (d & 63)
		}
		return
	}
	words = words[:len(s.bits)]
	for i, w := range s.bits {
		words[i] |= w
	}
}

// andInto takes from words what is not in the set.
func (s *set) andInto(words []uint64) {
	if s.bits != nil {
		common := min(len(words), len(s.bits))
		a, b := words[:common], s.bits[:common]
		for i := range a {
			a[i] &= b[i]
		}
		clear(words[common:])
		return
	}
	w, kept := -1, uint64(0) // the word that the list is in, and what stays of it
	done := 0                // words before are settled
	settle := func() {
		if w >= 0 {
			clear(words[done:w])
			words[w] &= kept
			done = w + 1
		}
	}
	for _, d := range s.list {
		if int(d>>6) != w {
			settle()
			w, kept = int(d>>6), 0
		}
		kept |= 1 << (d & 63)
	}
	settle()
	clear(words[done:])
}

// countIn returns how many members are in words.
func (s *set) countIn(words []uint64) int {
	n := 0
	if s.bits == nil {
		for _, d := range s.list {
			n += int(words[d>>6] >> (d & 63) & 1)
		}
		return n
	}
	common := min(len(words), len(s.bits))
	a, b := words[:common], s.bits[:common]
	for i := range a {
		n += bits.OnesCount64(a[i] & b[i])
	}
	return n
}

func count(words []uint64) int {
	n := 0
	for _, w := range words {
		n += bits.OnesCount64(w)
	}
	return n
}

// eachBit calls fn for every bit of words in order until it returns false.
func eachBit(words []uint64, fn func(d uint32) bool) {
	for i, w := range words {
		for ; w != 0; w &= w - 1 {
			if !fn(uint32(i<<6 + bits.TrailingZeros64(w))) {
				return
			}
		}
	}
}
