package partners

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	// measureEvery is the time between looks for how much waits.
	measureEvery = 15 * time.Second

	// mostCounted is how many deliveries that wait are counted: more are as many as this.
	mostCounted = 100_000
)

// webhookMetrics are what the deliverer measures: how tries ended, and how the line stands.
type webhookMetrics struct {
	tries         metric.Int64Counter
	delay         metric.Float64Histogram
	skipped       metric.Int64Counter
	subscriptions metric.Int64Gauge
	waiting       metric.Int64Gauge
	overdue       metric.Float64Gauge

	measured time.Time
}

func newWebhookMetrics(meter metric.Meter) (*webhookMetrics, error) {
	m := new(webhookMetrics)
	var errs [6]error
	m.tries, errs[0] = meter.Int64Counter("cairn.webhooks.tries", metric.WithDescription("Tries to deliver to webhooks and FHIR Subscriptions, by outcome: delivered, failed"))
	m.delay, errs[1] = meter.Float64Histogram("cairn.webhooks.delay", metric.WithUnit("s"), metric.WithDescription("From an event to its receiver's yes"),
		metric.WithExplicitBucketBoundaries(.01, .02, .05, .1, .2, .5, 1, 5, 30, 300, 3600, 86400, 259200))
	m.skipped, errs[2] = meter.Int64Counter("cairn.webhooks.skipped", metric.WithDescription("Deliveries of events that were no longer kept when their turn came"))
	m.subscriptions, errs[3] = meter.Int64Gauge("cairn.webhooks.subscriptions", metric.WithDescription("Webhooks and FHIR Subscriptions, by state: requested, active, failing, paused"))
	m.waiting, errs[4] = meter.Int64Gauge("cairn.webhooks.waiting", metric.WithDescription("Deliveries that wait, 100000 at most; of those that are paused too"))
	m.overdue, errs[5] = meter.Float64Gauge("cairn.webhooks.overdue", metric.WithUnit("s"),
		metric.WithDescription("How long the delivery waits that is due longest, of subscriptions that are neither paused nor wait for their receiver"))
	return m, errors.Join(errs[:]...)
}

func outcomeIs(name string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", name)))
}

// tried counts a try, and how long its event took if it was taken; happened is nil of what is no event.
func (m *webhookMetrics) tried(ctx context.Context, o *outcome, happened *time.Time) {
	if !o.taken() {
		m.tries.Add(ctx, 1, outcomeIs("failed"))
		return
	}
	m.tries.Add(ctx, 1, outcomeIs("delivered"))
	if happened != nil {
		m.delay.Record(ctx, o.Time.Add(o.Latency).Sub(*happened).Seconds())
	}
}

// measure tells now and then how the line stands. Every process that delivers tells the same.
func (d *deliverer) measure(ctx context.Context) error {
	if time.Since(d.metrics.measured) < measureEvery {
		return nil
	}
	d.metrics.measured = time.Now()
	now := d.clock.Now()
	states := map[string]int64{"requested": 0, "active": 0, "failing": 0, "paused": 0}
	var waiting int64
	var due *time.Time
	b := d.db.Batch(ctx)
	b.Queue(`
		SELECT CASE WHEN state = 'ACTIVE' AND failing_time IS NOT NULL THEN 'failing' ELSE lower(state) END, count(*)
		FROM webhook_subscriptions GROUP BY 1`).Query(func(rows pgx.Rows) error {
		var state string
		var n int64
		_, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error {
			states[state] = n
			return nil
		})
		return err
	})
	b.Queue(`SELECT count(*) FROM (SELECT FROM webhook_deliveries WHERE state = 'PENDING' LIMIT @most) AS first`, pgx.NamedArgs{"most": mostCounted}).
		QueryRow(func(row pgx.Row) error { return row.Scan(&waiting) })
	b.Queue(longestDue, pgx.NamedArgs{"now": now}).QueryRow(func(row pgx.Row) error { return row.Scan(&due) })
	if err := d.db.Send(ctx, b); err != nil {
		return fmt.Errorf("measure webhooks: %w", err)
	}
	for state, n := range states {
		d.metrics.subscriptions.Record(ctx, n, metric.WithAttributeSet(attribute.NewSet(attribute.String("state", state))))
	}
	d.metrics.waiting.Record(ctx, waiting)
	overdue := 0.0
	if due != nil {
		overdue = now.Sub(*due).Seconds()
	}
	d.metrics.overdue.Record(ctx, overdue)
	return nil
}

// longestDue is when that was due which nothing but a sender is missing for, null if nothing is.
const longestDue = `
SELECT min(l.due_time)
FROM webhook_subscriptions s CROSS JOIN LATERAL (
	SELECT due_time FROM webhook_lanes
	WHERE subscription_id = s.id AND due_time <= @now AND (s.state = 'ACTIVE' OR subject = 'handshake') ORDER BY due_time LIMIT 1) AS l
WHERE s.state <> 'PAUSED' AND (s.retry_time IS NULL OR s.retry_time <= @now)`
