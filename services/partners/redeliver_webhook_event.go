package partners

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// RedeliverWebhookEvent puts one event in line again.
func (s *webhooksServer) RedeliverWebhookEvent(ctx context.Context, req *partnersv1.RedeliverWebhookEventRequest) (out *partnersv1.WebhookDelivery, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		sub, id, err := s.findDelivery(ctx, tx, req.GetName())
		if err != nil {
			return err
		}
		args := pgx.NamedArgs{"sub": sub.ID, "id": id, "now": s.clock.Now()}
		tag, err := tx.Exec(ctx, `
			INSERT INTO webhook_lanes (subscription_id, subject, org_id, due_time)
			SELECT subscription_id, subject, org_id, @now::timestamptz FROM webhook_deliveries WHERE subscription_id = @sub AND id = @id AND position > 0
			ON CONFLICT (subscription_id, subject) DO UPDATE SET due_time = `+sooner, args)
		if err != nil {
			return fmt.Errorf("redeliver: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return fault.NotFound(req.GetName())
		}
		if _, err := tx.Exec(ctx, `UPDATE webhook_deliveries SET state = 'PENDING', failing_time = NULL, deliver_time = NULL WHERE id = @id`, args); err != nil {
			return fmt.Errorf("redeliver: %w", err)
		}
		if out, err = shownDelivery(ctx, tx, sub, id, req.GetName()); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, out)
	})
	if err == nil {
		s.deliverer.poke()
	}
	return out, err
}
