package partners

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// ResumeWebhookSubscription goes on with what waits. The three days of what failed begin anew.
func (s *webhooksServer) ResumeWebhookSubscription(ctx context.Context, req *partnersv1.ResumeWebhookSubscriptionRequest) (out *partnersv1.WebhookSubscription, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		now := s.clock.Now()
		row, err := s.findWebhook(ctx, tx, "name", req.GetName(), false)
		if err != nil {
			return err
		}
		if row.EndTime != nil && !row.EndTime.After(now) {
			return fault.Precondition("SUBSCRIPTION_ENDED", row.name(), "the end that it was given has come: change fhir.end_time first")
		}
		if err := tryAgain(ctx, tx, row.ID, now, req.GetSkipPending()); err != nil {
			return err
		}
		if row, err = selectWebhook(ctx, tx, row.ID, true); err != nil {
			return fmt.Errorf("lock subscription: %w", err)
		}
		if err := s.resume(ctx, tx, row); err != nil {
			return err
		}
		if out, err = s.shown(ctx, tx, row); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, out)
	})
	if err == nil {
		s.deliverer.poke()
	}
	return out, err
}

// tryAgain has what waits for a subscription tried at once, or passed over, and what failed fail from now on only. It comes before
// the subscription is locked, as whoever records a try locks its lane first.
func tryAgain(ctx context.Context, tx pgx.Tx, id uuid.UUID, now time.Time, skip bool) error {
	args := pgx.NamedArgs{"id": id, "now": now, "skip": skip}
	for _, sql := range []string{
		`WITH free AS MATERIALIZED (
			SELECT subject FROM webhook_lanes WHERE subscription_id = @id AND lease IS NULL ORDER BY subject FOR UPDATE
		)
		UPDATE webhook_lanes l SET due_time = @now FROM free WHERE l.subscription_id = @id AND l.subject = free.subject`,
		`UPDATE webhook_deliveries SET state = 'SKIPPED' WHERE @skip AND subscription_id = @id AND state = 'PENDING' AND position > 0`,
		`UPDATE webhook_deliveries SET failing_time = NULL WHERE subscription_id = @id AND state = 'PENDING' AND failing_time IS NOT NULL`,
	} {
		if _, err := tx.Exec(ctx, sql, args); err != nil {
			return fmt.Errorf("try again: %w", err)
		}
	}
	return nil
}

// resume has a locked subscription send again; one of FHIR whose receiver never answered the handshake, that first.
func (s *service) resume(ctx context.Context, tx pgx.Tx, row *webhookRow) error {
	now := s.clock.Now()
	was, unanswered := row.State, row.PauseReason == partnersv1.WebhookSubscription_HANDSHAKE_FAILED.String()
	row.FailingTime, row.Failures, row.RetryTime, row.LastFailure = nil, 0, nil, ""
	if was == webhookPaused {
		row.State, row.PauseReason = webhookActive, ""
		row.Revision++
		row.UpdateTime = now
		if unanswered {
			row.State = webhookRequested
		}
	}
	row.nextHeartbeat(now)
	if err := writeWebhook(ctx, tx, row); err != nil {
		return fmt.Errorf("resume subscription: %w", err)
	}
	if was != webhookPaused {
		return nil
	}
	return events.Insert(ctx, tx, webhookChanged("resumed", row, now))
}
