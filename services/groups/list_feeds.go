package groups

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// feedFields are what ListFeeds filters and orders by.
func feedFields() aip.Fields {
	return aip.Fields{
		"organization":  aip.Ref("f.org_id", "organizations"),
		"title":         aip.Text("f.title"),
		"format":        aip.Text("f.format"),
		"source_system": aip.Text("f.source_system"),
		"create_time":   aip.Instant("f.create_time"),
		"update_time":   aip.Instant("f.update_time"),
	}
}

// ListFeeds lists the caller's own feeds.
func (s *feedServer) ListFeeds(ctx context.Context, req *groupsv1.ListFeedsRequest) (*groupsv1.ListFeedsResponse, error) {
	t := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"org": t.Org, "all": t.All}
	filter, err := aip.Filter(req.GetFilter(), feedFields(), args)
	if err != nil {
		return nil, err
	}
	k, err := keysetOf(req.GetOrderBy(), feedFields(), map[string]string{"title": "text", "create_time": "timestamptz", "update_time": "timestamptz"}, "f")
	if err != nil {
		return nil, err
	}
	bound := []any{"ListFeeds", t, req.GetFilter(), req.GetOrderBy()}
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
		feedRow
		Key string
	}
	var items []item
	b := s.db.Batch(ctx)
	b.Queue(`
		SELECT `+feedColumns+`, `+k.selected()+` AS key
		FROM feeds f
		WHERE (@all OR f.org_id = @org) AND `+filter+` AND `+after+`
		ORDER BY `+k.order()+` LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		items, err = pgx.CollectRows(rows, pgx.RowToStructByName[item])
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list feeds: %w", err)
	}
	items, next, err := page.Cut(items, size, func(i item) keysetCursor { return keysetCursor{Key: i.Key, ID: i.ID} }, bound...)
	if err != nil {
		return nil, err
	}
	resp := &groupsv1.ListFeedsResponse{NextPageToken: next}
	for i := range items {
		f, err := items[i].toProto()
		if err != nil {
			return nil, err
		}
		resp.Feeds = append(resp.Feeds, f)
	}
	return resp, nil
}
