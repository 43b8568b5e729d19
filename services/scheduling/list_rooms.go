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

func roomFields() aip.Fields {
	return aip.Fields{
		"organization": aip.Ref("org_id", "organizations"),
		"title":        aip.Text("title"),
		"seats":        aip.Int("seats"),
		"create_time":  aip.Instant("create_time"),
		"update_time":  aip.Instant("update_time"),
	}
}

// ListRooms lists rooms, by creation.
func (s *server) ListRooms(ctx context.Context, req *schedulingv1.ListRoomsRequest) (*schedulingv1.ListRoomsResponse, error) {
	tenant, size := auth.TenantFrom(ctx), page.Size(req.GetPageSize())
	query := []any{"ListRooms", tenant, req.GetFilter()}
	after, _, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	args := pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "after": after, "limit": size + 1}
	where, err := aip.Filter(req.GetFilter(), roomFields(), args)
	if err != nil {
		return nil, err
	}
	var found []roomRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+roomColumns+` FROM rooms WHERE (@all OR org_id = @org) AND delete_time IS NULL AND id > @after AND `+where+`
		ORDER BY id LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, pgx.RowToStructByName[roomRow])
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list rooms: %w", err)
	}
	found, next, err := page.Cut(found, size, func(r roomRow) uuid.UUID { return r.ID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &schedulingv1.ListRoomsResponse{NextPageToken: next}
	for _, row := range found {
		resp.Rooms = append(resp.Rooms, row.toProto())
	}
	return resp, nil
}
