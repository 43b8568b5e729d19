package groups

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// facilitatorFields are what ListFacilitators filters and orders by.
func facilitatorFields() aip.Fields {
	return aip.Fields{
		"display_name":        aip.Text("f.display_name"),
		"languages":           aip.TextList("f.languages"),
		"licence_expire_date": aip.Date("f.licence_expire_date"),
		"create_time":         aip.Instant("f.create_time"),
		"update_time":         aip.Instant("f.update_time"),
	}
}

// ListFacilitators lists the facilitators of the caller's organization.
func (s *server) ListFacilitators(ctx context.Context, req *groupsv1.ListFacilitatorsRequest) (*groupsv1.ListFacilitatorsResponse, error) {
	t := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"org": t.Org, "all": t.All}
	filter, err := aip.Filter(req.GetFilter(), facilitatorFields(), args)
	if err != nil {
		return nil, err
	}
	k, err := keysetOf(req.GetOrderBy(), facilitatorFields(), map[string]string{"display_name": "text", "create_time": "timestamptz", "update_time": "timestamptz"}, "f")
	if err != nil {
		return nil, err
	}
	bound := []any{"ListFacilitators", t, req.GetFilter(), req.GetOrderBy()}
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
		facilitatorRow
		key string
	}
	var items []item
	b := s.db.Batch(ctx)
	b.Queue(`
		SELECT `+facilitatorColumns+`, `+k.selected()+`
		FROM facilitators f
		WHERE (@all OR f.org_id = @org) AND `+filter+` AND `+after+`
		ORDER BY `+k.order()+` LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		items, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i item, err error) {
			err = i.scan(withKey{row, &i.key})
			return i, err
		})
		return err
	})
	audit.Queue(ctx, b, "facilitators/-")
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list facilitators: %w", err)
	}
	items, next, err := page.Cut(items, size, func(i item) keysetCursor { return keysetCursor{Key: i.key, ID: i.ID} }, bound...)
	if err != nil {
		return nil, err
	}
	resp := &groupsv1.ListFacilitatorsResponse{NextPageToken: next}
	for i := range items {
		f, err := items[i].toProto()
		if err != nil {
			return nil, err
		}
		resp.Facilitators = append(resp.Facilitators, f)
	}
	return resp, nil
}
