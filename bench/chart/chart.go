// Package chart draws small line charts beside each other as one SVG: same axes, both logarithmic, readable on light and
// on dark ground.
package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Chart is what to draw.
type Chart struct {
	Title, Subtitle string
	XLabel, YLabel  string
	Lines           []Line
	Panels          []Panel
	Columns         int
	YMin, YMax      float64 // of all panels
}

// Line is how one line of each panel is called and drawn.
type Line struct {
	Name   string
	Colour string // of middling lightness
	Dashed bool
}

// Panel is one chart.
type Panel struct {
	Title  string
	Points [][]Point // of each line
	Limit  float64   // a level that is not to be passed; 0: none
}

// Point is a value at a place on the x axis.
type Point struct{ X, Y float64 }

// The sizes of things, in units of the drawing.
const (
	panelWidth, panelHeight = 196, 104 // of the area between the axes
	gapX, gapY              = 22, 46
	left, top               = 58, 92
	bottom                  = 46
)

// The colours that are no line's.
const (
	ink   = "#7d8794"
	faint = "#7d879440"
)

// SVG writes the drawing.
func (c *Chart) SVG(w io.Writer) error {
	d := &drawing{Chart: c, xs: c.xs()}
	rows := (len(c.Panels) + c.Columns - 1) / c.Columns
	width := left + c.Columns*panelWidth + (c.Columns-1)*gapX + 24
	height := top + rows*panelHeight + (rows-1)*gapY + bottom
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="11" fill="%s" role="img" aria-label="%s">`+"\n", width, height, ink, escaped(c.Title))
	d.text(left, 22, "start", `font-size="15" font-weight="600"`, c.Title)
	d.text(left, 40, "start", "", c.Subtitle)
	d.legend()
	for i, p := range c.Panels {
		x, y := left+i%c.Columns*(panelWidth+gapX), top+i/c.Columns*(panelHeight+gapY)
		d.panel(p, float64(x), float64(y), i%c.Columns == 0, i+c.Columns >= len(c.Panels))
	}
	d.text(float64(width)/2, float64(height)-8, "middle", "", c.XLabel)
	d.printf(`<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", top+(height-top-bottom)/2, escaped(c.YLabel))
	d.printf("</svg>\n")
	if _, err := w.Write(d.Bytes()); err != nil {
		return fmt.Errorf("write the chart: %w", err)
	}
	return nil
}

// xs returns the places on the x axis at which some panel has a point.
func (c *Chart) xs() []float64 {
	var xs []float64
	for _, p := range c.Panels {
		for _, pt := range slices.Concat(p.Points...) {
			xs = append(xs, pt.X)
		}
	}
	slices.Sort(xs)
	return slices.Compact(xs)
}

type drawing struct {
	*Chart
	bytes.Buffer
	xs []float64
}

func (d *drawing) printf(format string, a ...any) { fmt.Fprintf(&d.Buffer, format, a...) }

func (d *drawing) text(x, y float64, anchor, attributes, s string) {
	if attributes != "" {
		attributes = " " + attributes
	}
	d.printf(`<text x="%s" y="%s" text-anchor="%s"%s>%s</text>`+"\n", short(x), short(y), anchor, attributes, escaped(s))
}

func (d *drawing) legend() {
	x := float64(left)
	for _, l := range d.Lines {
		d.printf(`<path d="M%s 57h22"%s/>`+"\n", short(x), l.stroke())
		d.text(x+28, 61, "start", "", l.Name)
		x += 50 + 6.1*float64(len(l.Name))
	}
}

func (l Line) stroke() string {
	s := fmt.Sprintf(` fill="none" stroke="%s" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"`, l.Colour)
	if l.Dashed {
		s += ` stroke-dasharray="1 4"`
	}
	return s
}

// panel draws one chart with its upper left corner at x, y; labels stand at the outer ones only.
func (d *drawing) panel(p Panel, x, y float64, labelY, labelX bool) {
	d.text(x, y-7, "start", `font-weight="600"`, p.Title)
	xs := d.xs
	if len(xs) == 0 {
		return
	}
	atX := func(v float64) float64 { return x + panelWidth*scale(v, xs[0], xs[len(xs)-1]) }
	atY := func(v float64) float64 { return y + panelHeight*(1-scale(min(max(v, d.YMin), d.YMax), d.YMin, d.YMax)) }
	for v := math.Pow(10, math.Ceil(math.Log10(d.YMin)-1e-9)); v <= d.YMax*1.0001; v *= 10 {
		d.printf(`<path d="M%s %sh%d" stroke="%s"/>`+"\n", short(x), short(atY(v)), panelWidth, faint)
		if labelY {
			d.text(x-6, atY(v)+4, "end", "", fmt.Sprintf("%g", math.Round(v*1e6)/1e6))
		}
	}
	if p.Limit > 0 {
		d.printf(`<path d="M%s %sh%d" stroke="%s" stroke-dasharray="5 3"/>`+"\n", short(x), short(atY(p.Limit)), panelWidth, ink)
	}
	for _, v := range xs {
		d.printf(`<path d="M%s %sv4" stroke="%s"/>`+"\n", short(atX(v)), short(y+panelHeight), ink)
		if labelX {
			d.text(atX(v), y+panelHeight+17, "middle", "", thousands(v))
		}
	}
	for i, line := range p.Points {
		if len(line) == 0 {
			continue
		}
		var path strings.Builder
		for j, pt := range line {
			fmt.Fprintf(&path, "%c%s %s", "ML"[min(j, 1)], short(atX(pt.X)), short(atY(pt.Y)))
		}
		d.printf(`<path d="%s"%s/>`+"\n", path.String(), d.Lines[i].stroke())
		for _, pt := range line {
			if !d.Lines[i].Dashed {
				d.printf(`<circle cx="%s" cy="%s" r="2.6" fill="%s"><title>%s, %s: %.3g</title></circle>`+"\n", short(atX(pt.X)), short(atY(pt.Y)), d.Lines[i].Colour, escaped(d.Lines[i].Name), thousands(pt.X), pt.Y)
			}
		}
	}
}

// scale returns where a value stands between two others, 0 to 1, by its logarithm.
func scale(v, from, to float64) float64 {
	if from == to {
		return 0.5
	}
	return math.Log(v/from) / math.Log(to/from)
}

// short writes a coordinate with one decimal at most.
func short(v float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
}

// thousands writes 1,000 as 1k and 1,000,000 as 1M.
func thousands(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}

func escaped(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "" // a buffer takes everything
	}
	return b.String()
}
