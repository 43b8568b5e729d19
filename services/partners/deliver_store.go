package partners

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/formats/fhir/backport"
)

// waiting is what a lane sends next.
type waiting struct {
	ID           int64
	Position     int64 // of the event in the log; negative: a notification without an event
	EventID      uuid.UUID
	Type         string
	Subject      string
	AttemptCount int32
	FailingTime  *time.Time
	Number       *int64
	Service      *string // nil: the log does not have the event
	Revision     *int64
	Time         *time.Time
	Data         *string
	sub          *webhookRow
}

// dropped tells whether the event is no longer kept.
func (w *waiting) dropped() bool { return w.Position > 0 && w.Service == nil }

// selectWaiting finds the first delivery of a lane that is still leased.
const selectWaiting = `
SELECT d.id, d.position, d.event_id, d.type, d.subject, d.attempt_count, d.failing_time, d.number, e.service, e.revision, e.time, e.data::text
FROM webhook_deliveries d
LEFT JOIN event_log e ON e.position = d.position
WHERE d.subscription_id = @sub AND d.subject = @subject AND d.state = 'PENDING'
  AND EXISTS (SELECT FROM webhook_lanes WHERE subscription_id = @sub AND subject = @subject AND lease = @lease)
ORDER BY d.position LIMIT 1`

const selectWaitingFor = `SELECT ` + webhookColumns + ` FROM webhook_subscriptions WHERE id = @sub`

// endLane forgets a lane in which nothing waits any more.
const endLane = `
DELETE FROM webhook_lanes WHERE subscription_id = @sub AND subject = @subject AND lease = @lease
  AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE subscription_id = @sub AND subject = @subject AND state = 'PENDING')`

// lockLane prolongs the lease, and so has whoever puts something in line wait until the lane is done with.
const lockLane = `UPDATE webhook_lanes SET due_time = @until WHERE subscription_id = @sub AND subject = @subject AND lease = @lease`

// sooner is when a lane is due in which something is to be sent at once: a leased one goes on to it by itself, and must not be
// taken from its sender, who may be under way with an older event.
const sooner = `CASE WHEN webhook_lanes.lease IS NULL THEN least(webhook_lanes.due_time, excluded.due_time) ELSE webhook_lanes.due_time END`

// queueNext has a batch find what comes next.
func queueNext(b *pgx.Batch, args pgx.NamedArgs, next **waiting) {
	var found []*waiting
	b.Queue(selectWaiting, args).Query(func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (*waiting, error) {
			w := new(waiting)
			return w, row.Scan(&w.ID, &w.Position, &w.EventID, &w.Type, &w.Subject, &w.AttemptCount, &w.FailingTime, &w.Number, &w.Service, &w.Revision, &w.Time, &w.Data)
		})
		return err
	})
	b.Queue(selectWaitingFor, args).Query(func(rows pgx.Rows) error {
		subs, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[webhookRow])
		if err == nil && len(found) == 1 && len(subs) == 1 {
			*next = found[0]
			(*next).sub = subs[0]
		}
		return err
	})
}

// first returns what a lane that was just leased begins with. If that is nothing it forgets the lane, unless something has come
// meanwhile.
func (d *deliverer) first(ctx context.Context, l lane) (next *waiting, err error) {
	args := l.args()
	args["until"] = d.clock.Now().Add(leaseFor)
	b := d.db.Batch(ctx)
	queueNext(b, args, &next)
	if err := d.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find what waits: %w", err)
	}
	if next != nil {
		return next, nil
	}
	b = d.db.Batch(ctx)
	b.Queue(lockLane, args)
	b.Queue(endLane, args)
	queueNext(b, args, &next)
	if err := d.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("forget lane: %w", err)
	}
	return next, nil
}

// release leaves a lane to whoever is next.
func (d *deliverer) release(ctx context.Context, l lane) error {
	args := l.args()
	args["now"] = d.clock.Now()
	b := d.db.Batch(ctx)
	b.Queue(`UPDATE webhook_lanes SET due_time = @now, lease = NULL WHERE subscription_id = @sub AND subject = @subject AND lease = @lease`, args)
	return d.db.Send(ctx, b)
}

// deliver sends one event, records what came of it and returns what comes next in the lane; nil if nothing may.
func (d *deliverer) deliver(ctx context.Context, l lane, w *waiting) (*waiting, error) {
	if w.sub.State == webhookPaused || w.sub.State == webhookRequested && w.Subject != backport.Handshake {
		return nil, d.release(ctx, l)
	}
	if w.dropped() {
		return d.skipped(ctx, l, w)
	}
	if w.Number == nil && w.Position > 0 && w.sub.Format == fhirNotification {
		if err := d.number(ctx, w); err != nil {
			return nil, err
		}
	}
	o := d.send(ctx, w)
	d.metrics.tried(ctx, o, w.Time)
	if o.taken() {
		return d.delivered(ctx, l, w, o)
	}
	return nil, d.failed(ctx, l, w, o)
}

// send tries to send an event. What Cairn cannot prepare, such as a secret that it cannot open, is a failure of the event: it is tried
// again, and for three days at most.
func (d *deliverer) send(ctx context.Context, w *waiting) (o *outcome) {
	unprepared := &outcome{attemptRow: attemptRow{Time: d.clock.Now(), Failure: "could not be prepared"}, ours: true}
	defer func() {
		if p := recover(); p != nil {
			d.log.ErrorContext(ctx, "sending an event panicked", "subscription", w.sub.ID, "subject", w.Subject, "panic", p, "stack", string(debug.Stack()))
			o = unprepared
		}
	}()
	contentType, body, err := d.body(w)
	if err == nil {
		trying, cancel := context.WithTimeout(ctx, takeTime)
		defer cancel()
		o, err = d.try(trying, d.client, w.sub, w.EventID.String(), contentType, body)
	}
	if err != nil {
		d.log.ErrorContext(ctx, "cannot prepare an event", "subscription", w.sub.ID, "subject", w.Subject, "err", err)
		return unprepared
	}
	return o
}

// skipped records that there is nothing left to send of an event, and that its subscription has lost events.
func (d *deliverer) skipped(ctx context.Context, l lane, w *waiting) (next *waiting, err error) {
	args := l.args()
	args["id"], args["until"] = w.ID, d.clock.Now().Add(leaseFor)
	b := d.db.Batch(ctx)
	b.Queue(lockLane, args)
	b.Queue(`
		WITH skipped AS (
			UPDATE webhook_deliveries SET state = 'SKIPPED'
			WHERE id = @id AND EXISTS (SELECT FROM webhook_lanes WHERE subscription_id = @sub AND subject = @subject AND lease = @lease)
			RETURNING create_time
		)
		UPDATE webhook_subscriptions SET dropped_before_time = greatest(dropped_before_time, coalesce(log_time, skipped.create_time))
		FROM event_log_end, skipped WHERE id = @sub`, args)
	b.Queue(endLane, args)
	queueNext(b, args, &next)
	if err := d.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("skip what is no longer kept: %w", err)
	}
	d.metrics.skipped.Add(ctx, 1)
	return next, nil
}

// body returns what is sent of an event.
func (d *deliverer) body(w *waiting) (contentType string, body []byte, err error) {
	if w.sub.Format == fhirNotification {
		body, err = d.notification(w)
		return "application/fhir+json", body, err
	}
	body, err = cloudEvent(w.EventID.String(), *w.Service, w.Type, w.Subject, *w.Revision, *w.Time, []byte(*w.Data))
	return "application/cloudevents+json; charset=utf-8", body, err
}

// cloudEvent is an event in the structured mode of CloudEvents 1.0.
func cloudEvent(id, service, kind, subject string, revision int64, at time.Time, data []byte) ([]byte, error) {
	return json.Marshal(struct {
		SpecVersion     string          `json:"specversion"`
		ID              string          `json:"id"`
		Source          string          `json:"source"`
		Type            string          `json:"type"`
		Subject         string          `json:"subject"`
		Time            time.Time       `json:"time"`
		Revision        int64           `json:"revision"`
		DataContentType string          `json:"datacontenttype"`
		Data            json.RawMessage `json:"data"`
	}{"1.0", id, events.Source(service), kind, subject, at.UTC(), revision, "application/json", data})
}

const insertAttempt = `
INSERT INTO webhook_attempts (delivery_id, number, org_id, time, latency, status_code, failure, answer)
SELECT @id, @number, @org, @time, @latency, @status, @failure, @answer
WHERE EXISTS (SELECT FROM webhook_lanes WHERE subscription_id = @sub AND subject = @subject AND lease = @lease)`

// record returns the arguments of what records a try.
func (d *deliverer) record(l lane, w *waiting, o *outcome) pgx.NamedArgs {
	args := l.args()
	now := d.clock.Now()
	for k, v := range map[string]any{
		"id": w.ID, "number": w.AttemptCount + 1, "org": w.sub.OrgID, "time": o.Time, "latency": o.Latency, "status": o.StatusCode,
		"failure": o.Failure, "answer": o.Answer, "now": now, "until": now.Add(leaseFor),
	} {
		args[k] = v
	}
	return args
}

// delivered records that an event was taken. All of it depends on the lease: who has lost it sends nothing any more, and another
// sends the event again.
func (d *deliverer) delivered(ctx context.Context, l lane, w *waiting, o *outcome) (next *waiting, err error) {
	if w.sub.FailingTime != nil || w.sub.Failures > 0 || w.Subject == backport.Handshake {
		if err := d.recovered(ctx, w.sub.ID, w.Subject == backport.Handshake); err != nil {
			return nil, err
		}
	}
	args := d.record(l, w, o)
	b := d.db.Batch(ctx)
	b.Queue(lockLane, args)
	b.Queue(insertAttempt, args)
	b.Queue(`
		UPDATE webhook_deliveries SET state = 'DELIVERED', attempt_count = @number, failing_time = NULL, deliver_time = @now
		WHERE id = @id AND EXISTS (SELECT FROM webhook_lanes WHERE subscription_id = @sub AND subject = @subject AND lease = @lease)`, args)
	b.Queue(endLane, args)
	queueNext(b, args, &next)
	if err := d.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("record delivery: %w", err)
	}
	return next, nil
}

// recovered says that a receiver takes events again, or for the first time.
func (d *deliverer) recovered(ctx context.Context, id uuid.UUID, answered bool) error {
	err := d.db.Tx(ctx, func(tx pgx.Tx) error {
		sub, err := selectWebhook(ctx, tx, id, true)
		if err != nil {
			return fmt.Errorf("lock subscription: %w", err)
		}
		was := sub.state()
		sub.FailingTime, sub.Failures, sub.RetryTime, sub.LastFailure = nil, 0, nil, ""
		if answered && sub.State == webhookRequested {
			sub.State = webhookActive
		}
		if sub.state() != was && sub.State == webhookActive {
			sub.Revision++
			if err := events.Insert(ctx, tx, webhookChanged("recovered", sub, d.clock.Now())); err != nil {
				return err
			}
		}
		return writeWebhook(ctx, tx, sub)
	})
	if errors.Is(err, pgx.ErrNoRows) { // deleted meanwhile
		return nil
	}
	return err
}

// failed records that an event was not taken: the lane waits, and the subscription too if it is the receiver that fails. After
// three days the subscription is paused.
func (d *deliverer) failed(ctx context.Context, l lane, w *waiting, o *outcome) error {
	err := d.db.Tx(ctx, func(tx pgx.Tx) error {
		args := d.record(l, w, o)
		now := d.clock.Now()
		since := now
		if w.FailingTime != nil {
			since = *w.FailingTime
		}
		args["since"], args["due"] = since, now.Add(max(backoff(w.AttemptCount+1), o.wait))
		tag, err := tx.Exec(ctx, `UPDATE webhook_lanes SET due_time = @due WHERE subscription_id = @sub AND subject = @subject AND lease = @lease`, args)
		if err != nil || tag.RowsAffected() == 0 { // another has the lane
			return err
		}
		for _, sql := range []string{
			insertAttempt,
			`UPDATE webhook_deliveries SET attempt_count = @number, failing_time = @since WHERE id = @id`,
			`UPDATE webhook_lanes SET lease = NULL WHERE subscription_id = @sub AND subject = @subject`,
		} {
			if _, err := tx.Exec(ctx, sql, args); err != nil {
				return fmt.Errorf("record failure: %w", err)
			}
		}
		sub, err := selectWebhook(ctx, tx, w.sub.ID, true)
		if err != nil {
			return fmt.Errorf("lock subscription: %w", err)
		}
		if sub.URL != w.sub.URL { // what an address did that it no longer has
			return d.moved(ctx, tx, args)
		}
		return d.suffer(ctx, tx, sub, w, o, since)
	})
	if errors.Is(err, pgx.ErrNoRows) { // deleted meanwhile
		return nil
	}
	return err
}

// moved has what failed at another address than the subscription's tried at this one. The try has locked both rows.
func (d *deliverer) moved(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) error {
	for _, sql := range []string{
		`UPDATE webhook_lanes SET due_time = @now WHERE subscription_id = @sub AND subject = @subject`,
		`UPDATE webhook_deliveries SET failing_time = NULL WHERE id = @id`,
	} {
		if _, err := tx.Exec(ctx, sql, args); err != nil {
			return fmt.Errorf("try the new address: %w", err)
		}
	}
	return nil
}

// suffer has a locked subscription bear a failure of an event that has failed since then.
func (d *deliverer) suffer(ctx context.Context, tx pgx.Tx, sub *webhookRow, w *waiting, o *outcome, since time.Time) error {
	if sub.State == webhookPaused {
		return nil
	}
	now := d.clock.Now()
	was := sub.state()
	sub.LastFailure = o.Failure
	if o.down() {
		if sub.FailingTime == nil {
			sub.FailingTime = &now
		}
		wait := o.wait
		if sub.RetryTime == nil || !o.Time.Before(*sub.RetryTime) { // tries that were under way together fail once
			sub.Failures++
			wait = max(wait, backoff(sub.Failures))
		}
		if until := now.Add(wait); sub.RetryTime == nil || until.After(*sub.RetryTime) {
			sub.RetryTime = &until
		}
		if sub.FailingTime.Before(since) {
			since = *sub.FailingTime
		}
	}
	switch {
	case o.gone():
		return d.stop(ctx, tx, sub, partnersv1.WebhookSubscription_GONE)
	case now.Sub(since) < giveUp:
	case w.Subject == backport.Handshake:
		return d.stop(ctx, tx, sub, partnersv1.WebhookSubscription_HANDSHAKE_FAILED)
	default:
		return d.stop(ctx, tx, sub, partnersv1.WebhookSubscription_NOT_DELIVERED)
	}
	if is := sub.state(); is != was {
		sub.Revision++
		if err := events.Insert(ctx, tx, webhookChanged("failing", sub, now)); err != nil {
			return err
		}
	}
	return writeWebhook(ctx, tx, sub)
}

// queueNotice puts a notification in line that is of no event.
func queueNotice(ctx context.Context, tx pg.Querier, sub *webhookRow, kind string, now time.Time) error {
	args := pgx.NamedArgs{"sub": sub.ID, "org": sub.OrgID, "kind": kind, "event": uuid.New(), "now": now}
	for _, sql := range []string{
		`INSERT INTO webhook_lanes (subscription_id, subject, org_id, due_time) VALUES (@sub, @kind, @org, @now)
			ON CONFLICT (subscription_id, subject) DO UPDATE SET due_time = ` + sooner,
		`INSERT INTO webhook_deliveries (subscription_id, org_id, position, event_id, type, subject, state, create_time)
			VALUES (@sub, @org, -nextval('webhook_notices'), @event, @kind, @kind, 'PENDING', @now)`,
	} {
		if _, err := tx.Exec(ctx, sql, args); err != nil {
			return fmt.Errorf("queue %s: %w", kind, err)
		}
	}
	return nil
}
