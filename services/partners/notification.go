package partners

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/events"
	"cairn.care/services/formats/fhir/backport"
)

const (
	// fhirBase is where the FHIR face is under the public URL.
	fhirBase = "/fhir/R4"

	noticesEvery  = time.Second // between looks for heartbeats that are due
	noticesAtOnce = 100
)

// notification is what a FHIR subscription is sent.
func (d *deliverer) notification(w *waiting) ([]byte, error) {
	n := d.notificationOf(w.sub, w.EventID)
	if w.Position < 0 {
		n.Kind = w.Subject
		return n.JSON()
	}
	_, id, _ := strings.Cut(w.Subject, "/")
	n.Count, n.Time, n.Focus, n.Created = *w.Number, *w.Time, w.sub.fhirType()+"/"+id, *w.Revision == 1
	return n.JSON()
}

// notificationOf says of which subscription a notification is.
func (s *service) notificationOf(sub *webhookRow, id uuid.UUID) *backport.Notification {
	status := map[partnersv1.WebhookSubscription_State]string{
		partnersv1.WebhookSubscription_REQUESTED: "requested", partnersv1.WebhookSubscription_ACTIVE: "active",
		partnersv1.WebhookSubscription_FAILING: "error", partnersv1.WebhookSubscription_PAUSED: "off",
	}[sub.state()]
	return &backport.Notification{
		ID: id.String(), Base: s.url + fhirBase, Subscription: sub.ID.String(), Topic: backport.Topic(sub.fhirType()), Status: status,
		Count: sub.EventCount, Time: s.clock.Now(),
	}
}

// fhirType is the type that the subscription's topic is about.
func (r *webhookRow) fhirType() string {
	if r.FHIRTopic == partnersv1.WebhookSubscription_Fhir_TASK.String() {
		return "Task"
	}
	return "ServiceRequest"
}

// number gives an event its number among those of the subscription, which it keeps however often it is sent.
func (d *deliverer) number(ctx context.Context, w *waiting) error {
	return d.db.Tx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			WITH given AS (
				UPDATE webhook_subscriptions SET event_count = event_count + 1, fhir_heartbeat_time = @now::timestamptz + fhir_heartbeat
				WHERE id = @sub RETURNING event_count
			)
			UPDATE webhook_deliveries SET number = (SELECT event_count FROM given) WHERE id = @id RETURNING number`,
			pgx.NamedArgs{"sub": w.sub.ID, "id": w.ID, "now": d.clock.Now()}).Scan(&w.Number)
		if err != nil {
			return fmt.Errorf("number notification: %w", err)
		}
		return nil
	})
}

// notices puts heartbeats in line, and ends subscriptions whose end has come: some of them, and the next the time after, so that
// those which fail hold no others.
func (d *deliverer) notices(ctx context.Context) error {
	if time.Since(d.noticed) < noticesEvery {
		return nil
	}
	d.noticed = time.Now()
	var due []uuid.UUID
	b := d.db.Batch(ctx)
	b.Queue(`
		SELECT id FROM webhook_subscriptions
		WHERE state <> 'PAUSED' AND (fhir_heartbeat_time <= @now OR end_time <= @now) AND id > @turn
		ORDER BY id LIMIT @limit`,
		pgx.NamedArgs{"now": d.clock.Now(), "turn": d.turn, "limit": noticesAtOnce}).Query(func(rows pgx.Rows) (err error) {
		due, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	if err := d.db.Send(ctx, b); err != nil {
		return fmt.Errorf("find heartbeats: %w", err)
	}
	d.turn = uuid.Nil
	if len(due) == noticesAtOnce {
		d.turn = due[len(due)-1]
	}
	var failed []error
	for _, id := range due {
		err := d.db.Tx(ctx, func(tx pgx.Tx) error { return d.notice(ctx, tx, id) })
		if err != nil && !errors.Is(err, pgx.ErrNoRows) { // none: deleted meanwhile
			failed = append(failed, fmt.Errorf("heartbeat of %s: %w", id, err))
		}
	}
	return errors.Join(failed...)
}

// notice does for one subscription what [deliverer.notices] does for all.
func (d *deliverer) notice(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	now := d.clock.Now()
	// The lane first, as whoever records a try locks it before the subscription.
	if _, err := tx.Exec(ctx, `SELECT FROM webhook_lanes WHERE subscription_id = $1 AND subject = $2 FOR UPDATE`, id, backport.Heartbeat); err != nil {
		return err
	}
	sub, err := selectWebhook(ctx, tx, id, true)
	if err != nil {
		return err
	}
	switch {
	case sub.State == webhookPaused:
		return nil
	case sub.EndTime != nil && !sub.EndTime.After(now):
		sub.pause(partnersv1.WebhookSubscription_ENDED)
		sub.Revision++
		sub.UpdateTime = now
		if err := events.Insert(ctx, tx, webhookChanged("paused", sub, now)); err != nil {
			return err
		}
		return writeWebhook(ctx, tx, sub)
	case sub.FHIRHeartbeatTime == nil || sub.FHIRHeartbeatTime.After(now):
		return nil
	}
	sub.nextHeartbeat(now)
	if err := writeWebhook(ctx, tx, sub); err != nil {
		return err
	}
	if sub.State != webhookActive || sub.FailingTime != nil {
		return nil // nobody hears it, or what waits will be heard
	}
	waits := false
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM webhook_lanes WHERE subscription_id = $1)`, id).Scan(&waits); err != nil || waits {
		return err
	}
	return queueNotice(ctx, tx, sub, backport.Heartbeat, now)
}
