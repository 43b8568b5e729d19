package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// table is what is printed at the end.
type table struct{ rows []row }

// row is one figure beside its yardstick.
type row struct {
	what, ours, yardstick string
	ratio                 string // ours / yardstick; "" if there is none
	goal                  string
	met                   bool
}

func (t *table) add(r row) { t.rows = append(t.rows, r) }

// print writes the table in Markdown.
func (t *table) print(w io.Writer) error {
	var s strings.Builder
	s.WriteString("| what | ours | yardstick | ratio | goal | met |\n|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		met := "no"
		if r.met {
			met = "yes"
		}
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.ours, r.yardstick, r.ratio, r.goal, met)
	}
	fmt.Fprintf(&s, `
%d processors, shared by clients, server and PostgreSQL; %d clients. PostgreSQL with fsync on, JetStream on disk; token, policy,
validation, idempotency, audit, row-level security, metrics and traces of 1%% on. Medians of the rounds; a ratio is the median of
theirs. CPU is per operation.
`, runtime.NumCPU(), clients)
	_, err := io.WriteString(w, s.String())
	return err
}

// median returns the middle of the values, the mean of the two middle ones of an even number.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// quantile returns the value below which the share q of the sorted durations lies.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// thousands writes a number with separators.
func thousands(f float64) string {
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func rate(perSecond float64) string { return thousands(perSecond) + "/s" }
func times(ratio float64) string    { return fmt.Sprintf("%.2f×", ratio) }
func micros(d float64) string       { return fmt.Sprintf("%.0f µs", d) }
func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }
