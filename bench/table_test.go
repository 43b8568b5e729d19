package main

import (
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var tb table
	tb.add(row{what: "a", ours: rate(12345.6), yardstick: rate(999.4), ratio: times(1.234), goal: "≥ 1×", met: true})
	tb.add(row{what: "b", ours: millis(1500 * time.Microsecond), goal: "< 1 ms"})
	var s strings.Builder
	if err := tb.print(&s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| a | 12,346/s | 999/s | 1.23× | ≥ 1× | yes |\n", "| b | 1.5 ms |  |  | < 1 ms | no |\n"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("got %s, want %s in it", s.String(), want)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	v := make([]time.Duration, 100)
	for i := range v {
		v[i] = time.Duration(i + 1)
	}
	if p50, p99, all := quantile(v, 0.5), quantile(v, 0.99), quantile(v, 1); p50 != 51 || p99 != 100 || all != 100 {
		t.Errorf("got %d, %d, %d", p50, p99, all)
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}
