package partners

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/events"
)

// Subjects of notifications that are of no event.
const (
	handshake      = "handshake"
	heartbeatLane  = "heartbeat"
	backportGuide  = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
	noticesEvery   = time.Second
	noticesAtOnce  = 100
	fhirBase       = "/fhir/R4"
	taskTopic      = "TASK"
	notifyEvent    = "event-notification"
	statusOperator = "/$status"
)

// TopicURL is the canonical of a topic that FHIR subscriptions may have, for the FHIR type "Task" or "ServiceRequest".
func TopicURL(fhirType string) string {
	return "https://cairn.care/fhir/SubscriptionTopic/" + strings.ToLower(fhirType)
}

// parameter is a part of the FHIR resource Parameters.
type parameter struct {
	Name           string      `json:"name"`
	ValueReference *reference  `json:"valueReference,omitempty"`
	ValueCanonical string      `json:"valueCanonical,omitempty"`
	ValueCode      string      `json:"valueCode,omitempty"`
	ValueString    string      `json:"valueString,omitempty"`
	ValueInstant   string      `json:"valueInstant,omitempty"`
	Part           []parameter `json:"part,omitempty"`
}

type reference struct {
	Reference string `json:"reference"`
}

// bundleEntry is one of the Bundle of a notification.
type bundleEntry struct {
	FullURL  string         `json:"fullUrl"`
	Resource any            `json:"resource,omitempty"`
	Request  *entryRequest  `json:"request"`
	Response *entryResponse `json:"response"`
}

type entryRequest struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

type entryResponse struct {
	Status string `json:"status"`
}

// notification is what a FHIR subscription is sent, as Subscriptions R5 Backport 1.1 has it for R4: a Bundle whose first entry says
// which event of which subscription this is, and whose second names the resource.
func (d *deliverer) notification(ctx context.Context, w *waiting) ([]byte, error) {
	if w.Service == nil {
		return notificationOf(d.url, w.sub, w.Subject, w.EventID, w.sub.EventCount, nil, "", time.Time{})
	}
	if w.Number == nil {
		if err := d.number(ctx, w); err != nil {
			return nil, err
		}
	}
	kind := "ServiceRequest"
	if w.sub.FHIRTopic == taskTopic {
		kind = "Task"
	}
	_, id, _ := strings.Cut(w.Subject, "/")
	return notificationOf(d.url, w.sub, notifyEvent, w.EventID, *w.Number, w.Revision, kind+"/"+id, *w.Time)
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

// notificationOf writes a notification; focus is the resource of an event, "" for one without.
func notificationOf(url string, sub *webhookRow, kind string, id uuid.UUID, count int64, revision *int64, focus string, at time.Time) ([]byte, error) {
	base := url + fhirBase
	name := "Subscription/" + sub.ID.String()
	status := map[partnersv1.WebhookSubscription_State]string{
		partnersv1.WebhookSubscription_REQUESTED: "requested", partnersv1.WebhookSubscription_ACTIVE: "active",
		partnersv1.WebhookSubscription_FAILING: "error", partnersv1.WebhookSubscription_PAUSED: "off",
	}[sub.state()]
	topic := TopicURL("servicerequest")
	if sub.FHIRTopic == taskTopic {
		topic = TopicURL("task")
	}
	parts := []parameter{
		{Name: "subscription", ValueReference: &reference{base + "/" + name}},
		{Name: "topic", ValueCanonical: topic},
		{Name: "status", ValueCode: status},
		{Name: "type", ValueCode: kind},
		{Name: "events-since-subscription-start", ValueString: strconv.FormatInt(count, 10)},
	}
	var changed []bundleEntry
	if focus != "" {
		parts = append(parts, parameter{Name: "notification-event", Part: []parameter{
			{Name: "event-number", ValueString: strconv.FormatInt(count, 10)},
			{Name: "timestamp", ValueInstant: at.UTC().Format(time.RFC3339Nano)},
			{Name: "focus", ValueReference: &reference{base + "/" + focus}},
		}})
		collection, _, _ := strings.Cut(focus, "/")
		how, what := &entryRequest{http.MethodPut, focus}, &entryResponse{"200"}
		if *revision == 1 {
			how, what = &entryRequest{http.MethodPost, collection}, &entryResponse{"201"}
		}
		changed = []bundleEntry{{FullURL: base + "/" + focus, Request: how, Response: what}}
	}
	when := at
	if when.IsZero() {
		when = sub.UpdateTime
	}
	return json.Marshal(map[string]any{
		"resourceType": "Bundle", "id": id.String(), "type": "history", "timestamp": when.UTC().Format(time.RFC3339Nano),
		"meta": map[string]any{"profile": []string{backportGuide + "backport-subscription-notification-r4"}},
		"entry": append([]bundleEntry{{
			FullURL: "urn:uuid:" + id.String(),
			Resource: map[string]any{
				"resourceType": "Parameters", "id": id.String(), "parameter": parts,
				"meta": map[string]any{"profile": []string{backportGuide + "backport-subscription-status-r4"}},
			},
			Request: &entryRequest{http.MethodGet, base + "/" + name + statusOperator}, Response: &entryResponse{"200"},
		}}, changed...),
	})
}

// notices puts heartbeats in line, and ends subscriptions whose end has come.
func (d *deliverer) notices(ctx context.Context) error {
	if time.Since(d.noticed) < noticesEvery {
		return nil
	}
	d.noticed = time.Now()
	var due []uuid.UUID
	b := d.db.Batch(ctx)
	b.Queue(`
		SELECT id FROM webhook_subscriptions
		WHERE state <> 'PAUSED' AND (fhir_heartbeat_time <= @now OR end_time <= @now) LIMIT @limit`,
		pgx.NamedArgs{"now": d.clock.Now(), "limit": noticesAtOnce}).Query(func(rows pgx.Rows) (err error) {
		due, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	if err := d.db.Send(ctx, b); err != nil {
		return fmt.Errorf("find heartbeats: %w", err)
	}
	for _, id := range due {
		if err := d.db.Tx(ctx, func(tx pgx.Tx) error { return d.notice(ctx, tx, id) }); err != nil {
			return fmt.Errorf("heartbeat of %s: %w", id, err)
		}
	}
	return nil
}

// notice does for one subscription what [deliverer.notices] does for all.
func (d *deliverer) notice(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	now := d.clock.Now()
	// The lane first, as whoever records a try locks it before the subscription.
	if _, err := tx.Exec(ctx, `SELECT FROM webhook_lanes WHERE subscription_id = $1 AND subject = $2 FOR UPDATE`, id, heartbeatLane); err != nil {
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
	return queueNotice(ctx, tx, sub, heartbeatLane, now)
}
