package groups

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
	"cairn.care/services/groups/index"
)

const (
	// defaultFound is how many groups a page of search has when the caller does not say.
	defaultFound = 25
	// spare is how many more the index is asked for, in place of those that are gone when their rows are read.
	spare = 3
)

// searchCursor is where a page of a search ends, and what must not change between pages: the instant from which the first
// looked ahead, and the place that it took a name for.
type searchCursor struct {
	Now   time.Time    `json:"n"`
	Place *index.Found `json:"p,omitempty"`
	Last  index.Key    `json:"k"`
	Loose bool         `json:"l,omitempty"` // no group has all the words
}

// SearchGroups finds public groups, exactly: in the index, then their rows.
func (s *server) SearchGroups(ctx context.Context, req *groupsv1.SearchGroupsRequest) (*groupsv1.SearchGroupsResponse, error) {
	x := s.indexer.index.Load()
	if x == nil {
		return nil, &fault.Error{Code: codes.Unavailable, Reason: "INDEX_LOADING", Message: "the search index is still being loaded: try again in some seconds"}
	}
	bound, err := boundTo(req)
	if err != nil {
		return nil, err
	}
	cur, more, err := page.Decode[searchCursor](req.GetPageToken(), "SearchGroups", bound)
	if err != nil {
		return nil, err
	}
	resp := &groupsv1.SearchGroupsResponse{IndexTime: timestamppb.New(s.indexer.freshTime())}
	if !more {
		cur.Now = s.clock.Now()
	}
	q, err := s.queryOf(x, req, &cur, resp)
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultFound
	}
	q.Limit = size + spare
	if more {
		q.After, q.Loose, q.Count = &cur.Last, cur.Loose, nil
	}
	found := x.Search(q)
	cur.Loose = found.Loose
	rows, err := s.rowsOf(ctx, found.Hits)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	marker := index.NewMarker(found.Words)
	for i := range found.Hits {
		h := &found.Hits[i]
		if len(resp.GetResults()) == size {
			found.More = true
			break
		}
		cur.Last = h.Key
		row, ok := rows[h.ID]
		if !ok {
			continue // gone since
		}
		g, err := row.toProto(now)
		if err != nil {
			return nil, err
		}
		r := &groupsv1.SearchGroupsResponse_Result{Group: g}
		if h.Chord >= 0 {
			r.DistanceKm = new(index.Kilometres(h.Chord))
		}
		if req.GetHighlight() {
			r.Highlights = highlights(marker, g)
		}
		resp.Results = append(resp.Results, r)
	}
	if found.More {
		if resp.NextPageToken, err = page.Encode(cur, "SearchGroups", bound); err != nil {
			return nil, err
		}
	}
	if q.Count != nil {
		resp.TotalSize, resp.Facets = new(int32(found.Total)), facetCounts(req.GetFacets(), found.Counts)
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

// rowsOf reads what the public sees of the groups, without what is not public any more.
func (s *server) rowsOf(ctx context.Context, hits []index.Hit) (map[uuid.UUID]*groupRow, error) {
	out := make(map[uuid.UUID]*groupRow, len(hits))
	if len(hits) == 0 {
		return out, nil
	}
	ids := make([]uuid.UUID, len(hits))
	for i := range hits {
		ids[i] = hits[i].ID
	}
	b := s.db.Batch(auth.WithTenant(ctx, auth.Tenant{}))
	b.Queue(`
		SELECT `+groupColumns+`
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON false
		WHERE g.id = ANY($1) AND `+publicGroup, ids).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			r := &groupRow{}
			if err := r.scan(rows); err != nil {
				return err
			}
			out[r.ID] = r
		}
		return rows.Err()
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("read groups found: %w", err)
	}
	return out, nil
}

// highlights returns the passages of a group's texts that have words of the query.
func highlights(m *index.Marker, g *groupsv1.Group) []*groupsv1.SearchGroupsResponse_Highlight {
	var out []*groupsv1.SearchGroupsResponse_Highlight
	for _, t := range []struct{ field, text string }{{"title", g.GetTitle()}, {"summary", g.GetSummary()}, {"description", g.GetDescription()}} {
		parts := m.Passage(t.text)
		if parts == nil {
			continue
		}
		h := &groupsv1.SearchGroupsResponse_Highlight{Field: t.field}
		for _, p := range parts {
			h.Parts = append(h.Parts, &groupsv1.SearchGroupsResponse_Highlight_Part{Text: p.Text, Match: p.Match})
		}
		out = append(out, h)
	}
	return out
}

// maxValues is how many values of a facet are told.
const maxValues = 200

func facetCounts(asked []groupsv1.SearchGroupsRequest_Facet, counts map[index.Facet][]index.Count) []*groupsv1.SearchGroupsResponse_FacetCount {
	var out []*groupsv1.SearchGroupsResponse_FacetCount
	for _, a := range asked {
		c := &groupsv1.SearchGroupsResponse_FacetCount{Facet: a}
		all := 0 // groups that suit everybody
		for _, v := range counts[facetOf(a)] {
			if v.Value == unsaid {
				all = v.Groups
			}
		}
		for _, v := range counts[facetOf(a)] {
			if v.Value != unsaid && len(c.Values) < maxValues {
				c.Values = append(c.Values, &groupsv1.SearchGroupsResponse_FacetCount_Value{Value: v.Value, Groups: int32(v.Groups + all)})
			}
		}
		out = append(out, c)
	}
	return out
}

// placeOf tells where a place is that was found by name.
func placeOf(found index.Found, others []index.Found) *groupsv1.SearchGroupsResponse_Place {
	lat, lng := found.Point.LatLng()
	p := &groupsv1.SearchGroupsResponse_Place{
		Locality: found.Locality, AdministrativeArea: found.Region, PostalCode: found.PostalCode, Country: found.Country,
		Location: &latlng.LatLng{Latitude: lat, Longitude: lng},
	}
	for _, o := range others[:min(len(others), 10)] {
		p.Others = append(p.Others, o.Spelling)
	}
	return p
}
