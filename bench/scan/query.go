package scan

import (
	"math"
	"slices"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
)

// earthRadius is the mean radius in kilometres.
const earthRadius = 6371.0088

// query is a request made ready for many rows. Zero sets ask for nothing.
type query struct {
	req                           *groupsv1.SearchGroupsRequest
	kinds, facilitations, formats uint8
	sizes                         uint8
	phases, audiences             uint8
	demographics, accessibility   uint16
	sideEffects                   uint32
	cancers                       [2]uint64
	languages                     uint64
	near                          bool
	x, y, z                       float64
	radius                        float64
	words                         []uint32
	unknown                       bool // asks for a word, type or language that no group has
	now                           int64
	before                        int64
	order                         string
}

func (s *Groups) query(req *groupsv1.SearchGroupsRequest, now time.Time) *query {
	q := &query{
		req: req, now: now.Unix(), order: req.GetOrderBy(), before: math.MaxInt64,
		kinds: bits[uint8](req.GetKinds()), facilitations: bits[uint8](req.GetFacilitations()), formats: bits[uint8](req.GetFormats()),
		sizes: bits[uint8](req.GetSizeClasses()), phases: bits[uint8](req.GetPhases()), audiences: bits[uint8](req.GetAudiences()),
		demographics: bits[uint16](req.GetDemographics()), accessibility: bits[uint16](req.GetAccessibility()), sideEffects: bits[uint32](req.GetSideEffects()),
	}
	for _, code := range req.GetCancerTypes() {
		codes := above(code)
		switch req.GetCancerTypeReach() {
		case groupsv1.SearchGroupsRequest_EXACT:
			codes = []string{code}
		case groupsv1.SearchGroupsRequest_SUBTREE:
			codes = cancertype.Subtree(code)
		}
		for _, c := range codes {
			if n, ok := s.cancers[c]; ok {
				q.cancers[n/64] |= 1 << (n % 64)
			}
		}
	}
	q.unknown = len(req.GetCancerTypes()) > 0 && q.cancers == [2]uint64{}
	for _, l := range req.GetLanguages() {
		if n, ok := s.languages[l]; ok {
			q.languages |= 1 << n
		}
	}
	q.unknown = q.unknown || len(req.GetLanguages()) > 0 && q.languages == 0
	for _, w := range Words(req.GetQuery()) {
		n, ok := s.words[w]
		q.unknown = q.unknown || !ok
		q.words = append(q.words, n)
	}
	if n := req.GetNear(); n != nil {
		q.near, q.radius = true, n.GetRadiusKm()
		q.x, q.y, q.z = sphere(n.GetCenter())
	}
	if t := req.GetNextSessionBefore(); t != nil {
		q.before = t.GetSeconds()
	}
	if q.order == "" {
		switch {
		case len(q.words) > 0:
			q.order = "relevance"
		case q.near:
			q.order = "distance"
		default:
			q.order = "soonest"
		}
	}
	return q
}

// matches tells whether a group is what the request asks for; the cheap questions come first.
func (q *query) matches(r *row) bool {
	if q.unknown ||
		q.languages != 0 && q.languages&r.languages == 0 ||
		q.cancers != [2]uint64{} && q.cancers[0]&r.cancers[0]|q.cancers[1]&r.cancers[1] == 0 ||
		q.kinds != 0 && q.kinds>>r.kind&1 == 0 ||
		q.facilitations != 0 && q.facilitations>>r.facilitation&1 == 0 ||
		q.formats != 0 && q.formats>>r.format&1 == 0 ||
		q.sizes != 0 && q.sizes>>r.size&1 == 0 ||
		q.phases != 0 && r.phases != 0 && q.phases&r.phases == 0 ||
		q.audiences != 0 && r.audiences != 0 && q.audiences&r.audiences == 0 ||
		q.demographics != 0 && q.demographics&r.demographics == 0 ||
		q.sideEffects != 0 && q.sideEffects&r.sideEffects == 0 ||
		q.accessibility&^r.accessibility != 0 ||
		q.req.GetFreeOnly() && r.cost != uint8(groupsv1.Group_Cost_FREE) && r.cost != uint8(groupsv1.Group_Cost_DONATION) ||
		q.req.GetAcceptsIntake() && !r.intake ||
		r.openSeats < q.req.GetMinOpenSeats() {
		return false
	}
	for _, w := range q.words {
		if r.signature[w/64%4]>>(w%64)&1 == 0 {
			return false
		}
		if _, ok := slices.BinarySearch(r.words, w); !ok {
			return false
		}
	}
	remote := q.req.GetIncludeRemote() && r.format != uint8(groupsv1.Group_IN_PERSON)
	if q.radius > 0 && !remote && (!r.placed || kilometres(q.chord(r)) > q.radius) {
		return false
	}
	if q.before != math.MaxInt64 && r.next(q.now) >= q.before {
		return false
	}
	return len(q.req.GetTimes()) == 0 || q.suits(r)
}

// suits tells whether one of the next sessions is at a time that suits.
func (q *query) suits(r *row) bool {
	for i, s := range r.sessions {
		if s <= q.now {
			continue
		}
		day, minute := int32(r.minutes[i])/(24*60)+1, int32(r.minutes[i])%(24*60)
		for _, t := range q.req.GetTimes() {
			if (t.GetDay() == 0 || int32(t.GetDay()) == day) && minute >= t.GetStartMinute() && minute < t.GetEndMinute() {
				return true
			}
		}
	}
	return false
}

// chord returns the squared chord from the place asked for.
func (q *query) chord(r *row) float64 {
	dx, dy, dz := r.x-q.x, r.y-q.y, r.z-q.z
	return dx*dx + dy*dy + dz*dz
}

// kilometres returns the distance along the sphere of a squared chord.
func kilometres(chord float64) float64 {
	return 2 * earthRadius * math.Asin(math.Min(1, math.Sqrt(chord)/2))
}
