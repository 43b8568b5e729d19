package groups

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// resourceCursor is the last resource of a page of search.
type resourceCursor struct {
	Rank     int32     `json:"r"`
	Reviewed time.Time `json:"t"`
	ID       uuid.UUID `json:"i"`
}

// SearchResources finds vetted resources. They are thousands, so that reading all of them does.
func (s *server) SearchResources(ctx context.Context, req *groupsv1.SearchResourcesRequest) (*groupsv1.SearchResourcesResponse, error) {
	types, above, err := resourceTypes(req)
	if err != nil {
		return nil, err
	}
	bare := proto.CloneOf(req)
	bare.PageSize, bare.PageToken = 0, ""
	bound, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		return nil, fmt.Errorf("encode search: %w", err)
	}
	cur, more, err := page.Decode[resourceCursor](req.GetPageToken(), "SearchResources", bound)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{
		"words": orEmpty(words(req.GetQuery())), "kinds": numbers(req.GetKinds()), "types": orEmpty(types), "above": orEmpty(above),
		"phases": numbers(req.GetPhases()), "side_effects": numbers(req.GetSideEffects()), "audiences": numbers(req.GetAudiences()),
		"languages": lowered(req.GetLanguages()), "free": req.GetFree(), "limit": size + 1,
		"more": more, "rank": cur.Rank, "reviewed": cur.Reviewed, "id": cur.ID,
	}
	type item struct {
		resourceRow
		at resourceCursor
	}
	var items []item
	b := s.db.Batch(ctx)
	b.Queue(`
		SELECT `+resourceColumns+`, r.rank, r.review_time
		FROM (
			SELECT *, CASE WHEN cardinality(@types::text[]) = 0 OR cancer_types && @types THEN 0 WHEN cancer_types && @above THEN 1 ELSE 2 END AS rank
			FROM resources
			WHERE state IN (2, 3) AND delete_time IS NULL
		) r
		WHERE r.words @> @words::text[]
		  AND (cardinality(@kinds::int[]) = 0 OR r.kind = ANY(@kinds))
		  AND (cardinality(@types::text[]) = 0 OR r.cancer_types && (@types || @above::text[] || '{any}'::text[]))
		  AND (cardinality(@phases::smallint[]) = 0 OR r.phases = '{}' OR r.phases && @phases)
		  AND (cardinality(@side_effects::smallint[]) = 0 OR r.side_effects && @side_effects)
		  AND (cardinality(@audiences::smallint[]) = 0 OR r.audiences = '{}' OR r.audiences && @audiences)
		  AND (cardinality(@languages::text[]) = 0 OR r.language_forms && @languages)
		  AND (NOT @free OR r.cost = 1)
		  AND (NOT @more OR r.rank > @rank OR (r.rank = @rank AND (r.review_time, r.id) < (@reviewed, @id)))
		ORDER BY r.rank, r.review_time DESC, r.id DESC LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		items, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i item, err error) {
			err = row.Scan(&i.ID, &i.OrgID, &i.Revision, &i.State, &i.Body, &i.CreateTime, &i.UpdateTime, &i.DeleteTime, &i.at.Rank, &i.at.Reviewed)
			i.at.ID = i.ID
			return i, err
		})
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("search resources: %w", err)
	}
	items, next, err := page.Cut(items, size, func(i item) resourceCursor { return i.at }, "SearchResources", bound)
	if err != nil {
		return nil, err
	}
	resp := &groupsv1.SearchResourcesResponse{NextPageToken: next}
	for i := range items {
		m, err := items[i].toProto()
		if err != nil {
			return nil, err
		}
		resp.Resources = append(resp.Resources, m)
	}
	return resp, nil
}

// resourceTypes returns the cancer types that a search names and what stands above them, without "any", or what is wrong
// with the search.
func resourceTypes(req *groupsv1.SearchResourcesRequest) (types, above []string, err error) {
	var bad []*fault.Violation
	if strings.ContainsRune(req.GetQuery(), 0) {
		bad = append(bad, fault.Field("query", "must not hold the character NUL"))
	}
	for i, l := range req.GetLanguages() {
		if strings.ContainsRune(l, 0) {
			bad = append(bad, fault.Field(fmt.Sprintf("languages[%d]", i), "must not hold the character NUL"))
		}
	}
	for i, code := range req.GetCancerTypes() {
		if _, ok := cancertype.Lookup(code); !ok {
			bad = append(bad, fault.Field(fmt.Sprintf("cancer_types[%d]", i), "%q is no cancer type: take a code of /v1/cancerTypes", code))
		}
		types = append(types, code)
		for _, a := range cancertype.Ancestors(code) {
			if a != cancertype.Any {
				above = append(above, a)
			}
		}
	}
	if bad != nil {
		return nil, nil, fault.Invalid(bad...)
	}
	return types, above, nil
}
