package partners

import (
	"context"

	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// GetWebhookSubscription returns a subscription of the caller's organization.
func (s *webhooksServer) GetWebhookSubscription(ctx context.Context, req *partnersv1.GetWebhookSubscriptionRequest) (w *partnersv1.WebhookSubscription, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := s.findWebhook(ctx, tx, "name", req.GetName(), false)
		if err != nil {
			return err
		}
		w, err = s.shown(ctx, tx, row)
		return err
	})
	return w, err
}
