package index

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// room is for how many documents behind the last rebuild memory is set aside.
const room = 1 << 16

// week is the hours of a week.
const week = 7 * 24

// seatSteps are the numbers of free seats that have a set of their own.
var seatSteps = [...]int32{1, 2, 3, 4, 6, 8, 12}

// word is where a word of the vocabulary occurs.
type word struct {
	all, title set
}

// entry is a word for the search for misspelt ones.
type entry struct {
	letters uint64
	text    string
	*word
}

// state is the index proper. A document has a number: those with a place in Hilbert order, from the next multiple of 64 those
// without in the order of ids, from the next the ones that came since the last rebuild. A number is never used again; what
// was replaced or removed is not live any more.
type state struct {
	n      int // numbers given out, gaps included
	placed int // where the documents with a place end
	base   int // where the documents of the last rebuild end

	live  []uint64
	lives int
	ids   []uuid.UUID
	table []uint32 // open addressing: the number of an id, plus one

	at             []Point
	minAge, maxAge []uint8
	seats          []int32
	fees           []int64  // in billionths; -1: not known
	currencies     []uint16 // 0: none, 1: gift
	town, post     []uint32 // in the gazetteer, plus one

	// Sessions of document d are count[d] from first[d] on.
	first   []uint32
	count   []uint16
	starts  []uint32
	minutes []uint16
	last    int64 // no session starts later

	values   [Facets]map[string]*set
	words    map[string]*word
	entries  []entry
	known    map[string]uint16 // currencies
	local    [week]set         // hours in which sessions start, on their own wall clocks
	utc      [week]set
	roomy    [len(seatSteps)]set // with at least so many seats
	remote   set
	unplaced int // live documents without a place
	tree     tree
	places   gazetteer
}

const gift = 1 // as a currency

func newState() *state {
	s := &state{words: map[string]*word{}, known: map[string]uint16{}, table: make([]uint32, 1<<10), places: newGazetteer()}
	for f := range s.values {
		s.values[f] = map[string]*set{}
	}
	return s
}

func (s *state) isLive(d uint32) bool { return s.live[d>>6]>>(d&63)&1 == 1 }

// slot returns where the id stands in the table, or where it would.
func (s *state) slot(id uuid.UUID) int {
	h := binary.LittleEndian.Uint64(id[:8])*0x9E3779B97F4A7C15 ^ binary.LittleEndian.Uint64(id[8:])
	h *= 0xD6E8FEB86659FD93
	h ^= h >> 32
	for i := int(h) & (len(s.table) - 1); ; i = (i + 1) & (len(s.table) - 1) {
		if s.table[i] == 0 || s.ids[s.table[i]-1] == id {
			return i
		}
	}
}

// find returns the live document of an id.
func (s *state) find(id uuid.UUID) (uint32, bool) {
	d := s.table[s.slot(id)]
	if d == 0 || !s.isLive(d-1) {
		return 0, false
	}
	return d - 1, true
}

// enter makes d the document of its id.
func (s *state) enter(d uint32) {
	if int(d)*2 >= len(s.table) {
		old := s.table
		s.table = make([]uint32, len(old)*2)
		for _, e := range old {
			if e != 0 {
				s.table[s.slot(s.ids[e-1])] = e
			}
		}
	}
	s.table[s.slot(s.ids[d])] = d + 1
}

// grow gives out the next number.
func (s *state) grow(id uuid.UUID) uint32 {
	d := uint32(s.n)
	s.n++
	if int(d>>6) >= len(s.live) {
		s.live = append(s.live, 0)
	}
	s.ids = append(s.ids, id)
	s.at = append(s.at, Point{})
	s.minAge, s.maxAge = append(s.minAge, 0), append(s.maxAge, 255)
	s.seats = append(s.seats, -1)
	s.fees, s.currencies = append(s.fees, -1), append(s.currencies, 0)
	s.town, s.post = append(s.town, 0), append(s.post, 0)
	s.first, s.count = append(s.first, 0), append(s.count, 0)
	return d
}

// pad gives out numbers to nobody, so that the next document begins a machine word.
func (s *state) pad() {
	for s.n&63 != 0 {
		s.grow(uuid.Nil)
	}
}

// prepared is a document with its texts taken apart, which needs no lock.
type prepared struct {
	*Doc
	title, words []string
}

func prepare(doc *Doc) prepared {
	return prepared{doc, Words(doc.Title), Words(append([]string{doc.Title}, doc.Texts...)...)}
}

// upsert puts a document in, in place of an earlier one with its id.
func (s *state) upsert(p prepared) {
	s.drop(p.ID)
	d := s.grow(p.ID)
	s.enter(d)
	s.live[d>>6] |= 1 << (d & 63)
	s.lives++
	if s.at[d] = p.Place; p.Place == (Point{}) {
		s.unplaced++
	}
	s.minAge[d], s.maxAge[d] = p.MinAge, p.MaxAge
	switch {
	case p.Gift:
		s.currencies[d] = gift
	case p.Fee.Currency != "":
		s.currencies[d], s.fees[d] = s.currency(p.Fee.Currency), p.Fee.amount()
	}
	s.town[d], s.post[d] = s.places.add(p.Address, p.Place)
	if p.Remote {
		s.remote.add(d, s.n)
	}
	for f, values := range p.Values {
		for _, v := range values {
			m := s.values[f][v]
			if m == nil {
				m = new(set)
				s.values[f][strings.Clone(v)] = m
			}
			m.add(d, s.n)
		}
	}
	for _, w := range p.words {
		s.word(w).all.add(d, s.n)
	}
	for _, w := range p.title {
		s.word(w).title.add(d, s.n)
	}
	s.setAvailability(d, &p.Availability)
}

func (s *state) word(text string) *word {
	w := s.words[text]
	if w == nil {
		w, text = new(word), strings.Clone(text)
		s.words[text] = w
		s.entries = append(s.entries, entry{letters(text), text, w})
	}
	return w
}

func (s *state) currency(code string) uint16 {
	c, ok := s.known[code]
	if !ok {
		c = uint16(len(s.known)) + gift + 1
		s.known[strings.Clone(code)] = c
	}
	return c
}

// drop takes the document of an id out.
func (s *state) drop(id uuid.UUID) {
	d, ok := s.find(id)
	if !ok {
		return
	}
	s.live[d>>6] &^= 1 << (d & 63)
	s.lives--
	if s.at[d] == (Point{}) {
		s.unplaced--
	}
	s.places.remove(s.town[d], s.post[d], s.at[d])
}

// change sets the seats and sessions of a group that is in the index.
func (s *state) change(c *Change) {
	d, ok := s.find(c.ID)
	if !ok {
		return
	}
	if s.sameSessions(d, c.Sessions) { // only the seats, as nearly always
		s.setSeats(d, c.OpenSeats)
		return
	}
	for i := range s.sessions(d) {
		s.utc[s.utcHour(d, i)].remove(d)
		s.local[s.localHour(d, i)].remove(d)
	}
	s.setAvailability(d, &c.Availability)
}

// sameSessions reports whether the document has just these sessions.
func (s *state) sameSessions(d uint32, sessions []Session) bool {
	starts := s.sessions(d)
	if len(starts) != len(sessions) {
		return false
	}
	for i, t := range sessions {
		if int64(starts[i]) != t.Start || int16(s.minutes[s.first[d]+uint32(i)]) != t.Minute {
			return false
		}
	}
	return true
}

// setSeats sets the free seats of a document.
func (s *state) setSeats(d uint32, open int32) {
	s.seats[d] = max(open, -1)
	for i, step := range seatSteps {
		if open < 0 || open >= step {
			s.roomy[i].add(d, s.n)
		} else {
			s.roomy[i].remove(d)
		}
	}
}

// sessions returns the starts of the document's sessions.
func (s *state) sessions(d uint32) []uint32 {
	return s.starts[s.first[d] : s.first[d]+uint32(s.count[d])]
}

func (s *state) utcHour(d uint32, i int) int {
	return hourOf(int64(s.starts[s.first[d]+uint32(i)]))
}

func (s *state) localHour(d uint32, i int) int {
	return int(s.minutes[s.first[d]+uint32(i)]) / 60
}

// epochHour is where the week stood on 1 January 1970, a Thursday.
const epochHour = 3 * 24

// hourOf returns the hour of the week of an instant, in UTC.
func hourOf(unix int64) int { return int((unix/3600 + epochHour) % week) }

// setAvailability gives a document that is in no set of hours its seats and sessions.
func (s *state) setAvailability(d uint32, a *Availability) {
	s.setSeats(d, a.OpenSeats)
	keep := 0
	for _, t := range a.Sessions {
		if t.sound() {
			keep++
		}
	}
	keep = min(keep, 1<<16-1)
	if keep > int(s.count[d]) { // at the end; a rebuild closes the gap
		s.first[d] = uint32(len(s.starts))
		s.starts = append(s.starts, make([]uint32, keep)...)
		s.minutes = append(s.minutes, make([]uint16, keep)...)
	}
	s.count[d] = uint16(keep)
	i := 0
	for _, t := range a.Sessions {
		if !t.sound() || i == keep {
			continue
		}
		at := s.first[d] + uint32(i)
		s.starts[at], s.minutes[at] = uint32(t.Start), uint16(t.Minute)
		s.last = max(s.last, t.Start)
		s.utc[s.utcHour(d, i)].add(d, s.n)
		s.local[s.localHour(d, i)].add(d, s.n)
		i++
	}
}

// sound reports whether the session is in the time that the index covers, to the year 2106.
func (t Session) sound() bool {
	return t.Start > 0 && t.Start < 1<<32 && t.Minute >= 0 && t.Minute < week*60
}

// next returns the start of the document's first session after now, or [Never].
func (s *state) next(d uint32, now int64) float64 {
	least := int64(1 << 62)
	for _, t := range s.sessions(d) {
		if int64(t) > now && int64(t) < least {
			least = int64(t)
		}
	}
	if least == 1<<62 {
		return Never
	}
	return float64(least)
}

// order returns the live documents as a rebuild numbers them: those with a place along the curve, then the others by id.
func (s *state) order(live []uint64) (placed, others []uint32) {
	type stop struct {
		key uint64
		d   uint32
	}
	var route []stop
	eachBit(live, func(d uint32) bool {
		if s.at[d] == (Point{}) {
			others = append(others, d)
		} else {
			route = append(route, stop{hilbert(s.at[d]), d})
		}
		return true
	})
	slices.SortFunc(route, func(a, b stop) int {
		if a.key != b.key {
			if a.key < b.key {
				return -1
			}
			return 1
		}
		return bytes.Compare(s.ids[a.d][:], s.ids[b.d][:])
	})
	slices.SortFunc(others, func(a, b uint32) int { return bytes.Compare(s.ids[a][:], s.ids[b][:]) })
	placed = make([]uint32, len(route))
	for i, r := range route {
		placed[i] = r.d
	}
	return placed, others
}

// alive reports whether a live document is in the set.
func (s *state) alive(m *set) bool {
	found := false
	if m.bits != nil {
		for i := range min(len(m.bits), len(s.live)) {
			if m.bits[i]&s.live[i] != 0 {
				return true
			}
		}
		return false
	}
	m.each(func(d uint32) bool {
		found = s.isLive(d)
		return !found
	})
	return found
}
