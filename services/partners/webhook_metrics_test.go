package partners

import (
	"maps"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
)

// collected returns what a reader has, each figure by its name and the value of its attribute.
func collected(t *testing.T, reader sdkmetric.Reader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	figures := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				add(t, figures, m.Name, data.DataPoints)
			case metricdata.Gauge[int64]:
				add(t, figures, m.Name, data.DataPoints)
			case metricdata.Gauge[float64]:
				add(t, figures, m.Name, data.DataPoints)
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					figures[m.Name+" sum"], figures[m.Name+" count"] = p.Sum, float64(p.Count)
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return figures
}

func add[N int64 | float64](t *testing.T, figures map[string]float64, name string, points []metricdata.DataPoint[N]) {
	t.Helper()
	for _, p := range points {
		at := name
		for _, a := range p.Attributes.ToSlice() {
			at += " " + a.Value.AsString()
		}
		figures[at] = float64(p.Value)
	}
}

// What is measured of webhooks: how tries end and when, and what waits for whom.
func TestWebhookMetrics(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	quiet, held := h.subscribe(t, "https://127.0.0.1:1/"), h.subscribe(t, h.url)
	h.hold(t, quiet)
	h.hold(t, held)
	h.changes(t, name("referrals"), 1, 2)
	h.waiting(t, 4)
	h.change(t, `DELETE FROM webhook_subscriptions WHERE id = @id`, pgx.NamedArgs{"id": idOf(quiet)})
	h.subscribeFHIR(t, &partnersv1.WebhookSubscription_Fhir{Topic: partnersv1.WebhookSubscription_Fhir_TASK})
	h.next(t)
	h.waiting(t, 2)

	reader, now := sdkmetric.NewManualReader(), h.Clock.Now()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test")
	d := ok(newDeliverer(&service{db: h.DBs[Name], clock: clock.NewFake(now.Add(3 * time.Hour))}, nil, meter))(t)
	measured := func(want map[string]float64) {
		t.Helper()
		d.metrics.measured = time.Time{}
		if err := d.measure(auth.System(t.Context(), Name)); err != nil {
			t.Fatal(err)
		}
		if got := collected(t, reader); !maps.Equal(got, want) {
			t.Errorf("measured %v, want %v", got, want)
		}
	}
	want := map[string]float64{
		"cairn.webhooks.subscriptions requested": 0, "cairn.webhooks.subscriptions active": 1, "cairn.webhooks.subscriptions failing": 0,
		"cairn.webhooks.subscriptions paused": 1, "cairn.webhooks.waiting": 2, "cairn.webhooks.overdue": 0,
	}
	measured(want)
	// Due for this sender, whose clock is ahead, and not for the service's own.
	h.change(t, `UPDATE webhook_lanes SET due_time = @due`, pgx.NamedArgs{"due": now.Add(time.Hour)})
	h.change(t, `UPDATE webhook_subscriptions SET state = 'ACTIVE', pause_reason = '', failing_time = @now WHERE id = @id`, pgx.NamedArgs{"id": idOf(held), "now": now})
	want["cairn.webhooks.subscriptions paused"], want["cairn.webhooks.subscriptions failing"], want["cairn.webhooks.overdue"] = 0, 1, 7200
	measured(want)
	h.change(t, `UPDATE webhook_subscriptions SET retry_time = @later WHERE id = @id`, pgx.NamedArgs{"id": idOf(held), "later": now.Add(4 * time.Hour)})
	want["cairn.webhooks.overdue"] = 0
	measured(want)

	happened := now.Add(-time.Minute)
	for status, when := range map[int32]*time.Time{200: &happened, 204: nil, 503: &happened} {
		d.metrics.tried(t.Context(), &outcome{attemptRow: attemptRow{StatusCode: status, Time: now, Latency: time.Second}}, when)
	}
	want["cairn.webhooks.tries delivered"], want["cairn.webhooks.tries failed"] = 2, 1
	want["cairn.webhooks.delay sum"], want["cairn.webhooks.delay count"] = 61, 1
	measured(want)
}
