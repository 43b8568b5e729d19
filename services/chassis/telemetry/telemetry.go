// Package telemetry sets up traces, metrics and logs that share ids: OTLP when an
// endpoint is configured, Prometheus at /metrics always, logs to standard error always.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Options say what to set up.
type Options struct {
	Service      string    // service.name of the resource
	OTLPEndpoint string    // URL of a collector's gRPC endpoint; empty: none
	TraceRatio   float64   // share of root spans sampled
	LogLevel     string    // debug, info, warn, error
	LogFormat    string    // text or json
	LogWriter    io.Writer // where logs go
}

// Telemetry is what the chassis instruments with.
type Telemetry struct {
	Log     *slog.Logger
	Tracer  trace.TracerProvider
	Meter   metric.MeterProvider
	Metrics http.Handler // Prometheus exposition

	shutdown []func(context.Context) error
}

// Propagation is how trace contexts travel: W3C traceparent and tracestate.
func Propagation() propagation.TextMapPropagator { return propagation.TraceContext{} }

// Setup starts the exporters.
func Setup(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{}
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	opts := &slog.HandlerOptions{Level: level}
	var out slog.Handler = slog.NewTextHandler(o.LogWriter, opts)
	if o.LogFormat == "json" {
		out = slog.NewJSONHandler(o.LogWriter, opts)
	}
	handlers := []slog.Handler{traced{out}}
	res := resource.NewSchemaless(attribute.String("service.name", o.Service))

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	prom, err := promexporter.New(promexporter.WithRegisterer(registry))
	if err != nil {
		return nil, fmt.Errorf("prometheus exporter: %w", err)
	}
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	meterOpts := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(prom)}
	tracerOpts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.TraceRatio))),
	}
	if o.OTLPEndpoint != "" {
		spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(o.OTLPEndpoint))
		if err != nil {
			return nil, fmt.Errorf("OTLP traces: %w", err)
		}
		metrics, err := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpointURL(o.OTLPEndpoint))
		if err != nil {
			return nil, fmt.Errorf("OTLP metrics: %w", err)
		}
		logs, err := otlploggrpc.New(ctx, otlploggrpc.WithEndpointURL(o.OTLPEndpoint))
		if err != nil {
			return nil, fmt.Errorf("OTLP logs: %w", err)
		}
		tracerOpts = append(tracerOpts, sdktrace.WithBatcher(spans))
		meterOpts = append(meterOpts, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)))
		lp := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)))
		t.shutdown = append(t.shutdown, lp.Shutdown)
		handlers = append(handlers, atLeast{level, otelslog.NewHandler(o.Service, otelslog.WithLoggerProvider(lp))})
	}
	tp, mp := sdktrace.NewTracerProvider(tracerOpts...), sdkmetric.NewMeterProvider(meterOpts...)
	t.shutdown = append(t.shutdown, tp.Shutdown, mp.Shutdown)
	t.Tracer, t.Meter = tp, mp
	t.Log = slog.New(slog.NewMultiHandler(handlers...))
	return t, nil
}

// Shutdown sends what is left and stops the exporters.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, fn := range t.shutdown {
		errs = append(errs, fn(ctx))
	}
	return errors.Join(errs...)
}

// traced adds trace_id and span_id of the context's span to every record.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(a []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(a)} }
func (h traced) WithGroup(name string) slog.Handler   { return traced{h.Handler.WithGroup(name)} }

// atLeast drops records below a level.
type atLeast struct {
	level slog.Level
	slog.Handler
}

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}
func (h atLeast) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeast{h.level, h.Handler.WithAttrs(a)}
}
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.level, h.Handler.WithGroup(name)}
}
