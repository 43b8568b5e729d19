package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"cairn.care/bench/directory"
)

func TestSearchClasses(t *testing.T) {
	t.Parallel()
	d, err := directory.New(seed, 1000, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	valid, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range searchClasses() {
		reqs, again := requests(d, c, 50), requests(d, c, 50)
		for i, r := range reqs {
			if err := valid.Validate(r); err != nil || !proto.Equal(r, again[i]) {
				t.Errorf("%s, search %d: %v, %v; the second time %v", c.name, i, r, err, again[i])
			}
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{"1000": true, "1000,20000": true, "": false, "10": false, "2000,1000": false, "x": false} {
		var l intList
		if err := l.Set(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestSearchFigures(t *testing.T) {
	t.Parallel()
	var f searchFigures
	for i, size := range []int{10_000, 100_000} {
		for _, clients := range searchClients() {
			f = append(f, searchFigure{
				level: indexLevel, class: "radius", size: size, clients: clients, searches: 300,
				p50: time.Duration(1+3*i) * time.Millisecond, p99: 12 * time.Millisecond, wrong: i,
			})
		}
	}
	var s strings.Builder
	if err := f.print(&s); err != nil {
		t.Fatal(err)
	}
	if want := "| radius | 1.0 / 12 | 1.0 / 12 | 4.0 / 12 | 4.0 / 12 | 1 |\n"; !strings.Contains(s.String(), want) {
		t.Errorf("got %s, want %s in it", s.String(), want)
	}
	rows := f.rows()
	if len(rows) != 2 || rows[0].met || !strings.Contains(rows[0].ours, "too slow: radius") || !strings.Contains(rows[0].ours, "1 wrong") || rows[1].met || rows[1].ours != "4.00×" {
		t.Errorf("got %+v", rows)
	}
	f = slices.DeleteFunc(f, func(g searchFigure) bool { return g.size > 10_000 })
	f[0].p99, f[1].p99 = time.Millisecond, time.Millisecond
	if rows := f.rows(); len(rows) != 1 || !rows[0].met {
		t.Errorf("got %+v", rows)
	}
}
