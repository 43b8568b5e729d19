package scheduling

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// seriesState is a series' state as toProto has it.
const seriesState = `CASE WHEN closed OR coalesce(last_end <= @now, false) THEN 2 ELSE 1 END`

func seriesFields() aip.Fields {
	return aip.Fields{
		"group":        aip.Ref("group_id", "groups"),
		"organization": aip.Ref("org_id", "organizations"),
		"state":        aip.Enum(seriesState, schedulingv1.Series_State_value),
		"title":        aip.Text("title"),
		"format":       aip.Enum("format", schedulingv1.Series_Format_value),
		"create_time":  aip.Instant("create_time"),
		"update_time":  aip.Instant("update_time"),
	}
}

// ListSeries lists series by creation.
func (s *server) ListSeries(ctx context.Context, req *schedulingv1.ListSeriesRequest) (*schedulingv1.ListSeriesResponse, error) {
	tenant, size, now := auth.TenantFrom(ctx), page.Size(req.GetPageSize()), s.clock.Now()
	query := []any{"ListSeries", tenant, req.GetFilter()}
	after, _, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	args := pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "after": after, "limit": size + 1, "now": now}
	where, err := aip.Filter(req.GetFilter(), seriesFields(), args)
	if err != nil {
		return nil, err
	}
	var found []seriesRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+seriesColumns+` FROM series
		WHERE (@all OR org_id = @org) AND delete_time IS NULL AND id > @after AND `+where+`
		ORDER BY id LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, pgx.RowToStructByName[seriesRow])
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list series: %w", err)
	}
	found, next, err := page.Cut(found, size, func(r seriesRow) uuid.UUID { return r.ID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &schedulingv1.ListSeriesResponse{NextPageToken: next}
	for _, row := range found {
		resp.Series = append(resp.Series, row.toProto(now))
	}
	return resp, nil
}
