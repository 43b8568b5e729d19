package groups

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/page"
)

// resourceFields are what ListResources filters and orders by.
func resourceFields() aip.Fields {
	return aip.Fields{
		"organization": aip.Ref("r.org_id", "organizations"),
		"state":        aip.Enum("r.state", groupsv1.Resource_State_value),
		"kind":         aip.Enum("r.kind", groupsv1.Resource_Kind_value),
		"title":        aip.Text("r.title"),
		"languages":    aip.TextList("r.languages"),
		"cancer_types": aip.TextList("r.cancer_types"),
		"cost":         aip.Enum("r.cost", groupsv1.Resource_Cost_value),
		"review_due":   aip.Date("r.review_due"),
		"create_time":  aip.Instant("r.create_time"),
		"update_time":  aip.Instant("r.update_time"),
	}
}

// ListResources lists the caller's own resources.
func (s *server) ListResources(ctx context.Context, req *groupsv1.ListResourcesRequest) (*groupsv1.ListResourcesResponse, error) {
	t := insider(ctx)
	args := pgx.NamedArgs{"org": t.Org, "all": t.All, "deleted": req.GetShowDeleted()}
	filter, err := aip.Filter(req.GetFilter(), resourceFields(), args)
	if err != nil {
		return nil, err
	}
	k, err := keysetOf(req.GetOrderBy(), resourceFields(), map[string]string{"title": "text", "create_time": "timestamptz", "update_time": "timestamptz"}, "r")
	if err != nil {
		return nil, err
	}
	bound := []any{"ListResources", t, req.GetFilter(), req.GetOrderBy(), req.GetShowDeleted()}
	cur, more, err := page.Decode[keysetCursor](req.GetPageToken(), bound...)
	if err != nil {
		return nil, err
	}
	after, err := k.after(cur, more, args)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	args["limit"] = size + 1

	type item struct {
		resourceRow
		key string
	}
	var items []item
	b := s.db.Batch(ctx)
	b.Queue(`
		SELECT `+resourceColumns+`, `+k.selected()+`
		FROM resources r
		WHERE (@all OR r.org_id = @org) AND (@deleted OR r.delete_time IS NULL) AND `+filter+` AND `+after+`
		ORDER BY `+k.order()+` LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		items, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i item, err error) {
			err = i.scan(withKey{row, &i.key})
			return i, err
		})
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list resources: %w", err)
	}
	items, next, err := page.Cut(items, size, func(i item) keysetCursor { return keysetCursor{Key: i.key, ID: i.ID} }, bound...)
	if err != nil {
		return nil, err
	}
	resp := &groupsv1.ListResourcesResponse{NextPageToken: next}
	for i := range items {
		m, err := items[i].toProto()
		if err != nil {
			return nil, err
		}
		resp.Resources = append(resp.Resources, m)
	}
	return resp, nil
}
