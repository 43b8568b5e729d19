package all_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/all"
	"cairn.care/services/formats/bmlt"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/hsds"
	"cairn.care/services/formats/meetingguide"
)

func TestLosses(t *testing.T) {
	t.Parallel()
	g := &groupsv1.Group{Name: "groups/0192d7a5-0000-7000-8000-000000000001", Title: "A", Format: groupsv1.Group_ONLINE, SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_FATIGUE}}
	for _, name := range []string{"hsds", "meeting-guide", "csv", "ical"} {
		if _, err := all.Losses(name, formats.Listing{Group: g}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := all.Losses("bmlt", formats.Listing{Group: g}); err == nil {
		t.Error("BMLT is written")
	}
}

// hostile is a feed that means harm. Its reader makes it up, so that it may be of any length.
type hostile struct {
	name string
	feed func() io.Reader
	want string // what is said: of the feed, or of its first rejected record
	most uint64 // bytes that reading it may take at once; 0: 16 MiB
}

// hostiles are feeds for every format in JSON.
func hostiles(id string) []hostile {
	fill := func(begin, filling string, n int64) func() io.Reader {
		return func() io.Reader {
			return io.MultiReader(strings.NewReader(begin), io.LimitReader(repeat(strings.Repeat(filling, 1+(64<<10)/len(filling))), n))
		}
	}
	text := func(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }
	const long = 20 << 20
	row := `{"` + id + `":"1"}`
	return []hostile{
		{name: "nothing", feed: text(""), want: "empty"},
		{name: "cut off", feed: text(`[` + row + `,{"` + id), want: "ends in the middle, after row 1"},
		{name: "one endless text", feed: fill(`[{"`+id+`":"`, "x", long), want: "ends in the middle"},
		{name: "one endless text of escapes", feed: fill(`[{"`+id+`":"`, `\"`, long), want: "ends in the middle"},
		{name: "one endless number", feed: fill(`[`, "1", long), want: "ends in the middle"},
		{name: "endless white space", feed: fill(`[`, " \n", long), want: "ends in the middle"},
		{name: "endless nesting of arrays", feed: fill(`[`, "[", long), want: "ends in the middle"},
		{name: "endless nesting of objects", feed: fill(`[`, `{"a":`, long), want: "ends in the middle"},
		{name: "deep record", feed: text(`[` + strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000) + `]`), want: "nested deeper"},
		{name: "NUL bytes", feed: fill("", "\x00", 1<<20), want: "no "},
		{name: "NUL in a text", feed: text(`[{"` + id + "\":\"a\x00b\"}]"), want: "no JSON"},
		{name: "NUL as an escape", feed: text(`[{"` + id + `":"a\u0000b"}]`)},
		{name: "Latin-1", feed: text("[{\"" + id + "\":\"caf\xe9\"}]"), want: "Latin-1"},
		{name: "half a character", feed: text(`[{"` + id + `":"\ud800"}]`), want: "no JSON"},
		{name: "UTF-32", feed: text("\xff\xfe\x00\x00["), want: "UTF-32"},
		{name: "a web page", feed: text("<!doctype html><html>"), want: "web page"},
		{name: "gzip", feed: func() io.Reader {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				panic(err)
			}
			if err := w.Close(); err != nil {
				panic(err)
			}
			return &b
		}, want: "gzip"},
		{name: "a word", feed: text("hello"), want: "no "},
		{name: "commas", feed: fill("[", ",", 1<<20), want: "no JSON"},
		{name: "brackets that do not match", feed: text(`[{"a":[}]`), want: "closes what the other kind"},
		{name: "many rows that are one", feed: fill(`[`+row, `,`+row, 1<<17*int64(len(row)+1)), want: "same"},
		{name: "many keys", feed: func() io.Reader {
			var b strings.Builder
			b.WriteString(`[{`)
			for i := range 60_000 {
				fmt.Fprintf(&b, `"k%d":1,`, i)
			}
			b.WriteString(`"` + id + `":"1"}]`)
			return strings.NewReader(b.String())
		}, want: "", most: 256 << 20},
	}
}

type repeat string

func (r repeat) Read(p []byte) (int, error) { return copy(p, r), nil }

// Hostile feeds end in a sentence, and hold no memory to speak of while they are read.
func TestHostile(t *testing.T) { //nolint:paralleltest // measures memory
	for id, format := range map[string]formats.Format{"slug": meetingguide.Format{}, "id_bigint": bmlt.Format{}, "id": hsds.Format{}} {
		name := format.Name()
		for _, h := range hostiles(id) {
			t.Run(name+"/"+h.name, func(t *testing.T) {
				said, n := "", 0
				most := max(h.most, 16<<20)
				var before, now runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				for r, err := range format.Records(h.feed(), formats.Options{}) {
					if err != nil {
						said += "; " + err.Error()
						break
					}
					rejected := r.Rejected
					if rejected == nil {
						if _, all := format.Entry(r, formats.Options{}); len(all) > 0 {
							rejected = &all[0]
						}
					}
					if rejected != nil && n < 3 {
						said += "; " + rejected.Reason
					}
					n++
				}
				runtime.GC()
				runtime.ReadMemStats(&now)
				if held := int64(now.HeapAlloc) - int64(before.HeapAlloc); held > int64(most) {
					t.Errorf("%d bytes are held", held)
				}
				if h.want != "" && !strings.Contains(said, h.want) {
					t.Errorf("after %d records: %q, want %q", n, said, h.want)
				}
			})
		}
	}
}

// BenchmarkWrite writes a group whose every field says something.
func BenchmarkWrite(b *testing.B) {
	g := formatstest.Group().Example(7)
	for _, name := range []string{"hsds", "meeting-guide", "csv"} {
		b.Run(name, func(b *testing.B) {
			w, ok := all.WriterOf(name)
			if !ok {
				b.Fatal("no writer")
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, losses, err := w.Write(formats.Listing{Group: g}); err != nil || len(losses) == 0 {
					b.Fatal(losses, err)
				}
			}
		})
	}
}
