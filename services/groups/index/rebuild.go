package index

import (
	"slices"
	"sync"

	"github.com/google/uuid"
)

// rebuilt returns a state with the documents of old that live holds, numbered anew. Old goes on changing, and what changes is
// applied to the new state afterwards. Of the documents in live only seats and sessions change; everything else is read
// without a lock, from headers of slices that are copied under it, since old only ever appends beyond live.
func rebuilt(old *state, live []uint64, lock sync.Locker) *state {
	lock.Lock()
	was := *old
	lock.Unlock()
	placed, others := was.order(live)

	s := newState()
	s.placed = len(placed)
	start := (len(placed) + 63) &^ 63
	s.base = (start + len(others) + 63) &^ 63
	s.live = make([]uint64, s.base>>6, (s.base+room)>>6)
	from := make([]uint32, s.base) // new number → old number, plus one
	for i, d := range placed {
		from[i] = d + 1
	}
	for i, d := range others {
		from[start+i] = d + 1
	}
	to := make([]uint32, len(live)<<6) // and back
	for d, o := range from {
		if o > 0 {
			to[o-1] = uint32(d) + 1
			s.live[d>>6] |= 1 << (d & 63)
		}
	}
	s.lives, s.unplaced = len(placed)+len(others), len(others)
	s.arrays(&was, old, from, lock)
	s.tree = newTree(s.at[:s.placed])

	m := &mapper{to: to, bits: make([]uint64, s.base>>6), total: s.base}
	for f, sets := range copies(old, len(live), lock) {
		for v, set := range sets {
			if moved := m.move(&set); moved.n > 0 {
				s.values[f][v] = &moved
			}
		}
	}
	remote := was.remote.until(len(live))
	s.remote = m.move(&remote)
	var part [256]struct{ all, title set }
	for entries := range slices.Chunk(was.entries, len(part)) {
		lock.Lock()
		for i, e := range entries {
			part[i].all, part[i].title = e.all.until(len(live)), e.title.until(len(live))
		}
		lock.Unlock()
		for i, e := range entries {
			if all := m.move(&part[i].all); all.n > 0 {
				w := &word{all, m.move(&part[i].title)}
				s.words[e.text] = w
				s.entries = append(s.entries, entry{e.letters, e.text, w})
			}
		}
	}
	return s
}

// until returns the header of the set, with bits for so many words only: behind them they go on changing.
func (s *set) until(words int) set {
	c := *s
	if c.bits != nil {
		c.bits = c.bits[:min(len(c.bits), words)]
	}
	return c
}

// copies returns the headers of the sets of all facets.
func copies(old *state, words int, lock sync.Locker) (out [Facets]map[string]set) {
	lock.Lock()
	defer lock.Unlock()
	for f, sets := range old.values {
		out[f] = make(map[string]set, len(sets))
		for v, set := range sets {
			out[f][v] = set.until(words)
		}
	}
	return out
}

// arrays copies what is kept by document: was holds what never changes, old the rest.
func (s *state) arrays(was, old *state, from []uint32, lock sync.Locker) {
	s.ids, s.at = slices.Grow(s.ids, len(from)+room), slices.Grow(s.at, len(from)+room)
	size := len(s.table)
	for size < 2*(len(from)+room) {
		size *= 2
	}
	s.table = make([]uint32, size)
	lock.Lock()
	for code, c := range old.known {
		s.known[code] = c
	}
	sites := slices.Clone(old.places.sites)
	lock.Unlock()
	places := newMover(&s.places, sites)

	const part = 512
	var seats [part]int32
	var ends [part]int
	var sessions []Session
	for docs := range slices.Chunk(from, part) {
		sessions = sessions[:0]
		lock.Lock()
		for i, o := range docs {
			if o > 0 {
				seats[i] = old.seats[o-1]
				for j, t := range old.sessions(o - 1) {
					sessions = append(sessions, Session{int64(t), int16(old.minutes[old.first[o-1]+uint32(j)])})
				}
			}
			ends[i] = len(sessions)
		}
		lock.Unlock()
		begin := 0
		for i, o := range docs {
			if o == 0 {
				s.grow(uuid.Nil)
				continue
			}
			o--
			d := s.grow(was.ids[o])
			s.enter(d)
			s.at[d], s.minAge[d], s.maxAge[d] = was.at[o], was.minAge[o], was.maxAge[o]
			s.fees[d], s.currencies[d] = was.fees[o], was.currencies[o]
			s.town[d], s.post[d] = places.move(was.town[o], was.at[o]), places.move(was.post[o], was.at[o])
			s.setAvailability(d, &Availability{seats[i], sessions[begin:ends[i]]})
			begin = ends[i]
		}
	}
}

// mapper moves sets to new numbers.
type mapper struct {
	to    []uint32 // by old number, plus one
	bits  []uint64 // zero between moves
	total int
}

func (m *mapper) move(old *set) set {
	var s set
	many := old.n*sparsity > m.total
	var list []uint32
	if !many {
		list = make([]uint32, 0, old.n) // hardly more than there will be
	}
	old.each(func(d uint32) bool {
		if int(d) >= len(m.to) {
			return false
		}
		if n := m.to[d]; n > 0 {
			if many {
				m.bits[(n-1)>>6] |= 1 << ((n - 1) & 63)
			} else {
				list = append(list, n-1)
			}
			s.n++
		}
		return true
	})
	switch {
	case many && s.n >= leastDense && s.n*sparsity > m.total:
		s.bits = append(make([]uint64, 0, len(m.bits)+room>>6), m.bits...)
	case many:
		s.list = make([]uint32, 0, s.n)
		eachBit(m.bits, func(d uint32) bool {
			s.list = append(s.list, d)
			return true
		})
	default:
		slices.Sort(list)
		s.list = list
	}
	if many {
		clear(m.bits)
	}
	return s
}
