package partners

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

var webhookFilter = aip.Fields{
	"display_name": aip.Text("display_name"),
	"url":          aip.Text("url"),
	"format":       aip.EnumText("format", partnersv1.WebhookSubscription_Format_value),
	"state":        aip.EnumText("(CASE WHEN state = 'ACTIVE' AND failing_time IS NOT NULL THEN 'FAILING' ELSE state END)", partnersv1.WebhookSubscription_State_value),
	"create_time":  aip.Instant("create_time"),
}

// webhookCursor is where a listing stands: the last row's keys.
type webhookCursor struct {
	Time time.Time `json:"t"`
	ID   uuid.UUID `json:"i"`
}

// ListWebhookSubscriptions returns a page of the subscriptions that the caller may look after.
func (s *webhooksServer) ListWebhookSubscriptions(ctx context.Context, req *partnersv1.ListWebhookSubscriptionsRequest) (*partnersv1.ListWebhookSubscriptionsResponse, error) {
	may := readable(ctx)
	query := []any{"ListWebhookSubscriptions", auth.TenantFrom(ctx), may, req.GetFilter()}
	cursor, after, err := page.Decode[webhookCursor](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"limit": size + 1, "after": after, "after_time": cursor.Time, "after_id": cursor.ID, "readable": may}
	where, err := aip.Filter(req.GetFilter(), webhookFilter, args)
	if err != nil {
		return nil, err
	}
	rows, err := selectWebhooks(ctx, s.db, where, args)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *webhookListed) webhookCursor { return webhookCursor{Time: r.CreateTime, ID: r.ID} }, query...)
	if err != nil {
		return nil, err
	}
	resp := &partnersv1.ListWebhookSubscriptionsResponse{NextPageToken: next}
	for _, r := range rows {
		resp.WebhookSubscriptions = append(resp.WebhookSubscriptions, r.toProto(r.Pending))
	}
	return resp, nil
}
