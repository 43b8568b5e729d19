package groups

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"

	"google.golang.org/protobuf/proto"
)

// defaultFound is how many groups a page of search has when the caller does not say.
const defaultFound = 25

// searchCursor is the last group of a page: its keys in the search's order, and the instant from which the first page
// looked ahead, so that the order holds while the clock moves.
type searchCursor struct {
	Now time.Time `json:"n"`
	foundKey
}

// foundKey is where a group stands in the order of a search; less is better.
type foundKey struct {
	First  float64   `json:"a"`
	Second float64   `json:"b"`
	ID     uuid.UUID `json:"i"`
}

// SearchGroups finds public groups, exactly.
func (s *server) SearchGroups(ctx context.Context, req *groupsv1.SearchGroupsRequest) (*groupsv1.SearchGroupsResponse, error) {
	q, err := searchOf(req)
	if err != nil {
		return nil, err
	}
	bound, err := boundTo(req)
	if err != nil {
		return nil, err
	}
	cur, more, err := page.Decode[searchCursor](req.GetPageToken(), "SearchGroups", bound)
	if err != nil {
		return nil, err
	}
	if q.now = s.clock.Now(); more {
		q.now, q.after = cur.Now, &cur.foundKey
	}
	q.limit = int(req.GetPageSize())
	if q.limit == 0 {
		q.limit = defaultFound
	}
	q.limit++
	found, err := search(ctx, s.db, q)
	if err != nil {
		return nil, fmt.Errorf("search groups: %w", err)
	}
	resp := &groupsv1.SearchGroupsResponse{}
	if q.limit--; len(found) > q.limit {
		found = found[:q.limit]
		if resp.NextPageToken, err = page.Encode(searchCursor{q.now, found[q.limit-1].at}, "SearchGroups", bound); err != nil {
			return nil, err
		}
	}
	now := s.clock.Now()
	for i := range found {
		g, err := found[i].toProto(now)
		if err != nil {
			return nil, err
		}
		r := &groupsv1.SearchGroupsResponse_Result{Group: g}
		if c := found[i].chord; c != nil {
			r.DistanceKm = new(kilometres(*c))
		}
		resp.Results = append(resp.Results, r)
	}
	return resp, nil
}

// boundTo returns what a page token belongs to: the request but for the page.
func boundTo(req *groupsv1.SearchGroupsRequest) ([]byte, error) {
	bare := proto.CloneOf(req)
	bare.PageSize, bare.PageToken = 0, ""
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		return nil, fmt.Errorf("encode search: %w", err)
	}
	return b, nil
}

// span is a part of the week in minutes from Monday 00:00; to is exclusive.
type span struct{ from, to int32 }

// minutesOfDay is how many a day has on the wall clock, daylight saving aside.
const minutesOfDay = 24 * 60

// query is a search as the directory's columns put it.
type query struct {
	*groupsv1.SearchGroupsRequest
	words   []string
	types   []string // any of them; empty: all
	ranked  []string // the types asked for, for relevance
	above   []string // what stands above them, without "any"
	spans   []span
	near    *point
	chord   float64 // of the radius; 0: any distance
	orderBy string
	orgID   uuid.UUID

	now   time.Time
	after *foundKey
	limit int
}

// searchOf reads a request, or says what is wrong with it.
func searchOf(req *groupsv1.SearchGroupsRequest) (*query, error) {
	q := &query{SearchGroupsRequest: req, words: words(req.GetQuery()), orderBy: req.GetOrderBy()}
	var bad []*fault.Violation
	for i, code := range req.GetCancerTypes() {
		if _, ok := cancertype.Lookup(code); !ok {
			bad = append(bad, fault.Field(fmt.Sprintf("cancer_types[%d]", i), "%q is no cancer type: take a code of /v1/cancerTypes", code))
		}
		q.ranked = append(q.ranked, code)
		for _, a := range cancertype.Ancestors(code) {
			if a != cancertype.Any {
				q.above = append(q.above, a)
			}
		}
		switch req.GetCancerTypeReach() {
		case groupsv1.SearchGroupsRequest_EXACT:
			q.types = append(q.types, code)
		case groupsv1.SearchGroupsRequest_SUBTREE:
			q.types = append(q.types, cancertype.Subtree(code)...)
		default:
			q.types = append(append(q.types, code), cancertype.Ancestors(code)...)
		}
	}
	if strings.ContainsRune(req.GetQuery()+req.GetPayer(), 0) {
		bad = append(bad, fault.Field("query", "must not hold the character NUL"))
	}
	if m := req.GetMaxCost(); m != nil && !validMoney(m) {
		bad = append(bad, fault.Field("max_cost", `needs an ISO 4217 currency_code, e.g. "USD", and units and nanos that are not negative`))
	}
	if n := req.GetNear(); n != nil {
		if !validLatLng(n.GetCenter()) {
			bad = append(bad, fault.Field("near.center", "latitude must be -90 to 90 and longitude -180 to 180 degrees"))
		}
		q.near = new(pointOf(n.GetCenter()))
		if n.GetRadiusKm() > 0 {
			q.chord = max(chord(n.GetRadiusKm()), 1e-24) // a radius of nearly nothing is still one
		}
	}
	if q.orderBy == "distance" && q.near == nil {
		bad = append(bad, fault.Field("order_by", `"distance" needs near`))
	}
	if t := req.GetNextSessionBefore(); t != nil && t.CheckValid() != nil {
		bad = append(bad, fault.Field("next_session_before", "is no valid instant"))
	}
	if req.GetOrganization() != "" {
		id, err := parseOrganization("organization", req.GetOrganization())
		if err != nil {
			return nil, err
		}
		q.orgID = id
	}
	if bad != nil {
		return nil, fault.Invalid(bad...)
	}
	for _, t := range req.GetTimes() {
		first, last := int32(t.GetDay())-1, int32(t.GetDay())-1 // Monday is 1
		if t.GetDay() == 0 {
			first, last = 0, 6
		}
		for day := first; day <= last; day++ {
			q.spans = append(q.spans, span{day*minutesOfDay + t.GetStartMinute(), day*minutesOfDay + t.GetEndMinute()})
		}
	}
	switch {
	case q.orderBy != "":
	case len(q.words) > 0:
		q.orderBy = "relevance"
	case q.near != nil:
		q.orderBy = "distance"
	default:
		q.orderBy = "soonest"
	}
	return q, nil
}
