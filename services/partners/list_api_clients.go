package partners

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

var apiClientFilter = aip.Fields{
	"organization": aip.Ref("org_id", organizations),
	"display_name": aip.Text("display_name"),
	"scopes":       aip.TextList("scopes"),
	"disabled":     aip.Bool("disabled"),
	"create_time":  aip.Instant("create_time"),
}

// apiClientCursor is where a listing stands: the last row's keys.
type apiClientCursor struct {
	Time time.Time `json:"t"`
	ID   string    `json:"i"`
}

// ListApiClients returns a page of the clients that the caller may see.
func (s *partnersServer) ListApiClients(ctx context.Context, req *partnersv1.ListApiClientsRequest) (*partnersv1.ListApiClientsResponse, error) {
	query := []any{"ListApiClients", auth.TenantFrom(ctx), req.GetFilter()}
	cursor, after, err := page.Decode[apiClientCursor](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"limit": size + 1, "after": after, "after_time": cursor.Time, "after_id": cursor.ID}
	where, err := aip.Filter(req.GetFilter(), apiClientFilter, args)
	if err != nil {
		return nil, err
	}
	rows, err := selectAPIClients(ctx, s.db, where, args)
	if err != nil {
		return nil, fmt.Errorf("list clients: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *apiClientRow) apiClientCursor { return apiClientCursor{Time: r.CreateTime, ID: r.ID} }, query...)
	if err != nil {
		return nil, err
	}
	resp := &partnersv1.ListApiClientsResponse{NextPageToken: next}
	for _, r := range rows {
		c, err := r.toProto()
		if err != nil {
			return nil, err
		}
		resp.ApiClients = append(resp.ApiClients, c)
	}
	return resp, nil
}
