package partners

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
)

// secretOverlap is how long the secret before signs too, if the caller does not say.
const secretOverlap = 24 * time.Hour

// RotateWebhookSecret makes a new secret.
func (s *webhooksServer) RotateWebhookSecret(ctx context.Context, req *partnersv1.RotateWebhookSecretRequest) (out *partnersv1.WebhookSubscription, err error) {
	overlap := secretOverlap
	if req.Overlap != nil {
		overlap = req.GetOverlap().AsDuration()
	}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := s.findWebhook(ctx, tx, "name", req.GetName(), true)
		if err != nil {
			return err
		}
		old, err := crypt.OpenString(s.crypt.AEAD(), row.name(), "secret", row.Secret)
		if err != nil {
			return err
		}
		secret, err := newSecret()
		if err != nil {
			return err
		}
		if row.Secret, err = s.sealSecret(row, "secret", secret); err != nil {
			return err
		}
		now := s.clock.Now()
		row.PreviousSecret, row.PreviousSecretExpire = nil, nil
		if overlap > 0 {
			row.PreviousSecretExpire = new(now.Add(overlap))
			if row.PreviousSecret, err = s.sealSecret(row, "previous_secret", old); err != nil {
				return err
			}
		}
		row.Revision++
		row.UpdateTime = now
		if err := writeWebhook(ctx, tx, row); err != nil {
			return fmt.Errorf("rotate secret: %w", err)
		}
		if err := events.Insert(ctx, tx, webhookChanged("secret_rotated", row, now)); err != nil {
			return err
		}
		if out, err = s.shown(ctx, tx, row); err != nil {
			return err
		}
		out.Secret = secret
		return idem.SaveTx(ctx, tx, out)
	})
	return out, err
}
