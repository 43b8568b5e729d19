package index

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/google/uuid"
)

func (s *state) write(w *writer) {
	w.num(s.n)
	w.num(s.placed)
	w.num(s.base)
	putWords(w, s.live)
	for _, id := range s.ids {
		w.raw(id[:])
	}
	for _, p := range s.at {
		for _, v := range [3]float64{p.X, p.Y, p.Z} {
			w.raw(binary.LittleEndian.AppendUint64(w.buf[:0], math.Float64bits(v)))
		}
	}
	w.bytes(s.minAge)
	w.bytes(s.maxAge)
	for _, v := range s.seats {
		w.num(int(v) + 1)
	}
	for d, fee := range s.fees {
		w.num(int(s.currencies[d]))
		w.raw(binary.LittleEndian.AppendUint64(w.buf[:0], uint64(fee)))
	}
	for d := range s.n {
		w.num(int(s.town[d]))
		w.num(int(s.post[d]))
		starts := s.sessions(uint32(d))
		w.num(len(starts))
		for i, t := range starts {
			w.num(int(t >> 16))
			w.num(int(t & 0xffff))
			w.num(int(s.minutes[int(s.first[d])+i]))
		}
	}
	w.num(len(s.known))
	for _, code := range slices.SortedFunc(maps.Keys(s.known), func(a, b string) int { return int(s.known[a]) - int(s.known[b]) }) {
		w.text(code)
	}
	for _, values := range s.values {
		w.num(len(values))
		for v, m := range values {
			w.text(v)
			m.write(w)
		}
	}
	w.num(len(s.entries))
	for _, e := range s.entries {
		w.text(e.text)
		e.all.write(w)
		e.title.write(w)
	}
	s.remote.write(w)
	w.num(len(s.places.sites))
	for _, t := range s.places.sites {
		for _, v := range []string{t.Locality, t.Region, t.PostalCode, t.Country} {
			w.text(v)
		}
	}
}

// docBytes is how many bytes a document takes at least.
const docBytes = 16 + 3*8

// read fills a new state. What can be made of the rest is made anew: the table of ids, hours, seats, tree and places.
func (s *state) read(r *reader) {
	n := r.many(docBytes)
	placed, base := r.num(), r.num()
	if placed > base || base > n || base&63 != 0 {
		r.fail("has numbers that do not fit")
		return
	}
	live := r.words((n + 63) >> 6)
	s.ids, s.at = make([]uuid.UUID, n, n+room), make([]Point, n, n+room)
	for d := range n {
		copy(s.ids[d][:], r.raw(len(uuid.UUID{})))
	}
	for d := range n {
		var v [3]float64
		for i := range v {
			if v[i] = math.Float64frombits(binary.LittleEndian.Uint64(r.raw(8))); !(math.Abs(v[i]) <= 2) {
				r.fail("has a place that is not on the sphere")
			}
		}
		s.at[d] = Point{v[0], v[1], v[2]}
	}
	s.minAge, s.maxAge = slices.Clone(r.bytes()), slices.Clone(r.bytes())
	if len(s.minAge) != n || len(s.maxAge) != n {
		r.fail("has too few ages")
	}
	for range n {
		s.seats = append(s.seats, int32(r.num())-1)
	}
	for range n {
		s.currencies = append(s.currencies, uint16(r.num()))
		s.fees = append(s.fees, int64(binary.LittleEndian.Uint64(r.raw(8))))
	}
	town, post, sessions, ends := r.documents(n)
	for range r.many(1) {
		s.currency(r.text())
	}
	for f := range s.values {
		for range r.many(3) {
			v, m := r.text(), r.set(n)
			s.values[f][v] = &m
		}
	}
	for range r.many(5) {
		w := s.word(r.text())
		w.all, w.title = r.set(n), r.set(n)
	}
	s.remote = r.set(n)
	var sites []site
	for range r.many(4) {
		sites = append(sites, site{Address: Address{r.text(), r.text(), r.text(), r.text()}})
	}
	if r.err == nil {
		s.finish(r, n, placed, base, live, town, post, sites, sessions, ends)
	}
}

// documents reads the places and sessions of n documents; ends says where each one's sessions end.
func (r *reader) documents(n int) (town, post []uint32, sessions []Session, ends []int) {
	for range n {
		town, post = append(town, uint32(r.num())), append(post, uint32(r.num()))
		for range r.many(3) {
			hi, lo, m := r.num(), r.num(), r.num()
			sessions = append(sessions, Session{int64(hi&0xffff)<<16 | int64(lo&0xffff), int16(m % (week * 60))})
		}
		ends = append(ends, len(sessions))
	}
	return town, post, sessions, ends
}

func (s *state) finish(r *reader, n, placed, base int, live []uint64, town, post []uint32, sites []site, sessions []Session, ends []int) {
	s.placed, s.base, s.live = placed, base, live
	s.first, s.count = make([]uint32, n), make([]uint16, n)
	s.town, s.post = make([]uint32, n), make([]uint32, n)
	size := len(s.table)
	for size < 2*n {
		size *= 2
	}
	s.table = make([]uint32, size)
	places := newMover(&s.places, sites)
	begin := 0
	for d := range n {
		if int(town[d]) > len(sites) || int(post[d]) > len(sites) {
			r.fail("has a place that it does not tell of")
			return
		}
		s.n = d + 1
		doc := uint32(d)
		seats := s.seats[d]
		s.setAvailability(doc, &Availability{seats, sessions[begin:ends[d]]})
		begin = ends[d]
		if !s.isLive(doc) {
			continue
		}
		s.table[s.slot(s.ids[d])] = doc + 1
		s.lives++
		if s.at[d] == (Point{}) {
			s.unplaced++
		}
		s.town[d], s.post[d] = places.move(town[d], s.at[d]), places.move(post[d], s.at[d])
	}
	s.n = n
	s.tree = newTree(s.at[:placed])
}

func putWords(w *writer, words []uint64) {
	for _, x := range words {
		w.raw(binary.LittleEndian.AppendUint64(w.buf[:0], x))
	}
}

func (r *reader) words(n int) []uint64 {
	b := r.raw(8 * n)
	if r.err != nil {
		return nil
	}
	out := make([]uint64, n, n+room>>6)
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return out
}

// write writes a list as gaps, or the bits.
func (s *set) write(w *writer) {
	if s.bits != nil {
		w.num(1)
		w.num(len(s.bits))
		putWords(w, s.bits)
		return
	}
	w.num(0)
	w.num(len(s.list))
	last := uint32(0)
	for _, d := range s.list {
		w.num(int(d - last))
		last = d
	}
}

// set reads a set of documents below n.
func (r *reader) set(n int) set {
	var s set
	dense, size := r.num(), r.num()
	if dense == 1 {
		if size > (n+63)>>6 {
			r.fail("has a set that is too long")
			return s
		}
		if s.bits = r.words(size); s.bits == nil {
			return set{}
		}
		s.n = count(s.bits)
		if size == (n+63)>>6 && n&63 != 0 && size > 0 && s.bits[size-1]>>(n&63) != 0 {
			r.fail("has a set with documents that are not there")
		}
		return s
	}
	if size > len(r.b) {
		r.fail("ends too soon")
		return s
	}
	s.list = make([]uint32, 0, size)
	at := 0
	for i := range size {
		gap := r.num()
		if at += gap; r.err != nil || at >= n || (gap == 0 && i > 0) {
			r.fail("has a set out of order")
			return set{}
		}
		s.list = append(s.list, uint32(at))
	}
	s.n = len(s.list)
	return s
}
