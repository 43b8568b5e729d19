package partners

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

var organizationFilter = aip.Fields{
	"kind":         aip.EnumText("kind", partnersv1.Organization_Kind_value),
	"display_name": aip.Text("display_name"),
	"languages":    aip.TextList("languages"),
	"parent":       aip.Ref("parent_id", organizations),
	"verified":     aip.Bool("verified"),
	"create_time":  aip.Instant("create_time"),
}

var organizationOrder = aip.Fields{
	"create_time":  aip.Instant("create_time"),
	"display_name": aip.Text("display_name"),
}

// organizationCursor is where a listing stands: the last row's key and id.
type organizationCursor struct {
	Name string    `json:"n,omitempty"`
	Time time.Time `json:"t,omitzero"`
	ID   uuid.UUID `json:"i"`
}

// ListOrganizations returns a page of organizations.
func (s *partnersServer) ListOrganizations(ctx context.Context, req *partnersv1.ListOrganizationsRequest) (*partnersv1.ListOrganizationsResponse, error) {
	orders, err := aip.OrderBy(req.GetOrderBy(), organizationOrder)
	if err != nil {
		return nil, err
	}
	order := aip.Order{Field: "create_time", Column: "create_time"}
	switch len(orders) {
	case 0:
	case 1:
		order = orders[0]
	default:
		return nil, fault.Invalid(fault.Field("order_by", "name one field: create_time or display_name"))
	}
	query := []any{"ListOrganizations", req.GetFilter(), req.GetOrderBy()}
	cursor, after, err := page.Decode[organizationCursor](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"limit": size + 1, "after": after, "after_name": cursor.Name, "after_time": cursor.Time, "after_id": cursor.ID}
	where, err := aip.Filter(req.GetFilter(), organizationFilter, args)
	if err != nil {
		return nil, err
	}
	rows, err := selectOrganizations(ctx, s.db, where, order, args)
	if err != nil {
		return nil, fmt.Errorf("list organizations: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *organizationRow) organizationCursor {
		if order.Field == "display_name" {
			return organizationCursor{ID: r.ID, Name: r.DisplayName}
		}
		return organizationCursor{ID: r.ID, Time: r.CreateTime}
	}, query...)
	if err != nil {
		return nil, err
	}
	resp := &partnersv1.ListOrganizationsResponse{NextPageToken: next}
	for _, r := range rows {
		o, err := r.toProto()
		if err != nil {
			return nil, err
		}
		resp.Organizations = append(resp.Organizations, o)
	}
	return resp, nil
}
