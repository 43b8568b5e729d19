// Package scan searches a directory by looking at every group: slow, short and plain, to tell whether a quick search is
// exact. It shares no code with the services.
package scan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"
	"google.golang.org/genproto/googleapis/type/latlng"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
)

// Groups is what a directory's groups look like to a search. Groups may be set by several goroutines at once, but not while
// others search.
type Groups struct {
	mu        sync.Mutex
	rows      []row
	at        map[uuid.UUID]int
	cancers   numbering
	languages numbering
	words     numbering
}

// row is a group. What it has several of are bits.
type row struct {
	id                                     uuid.UUID
	public                                 bool
	kind, facilitation, format, size, cost uint8
	phases, audiences                      uint8
	demographics, accessibility            uint16
	sideEffects                            uint32
	cancers                                [2]uint64
	languages                              uint64
	placed                                 bool
	x, y, z                                float64
	openSeats                              int32 // math.MaxInt32: unlimited
	intake                                 bool
	words                                  []uint32  // sorted
	signature                              [4]uint64 // of the words: a bit that is not set tells that a word is not there
	sessions                               []int64   // Unix seconds, soonest first
	minutes                                []int16   // of the week on the wall clock of the group's zone, from Monday 00:00
}

// New makes room for n groups, none of them there yet.
func New(n int) *Groups {
	return &Groups{rows: make([]row, n), at: make(map[uuid.UUID]int, n), cancers: numbering{}, languages: numbering{}, words: numbering{}}
}

// Grow makes room for n groups more.
func (s *Groups) Grow(n int) { s.rows = append(s.rows, make([]row, n)...) }

// numbering gives each string a number.
type numbering map[string]uint32

func (n numbering) of(s string) uint32 {
	at, ok := n[s]
	if !ok {
		at = uint32(len(n))
		n[strings.Clone(s)] = at
	}
	return at
}

// Set puts group i in place.
func (s *Groups) Set(i int, g *groupsv1.Group) error {
	id, err := uuid.Parse(strings.TrimPrefix(g.GetName(), "groups/"))
	if err != nil {
		return fmt.Errorf("name of group %d: %w", i, err)
	}
	r := row{
		id: id, public: g.GetDeleteTime() == nil && (g.GetState() == groupsv1.Group_PUBLISHED || g.GetState() == groupsv1.Group_PAUSED),
		kind: uint8(g.GetKind()), facilitation: uint8(g.GetFacilitation()), format: uint8(g.GetFormat()),
		size: uint8(g.GetCapacity().GetSizeClass()), cost: uint8(g.GetCost().GetType()), intake: g.GetAcceptsIntake(),
		phases: bits[uint8](g.GetPhases()), audiences: bits[uint8](g.GetAudiences()), demographics: bits[uint16](g.GetDemographics()),
		accessibility: bits[uint16](g.GetAccessibility()), sideEffects: bits[uint32](g.GetSideEffects()), openSeats: seats(g.GetAvailability().OpenSeats),
	}
	text := strings.Join([]string{g.GetTitle(), g.GetSummary(), g.GetDescription(), g.GetVenue().GetLabel(), g.GetVenue().GetAddress().GetLocality()}, " ")
	words := Words(text)
	s.mu.Lock()
	for _, c := range g.GetCancerTypes() {
		n := s.cancers.of(c)
		r.cancers[n/64] |= 1 << (n % 64)
	}
	for _, l := range g.GetLanguages() {
		for tag := strings.ToLower(l); tag != ""; tag = tag[:max(strings.LastIndexByte(tag, '-'), 0)] {
			r.languages |= 1 << s.languages.of(tag)
		}
	}
	r.words = s.numbers(words)
	for _, n := range r.words {
		r.signature[n/64%4] |= 1 << (n % 64)
	}
	s.at[id] = i
	s.mu.Unlock()
	if len(s.cancers) > 128 || len(s.languages) > 64 {
		return fmt.Errorf("there are %d cancer types and %d languages, more than a row has bits for", len(s.cancers), len(s.languages))
	}
	if at := g.GetVenue().GetLocation(); at != nil {
		r.placed = true
		r.x, r.y, r.z = sphere(at)
	}
	if next := g.GetAvailability().GetNextSessions(); len(next) > 0 {
		zone, err := time.LoadLocation(g.GetAvailability().GetTimeZone())
		if err != nil {
			return fmt.Errorf("group %d: %w", i, err)
		}
		for _, t := range next {
			local := t.AsTime().In(zone)
			r.sessions = append(r.sessions, t.GetSeconds())
			r.minutes = append(r.minutes, int16((int(local.Weekday())+6)%7*24*60+local.Hour()*60+local.Minute()))
		}
	}
	s.rows[i] = r
	return nil
}

// SetSeats changes the free seats of group i; nil means unlimited.
func (s *Groups) SetSeats(i int, open *int32) { s.rows[i].openSeats = seats(open) }

func seats(open *int32) int32 {
	if open == nil {
		return math.MaxInt32
	}
	return *open
}

// bits returns a set of enum values.
func bits[B uint8 | uint16 | uint32, E ~int32](values []E) (b B) {
	for _, v := range values {
		b |= 1 << v
	}
	return b
}

// sphere returns the point on the unit sphere.
func sphere(p *latlng.LatLng) (x, y, z float64) {
	lat, lng := p.GetLatitude()*math.Pi/180, p.GetLongitude()*math.Pi/180
	return math.Cos(lat) * math.Cos(lng), math.Cos(lat) * math.Sin(lng), math.Sin(lat)
}

// Words are a text's words: letters and digits, in lower case and without accents.
func Words(text string) []string {
	var bare strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(text)) {
		switch at := strings.IndexRune("ßæœøđðłıþ", r); {
		case at >= 0:
			bare.WriteString(map[rune]string{'ß': "ss", 'æ': "ae", 'œ': "oe", 'ø': "o", 'đ': "d", 'ð': "d", 'ł': "l", 'ı': "i", 'þ': "th"}[r])
		case !unicode.Is(unicode.Mn, r):
			bare.WriteRune(r)
		}
	}
	return strings.FieldsFunc(bare.String(), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// numbers returns the numbers of the words, sorted.
func (s *Groups) numbers(words []string) []uint32 {
	out := make([]uint32, len(words))
	for i, w := range words {
		out[i] = s.words.of(w)
	}
	slices.Sort(out)
	return slices.Clip(slices.Compact(out))
}

// Hit is a group that a search finds.
type Hit struct {
	ID       uuid.UUID
	Distance float64 // in kilometres; NaN: no place, or none asked for
	Next     int64   // the next session, Unix seconds; math.MaxInt64: none
}

// Search returns the first groups that the request finds now, by distance or by next session, and how many it finds in
// all. The order "relevance" is the service's own affair: such a request gives no hits, only the number.
func (s *Groups) Search(req *groupsv1.SearchGroupsRequest, now time.Time, limit int) (hits []Hit, total int) {
	q := s.query(req, now)
	best := make([]candidate, 0, limit+1)
	for i := range s.rows {
		r := &s.rows[i]
		if !r.public || !q.matches(r) {
			continue
		}
		total++
		c := q.candidate(r)
		if len(best) == limit && c.compare(best[limit-1]) >= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, c, candidate.compare)
		best = slices.Insert(best, at, c)
		best = best[:min(len(best), limit)]
	}
	if q.order == "relevance" {
		return nil, total
	}
	for _, c := range best {
		hits = append(hits, q.hit(c))
	}
	return hits, total
}

// Finds tells whether the request finds the group now.
func (s *Groups) Finds(req *groupsv1.SearchGroupsRequest, now time.Time, id uuid.UUID) bool {
	q := s.query(req, now)
	i, ok := s.at[id]
	return ok && s.rows[i].public && q.matches(&s.rows[i])
}

// candidate is a row with its key: the less, the better.
type candidate struct {
	*row
	key float64
}

func (a candidate) compare(b candidate) int {
	return cmp.Or(cmp.Compare(a.key, b.key), slices.Compare(a.id[:], b.id[:]))
}

func (q *query) candidate(r *row) candidate {
	switch {
	case q.order == "soonest":
		return candidate{r, float64(r.next(q.now))}
	case !r.placed:
		return candidate{r, math.Inf(1)}
	}
	return candidate{r, q.chord(r)}
}

func (q *query) hit(c candidate) Hit {
	h := Hit{ID: c.id, Distance: math.NaN(), Next: c.next(q.now)}
	if c.placed && q.near {
		h.Distance = kilometres(q.chord(c.row))
	}
	return h
}

// next returns the first session after an instant.
func (r *row) next(now int64) int64 {
	for _, s := range r.sessions {
		if s > now {
			return s
		}
	}
	return math.MaxInt64
}

// above returns a type and the types above it.
func above(code string) []string { return append([]string{code}, cancertype.Ancestors(code)...) }
