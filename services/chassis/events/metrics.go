package events

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const scope = "cairn.care/services/chassis/events"

// metrics are what relays and consumers measure.
type metrics struct {
	published    metric.Int64Counter
	publishDelay metric.Float64Histogram
	applied      metric.Int64Counter
	applyDelay   metric.Float64Histogram
	behind       metric.Int64Gauge
}

func newMetrics() (*metrics, error) {
	meter := otel.Meter(scope)
	buckets := metric.WithExplicitBucketBoundaries(.001, .002, .005, .01, .02, .05, .1, .5, 1, 5, 30, 300)
	m := new(metrics)
	var errs [5]error
	m.published, errs[0] = meter.Int64Counter("cairn.events.published", metric.WithDescription("Events that JetStream acknowledged"))
	m.publishDelay, errs[1] = meter.Float64Histogram("cairn.events.publish_delay", metric.WithUnit("s"), buckets,
		metric.WithDescription("From an event's outbox row to its acknowledgement by JetStream"))
	m.applied, errs[2] = meter.Int64Counter("cairn.events.applied", metric.WithDescription("Events applied or set aside"))
	m.applyDelay, errs[3] = meter.Float64Histogram("cairn.events.apply_delay", metric.WithUnit("s"), buckets,
		metric.WithDescription("From an event's outbox row to the end of its work in a consumer"))
	m.behind, errs[4] = meter.Int64Gauge("cairn.events.behind", metric.WithDescription("Events in the stream behind the last one read"))
	return m, errors.Join(errs[:]...)
}

func (m *metrics) wasPublished(ctx context.Context, service string, row outboxRow) {
	attrs := metric.WithAttributeSet(attribute.NewSet(attribute.String("service", service)))
	m.published.Add(ctx, 1, attrs)
	m.publishDelay.Record(ctx, time.Since(row.CreatedAt).Seconds(), attrs)
}

func (m *metrics) wasRead(ctx context.Context, subscription string, pending uint64) {
	m.behind.Record(ctx, int64(pending),
		metric.WithAttributeSet(attribute.NewSet(attribute.String("subscription", subscription))))
}

func (m *metrics) wasApplied(ctx context.Context, subscription string, e *Received, outcome string) {
	attrs := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("subscription", subscription), attribute.String("outcome", outcome)))
	m.applied.Add(ctx, 1, attrs)
	if !e.Time.IsZero() {
		m.applyDelay.Record(ctx, time.Since(e.Time).Seconds(), attrs)
	}
}
