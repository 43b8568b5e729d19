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

// ListFeedRuns lists the runs of the caller's own feeds, newest first.
func (s *feedServer) ListFeedRuns(ctx context.Context, req *groupsv1.ListFeedRunsRequest) (*groupsv1.ListFeedRunsResponse, error) {
	t := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"org": t.Org, "all": t.All}
	fields := aip.Fields{
		"organization": aip.Ref("r.org_id", "organizations"),
		"feed":         aip.Ref("r.feed_id", "feeds"),
		"state":        aip.Enum("r.state", groupsv1.FeedRun_State_value),
		"create_time":  aip.Instant("r.create_time"),
	}
	filter, err := aip.Filter(req.GetFilter(), fields, args)
	if err != nil {
		return nil, err
	}
	k, err := keysetOf("", fields, nil, "r")
	if err != nil {
		return nil, err
	}
	bound := []any{"ListFeedRuns", t, req.GetFilter()}
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
		runRow
		Key string
	}
	var items []item
	b := s.db.Batch(ctx)
	b.Queue(`
		SELECT `+runColumns+`, `+k.selected()+` AS key
		FROM feed_runs r
		WHERE (@all OR r.org_id = @org) AND `+filter+` AND `+after+`
		ORDER BY `+k.order()+` LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		items, err = pgx.CollectRows(rows, pgx.RowToStructByName[item])
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	items, next, err := page.Cut(items, size, func(i item) keysetCursor { return keysetCursor{Key: i.Key, ID: i.ID} }, bound...)
	if err != nil {
		return nil, err
	}
	resp := &groupsv1.ListFeedRunsResponse{NextPageToken: next}
	for i := range items {
		resp.FeedRuns = append(resp.FeedRuns, items[i].toProto())
	}
	return resp, nil
}
