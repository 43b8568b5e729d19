package partners

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
)

// PauseWebhookSubscription has events wait.
func (s *webhooksServer) PauseWebhookSubscription(ctx context.Context, req *partnersv1.PauseWebhookSubscriptionRequest) (out *partnersv1.WebhookSubscription, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := s.findWebhook(ctx, tx, "name", req.GetName(), true)
		if err != nil {
			return err
		}
		if row.State != webhookPaused {
			now := s.clock.Now()
			row.pause(partnersv1.WebhookSubscription_BY_REQUEST)
			row.Revision++
			row.UpdateTime = now
			if err := writeWebhook(ctx, tx, row); err != nil {
				return fmt.Errorf("pause subscription: %w", err)
			}
			if err := events.Insert(ctx, tx, webhookChanged("paused", row, now)); err != nil {
				return err
			}
		}
		if out, err = s.shown(ctx, tx, row); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, out)
	})
	return out, err
}

// pause stops a subscription.
func (r *webhookRow) pause(why partnersv1.WebhookSubscription_PauseReason) {
	r.State, r.PauseReason, r.RetryTime, r.FHIRHeartbeatTime = webhookPaused, why.String(), nil, nil
}
