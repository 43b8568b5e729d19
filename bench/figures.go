package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"cairn.care/bench/chart"
)

// searchFigure is what was found out about one class of searches in a directory of one size.
type searchFigure struct {
	level, class  string
	size, clients int
	searches      int
	p50, p99      time.Duration
	most          time.Duration // of the slowest search
	wrong         int           // searches that did not find what a scan finds
	writes        float64       // share of the changes that were made in time
}

// What is searched.
const (
	indexLevel   = "the index alone"
	serviceLevel = "SearchGroups over gRPC"
)

// searchFigures are those of a run.
type searchFigures []searchFigure

func (f searchFigures) of(level, class string, size, clients int) (searchFigure, bool) {
	i := slices.IndexFunc(f, func(g searchFigure) bool {
		return g.level == level && g.class == class && g.size == size && g.clients == clients
	})
	if i < 0 {
		return searchFigure{}, false
	}
	return f[i], true
}

// distinct returns a property of the figures without repetition, in their order.
func distinct[T comparable](f searchFigures, of func(searchFigure) T) []T {
	var out []T
	for _, g := range f {
		if v := of(g); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func (f searchFigures) levels() []string {
	return distinct(f, func(g searchFigure) string { return g.level })
}
func (f searchFigures) classes() []string {
	return distinct(f, func(g searchFigure) string { return g.class })
}
func (f searchFigures) sizes() []int { return distinct(f, func(g searchFigure) int { return g.size }) }

// print writes a table in Markdown for each level: a row a class, two columns a size.
func (f searchFigures) print(w io.Writer) error {
	var s strings.Builder
	for _, level := range f.levels() {
		fmt.Fprintf(&s, "\nSearches in %s, p50 / p99 in ms:\n\n| class |", level)
		line := "\n|---|"
		for _, size := range f.sizes() {
			for _, c := range searchClients() {
				fmt.Fprintf(&s, " %s, %s |", thousands(float64(size)), plural(c, "client"))
				line += "---|"
			}
		}
		s.WriteString(" wrong |" + line + "---|\n")
		for _, class := range f.classes() {
			wrong := 0
			fmt.Fprintf(&s, "| %s |", class)
			for _, size := range f.sizes() {
				for _, c := range searchClients() {
					if g, ok := f.of(level, class, size, c); ok {
						fmt.Fprintf(&s, " %s / %s |", brief(g.p50), brief(g.p99))
						wrong = max(wrong, g.wrong)
					} else {
						s.WriteString(" |")
					}
				}
			}
			fmt.Fprintf(&s, " %d |\n", wrong)
		}
	}
	_, err := io.WriteString(w, s.String())
	return err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// brief writes milliseconds with two or three digits.
func brief(d time.Duration) string {
	ms := d.Seconds() * 1e3
	switch {
	case ms < 1:
		return fmt.Sprintf("%.2f", ms)
	case ms < 10:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}

// chart draws how the times grow with the directory: a panel a class, with the most clients.
func (f searchFigures) chart() *chart.Chart {
	const blue, orange = "#3b82c4", "#d9772b"
	clients := slices.Max(searchClients())
	c := &chart.Chart{
		Title:    "Searches as the directory grows",
		Subtitle: fmt.Sprintf("%d clients, meanwhile %s seat changes and %d changed groups a second; dashed: the goal for p99", clients, thousands(seatsPerSecond), groupsPerSecond),
		XLabel:   "groups in the directory", YLabel: "milliseconds", Columns: 4, YMin: 0.01, YMax: 100,
		Lines: []chart.Line{
			{Name: "p50, " + serviceLevel, Colour: blue}, {Name: "p99, " + serviceLevel, Colour: orange},
			{Name: "p50, " + indexLevel, Colour: blue, Dashed: true}, {Name: "p99, " + indexLevel, Colour: orange, Dashed: true},
		},
	}
	for _, class := range f.classes() {
		p := chart.Panel{Title: class, Limit: goalP99(class).Seconds() * 1e3, Points: make([][]chart.Point, len(c.Lines))}
		for _, size := range f.sizes() {
			for i, level := range []string{serviceLevel, indexLevel} {
				if g, ok := f.of(level, class, size, clients); ok {
					p.Points[2*i] = append(p.Points[2*i], chart.Point{X: float64(size), Y: g.p50.Seconds() * 1e3})
					p.Points[2*i+1] = append(p.Points[2*i+1], chart.Point{X: float64(size), Y: g.p99.Seconds() * 1e3})
				}
			}
		}
		c.Panels = append(c.Panels, p)
	}
	return c
}

// goalP99 is the time in which 99 of 100 searches of a class should be answered.
func goalP99(class string) time.Duration {
	if class == facetCounts {
		return 20 * time.Millisecond
	}
	return 10 * time.Millisecond
}

// facetCounts is the class that counts how many groups each further choice would leave.
const facetCounts = "facet counts"
