package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSVG(t *testing.T) {
	t.Parallel()
	c := &Chart{
		Title: "a < b", XLabel: "groups", YLabel: "ms", Columns: 2, YMin: 0.1, YMax: 10,
		Lines: []Line{{Name: "p50", Colour: "#3b82c4"}, {Name: "p99", Colour: "#d9822b", Dashed: true}},
		Panels: []Panel{
			{Title: "one", Limit: 10, Points: [][]Point{{{1e4, 0.1}, {1e5, 1}, {1e6, 100}}, {{1e4, 1}}}},
			{Title: "two", Points: [][]Point{nil, nil}},
			{Title: "three", Points: [][]Point{{{1e4, 2}}, nil}},
		},
	}
	var b bytes.Buffer
	if err := c.SVG(&b); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, b.String())
		}
	}
	for _, want := range []string{
		"a &lt; b", ">three<", ">10k<", ">100k<", ">1M<", "<title>p50, 1M: 100</title>",
		`<path d="M58 196L156 144L254 92"`, // the least, the middle, and the greatest in place of one beyond the axis
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is not in %s", want, b.String())
		}
	}
}
