package partners

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/emptypb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
)

// DeleteWebhookSubscription ends a subscription.
func (s *webhooksServer) DeleteWebhookSubscription(ctx context.Context, req *partnersv1.DeleteWebhookSubscriptionRequest) (*emptypb.Empty, error) {
	out := new(emptypb.Empty)
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := s.findWebhook(ctx, tx, "name", req.GetName(), false)
		if err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetEtag(), row.Revision); err != nil {
			return err
		}
		// Lanes first, as whoever records a try locks them before the subscription.
		for _, sql := range []string{
			`DELETE FROM webhook_lanes WHERE subscription_id = $1`, `DELETE FROM webhook_subscriptions WHERE id = $1`,
		} {
			if _, err := tx.Exec(ctx, sql, row.ID); err != nil {
				return fmt.Errorf("delete subscription: %w", err)
			}
		}
		row.Revision++
		if err := events.Insert(ctx, tx, webhookChanged("deleted", row, s.clock.Now())); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
