package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report prints the tables, and writes the figures on searches into the folder of documents.
func (b *bench) report(w io.Writer) error {
	b.table.rows = append(b.table.rows, b.figures.rows()...)
	if err := b.table.print(w); err != nil {
		return err
	}
	if len(b.figures) == 0 {
		return nil
	}
	if err := b.searches(w); err != nil {
		return err
	}
	if b.docs == "" {
		return nil
	}
	return b.document()
}

// The documents that are written.
const (
	searchPage    = "search-performance.md"
	searchDrawing = "search-growth.svg"
)

// document writes the page and its drawing.
func (b *bench) document() error {
	var page, drawing bytes.Buffer
	fmt.Fprintf(&page, "# How fast searches are\n\nMade by `make bench`; do not edit.\n\n![](%s)\n", searchDrawing)
	if err := b.searches(&page); err != nil {
		return err
	}
	if err := b.figures.chart().SVG(&drawing); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(b.docs, searchPage), page.Bytes(), 0o644),       //nolint:gosec // for everybody
		os.WriteFile(filepath.Join(b.docs, searchDrawing), drawing.Bytes(), 0o644)) //nolint:gosec // for everybody
}

// searches writes the figures on searches and how they were taken.
func (b *bench) searches(w io.Writer) error {
	if err := b.figures.print(w); err != nil {
		return err
	}
	var s strings.Builder
	least := slices.MinFunc(b.figures, func(f, g searchFigure) int { return f.searches - g.searches }).searches
	writes := slices.MinFunc(b.figures, func(f, g searchFigure) int { return int(1000 * (f.writes - g.writes)) }).writes
	slowest := slices.MaxFunc(b.figures, func(f, g searchFigure) int { return cmp.Compare(f.most, g.most) }).most
	fmt.Fprintf(&s, `
Each figure is of at least %d searches of a generated directory; meanwhile %s seats and %d groups a second were changed, in
%d batches a second (%.0f%% of that at the slowest). "wrong" counts the searches whose first %d groups were not those of a scan over
all groups: %d of each class before the changes, %d after them, at each size. The slowest search of all took %s ms.
`, least, thousands(seatsPerSecond), groupsPerSecond, time.Second/writePause, 100*writes, found, searchesOfClass, searchesOfClass/3, brief(slowest))
	for _, f := range b.indexes {
		fmt.Fprintf(&s, "\nThe index of %s groups: %d MB, put in order in %.1f s.", thousands(float64(f.size)), f.bytes/1e6, f.rebuilt.Seconds())
	}
	fmt.Fprintf(&s, "\n\nMeasured with `go -C bench run . -size %s` on %d processors (%s), %s/%s, which clients, server and PostgreSQL share.\n",
		strings.ReplaceAll(strings.Trim(fmt.Sprint(b.figures.sizes()), "[]"), " ", ","), runtime.NumCPU(), processor(), runtime.GOOS, runtime.GOARCH)
	_, err := io.WriteString(w, s.String())
	return err
}

// processor returns the name of the machine's processor, where the system tells it.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// rows says whether the searches reach their goals, a row for each level.
func (f searchFigures) rows() []row {
	var out []row
	for _, level := range f.levels() {
		size := slices.Max(f.sizes())
		clients := slices.Max(searchClients())
		var worst, worstP50 searchFigure
		wrong, missed := 0, []string{}
		growth := 0.0
		for _, class := range f.classes() {
			for i, n := range f.sizes() {
				g, ok := f.of(level, class, n, clients)
				if !ok {
					continue
				}
				wrong += g.wrong
				if n == size {
					if g.p99 >= goalP99(class) || g.p50 >= goalP50 && class != facetCounts {
						missed = append(missed, class)
					}
					if float64(g.p99)/float64(goalP99(class)) > float64(worst.p99)/float64(max(goalP99(worst.class), 1)) {
						worst = g
					}
					if g.p50 > worstP50.p50 {
						worstP50 = g
					}
				}
				if i > 0 {
					if less, ok := f.of(level, class, f.sizes()[i-1], clients); ok && n == 10*less.size {
						growth = max(growth, float64(max(g.p50, noise))/float64(max(less.p50, noise)))
					}
				}
			}
		}
		what := fmt.Sprintf("searches in %s, %s groups, %d clients, writes", level, thousands(float64(size)), clients)
		ours := fmt.Sprintf("p99 %s ms (%s), p50 %s ms (%s) in the slowest class; %d wrong", brief(worst.p99), worst.class, brief(worstP50.p50), worstP50.class, wrong)
		if len(missed) > 0 {
			ours += "; too slow: " + strings.Join(missed, "; ")
		}
		out = append(out, row{what: what, ours: ours, goal: "p99 < 10 ms, p50 < 3 ms (facet counts p99 < 20 ms), 0 wrong", met: len(missed) == 0 && wrong == 0})
		if growth > 0 {
			out = append(out, row{what: "growth of p50 in " + level + " with ten times the groups", ours: times(growth), goal: "< 2×", met: growth < 2})
		}
	}
	return out
}

// noise is what a search takes at least when growth is told: below, a ratio says nothing.
const noise = 100 * time.Microsecond

// goalP50 is the time in which half of the searches should be answered.
const goalP50 = 3 * time.Millisecond
