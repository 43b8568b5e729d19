package formats_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/text/encoding/unicode"

	"cairn.care/services/formats"
)

var meetings = formats.JSON{Paths: []string{"meetings", "response.data"}, Want: "feed of meetings"}

// split returns the records as text, rejected ones as "row: reason", and the error.
func split(j formats.JSON, r io.Reader) (out []string, err error) {
	for rec, e := range j.Split(r) {
		switch {
		case e != nil:
			return out, e
		case rec.Rejected != nil:
			out = append(out, fmt.Sprintf("%d: %s", rec.Rejected.Row, rec.Rejected.Reason))
		default:
			out = append(out, string(rec.Raw))
		}
		if e == nil && rec.Row != len(out) {
			return out, fmt.Errorf("record %d says that it is row %d", len(out), rec.Row)
		}
	}
	return out, nil
}

func TestSplit(t *testing.T) {
	t.Parallel()
	utf16 := func(e unicode.Endianness, b unicode.BOMPolicy, s string) string {
		out, err := unicode.UTF16(e, b).NewEncoder().String(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	deep := strings.Repeat("[", formats.MaxDepth) + strings.Repeat("]", formats.MaxDepth)
	for _, c := range []struct {
		feed, want, err string
		single          bool
	}{
		{feed: `[]`}, {feed: ` [ ] `}, {feed: "\ufeff[1]", want: `1`},
		{feed: `[{"a":1}, "b\"]" ,-1.5e3,null,[[],{}]]`, want: `{"a":1}|"b\"]"|-1.5e3|null|[[],{}]`},
		{feed: `{"x":{"meetings":[0]},"y":"]","meetings":[1,2],"z":[3]}`, want: `1|2`},
		{feed: `{"response":{"status":200,"data":[{"n":"é"}]},"meetings":[4]}`, want: `{"n":"é"}`},
		{feed: `{"id":"a","b":[1]}`, want: `{"id":"a","b":[1]}`, single: true},
		{feed: ` {"id":"a","meetings":[1]}`, want: `1`, single: true},
		{feed: utf16(unicode.LittleEndian, unicode.UseBOM, `["é"]`), want: `"é"`},
		{feed: utf16(unicode.BigEndian, unicode.UseBOM, `["é"]`), want: `"é"`},
		{feed: utf16(unicode.LittleEndian, unicode.IgnoreBOM, `["é"]`), want: `"é"`},
		{feed: utf16(unicode.BigEndian, unicode.IgnoreBOM, `["é"]`), want: `"é"`},
		{feed: `[` + deep + `]`, want: deep},
		{feed: `{"meetings":[{"a":1,"a":2}]}`, want: `{"a":1,"a":2}`},

		{feed: "[1,\"caf\xe9\",2]", want: `1|2: the record is not written in UTF-8: byte 0xe9 at its byte 5; is it Latin-1?|2`},
		{feed: "[1,\"a\x00\",2]", want: "1|2: the record is no JSON: invalid character '\\x00' in string (expecting non-control character), at its byte 3|2"},
		{feed: `[{"a" 1},{"a":},{]`, want: "1: the record is no JSON: invalid character '1' after object name (expecting ':'), at its byte 6|2: the record is no JSON: invalid character '}' at start of value, at its byte 6", err: `']' closes what the other kind`},
		{feed: `[1,[` + deep + `],2]`, want: `1|2: the record is nested deeper than 64 levels|2`},
		{feed: `[` + strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5) + `,2]`, want: `1: the record is nested deeper than 64 levels|2`},
		{feed: `["` + strings.Repeat("x", formats.MaxRecord) + `",2]`, want: `1: the record is longer than 1048576 bytes|2`},
		{feed: `[tru,2]`, want: `1: the record is no JSON: unexpected EOF, at its byte 4|2`},
		{feed: `[1,,2]`, want: `1|2: the record is no JSON: EOF|2`},

		{feed: ``, err: "the feed is empty"},
		{feed: `{`, err: "ends in the middle, after row 0"},
		{feed: `[1,{"a":2},{"a`, want: `1|{"a":2}`, err: "ends in the middle, after row 2, at byte 14: was it cut off?"},
		{feed: `[1,{"a":2}`, want: `1|{"a":2}`, err: "ends in the middle, after row 2"},
		{feed: `{"meetings":[1]`, want: `1`, err: "ends in the middle, after row 1"},
		{feed: `[1] []`, want: `1`, err: "after row 1, at byte 4: more follows"},
		{feed: `{"meetings":{}}`, err: "this is no feed of meetings"}, {feed: `{}`, err: "this is no feed of meetings"}, {feed: `7`, err: "this is no feed of meetings"},
		{feed: `[1 2]`, want: `1`, err: `'2' stands where a comma or ] should`},
		{feed: "[1]\x00", want: `1`, err: "more follows"}, {feed: "[1\x00]", want: "1: the record is no JSON: invalid character '\\x00' at start of value, at its byte 2"},
		{feed: `{1:2}`, err: "a key in double quotes"}, {feed: `{"a";2}`, err: "a colon"}, {feed: `{"a":1 "b":2}`, err: "a comma or }"},
		{feed: `<!doctype html>`, err: "web page"}, {feed: "\x1f\x8b\x08\x00", err: "gzip"}, {feed: "PK\x03\x04", err: "ZIP"}, {feed: "\xff\xfe\x00\x00", err: "UTF-32"}, {feed: "%PDF-1.4", err: "PDF"},
		{feed: strings.Repeat(`{"response":`, 1e6), err: "ends in the middle"},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.feed), iotest.OneByteReader(strings.NewReader(c.feed))} {
			j := meetings
			j.Single = c.single
			got, err := split(j, r)
			if s := strings.Join(got, "|"); s != c.want || (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%.80q: got %.300q, %v; want %.300q, %s", c.feed, s, err, c.want, c.err)
			}
		}
	}
	failing := errors.New("the line is cut")
	if got, err := split(meetings, io.MultiReader(strings.NewReader(`[1,2`), iotest.ErrReader(failing))); !errors.Is(err, failing) || len(got) != 1 {
		t.Errorf("got %q, %v; want one record and what the reader says", got, err)
	}
	for rec, err := range meetings.Split(strings.NewReader(`[1,2,3`)) { // who has enough may stop
		if err != nil || rec.Row != 1 {
			t.Error(rec, err)
		}
		break
	}
}

func TestMember(t *testing.T) {
	t.Parallel()
	raw := []byte(` {"a" : {"id":"no"}, "id":"old","n":[{"id":1}] ,"id": "x\u00e9\"" , "num":-12.50, "no":null,"t":true}`)
	for name, want := range map[string]string{"id": `xé"`, "num": "-12.50", "no": "", "t": "", "a": "", "b": ""} {
		if got, ok := formats.Member(raw, name); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", name, got, ok, want)
		}
	}
	for _, s := range []string{`[]`, `7`, `"id"`, `null`} {
		if got, ok := formats.Member([]byte(s), "id"); ok {
			t.Errorf("%s: got %q", s, got)
		}
	}
}

// endless gives a beginning and then n bytes of filling.
func endless(begin, filling string, n int64) io.Reader {
	return io.MultiReader(strings.NewReader(begin), io.LimitReader(repeat{[]byte(strings.Repeat(filling, 1+(32<<10)/len(filling)))}, n))
}

type repeat struct{ b []byte }

func (r repeat) Read(p []byte) (int, error) { return copy(p, r.b), nil }

// Whatever comes, little is held: a text, a row, a key, white space or nesting without end.
func TestSplitHoldsLittle(t *testing.T) { //nolint:paralleltest // measures memory
	for _, c := range []struct{ begin, filling, err string }{
		{`["`, "x", "ends in the middle, after row 0"},
		{`["`, `\\`, "ends in the middle, after row 0"},
		{`[{"a":`, "1", "ends in the middle, after row 0"},
		{`[`, "[", "ends in the middle, after row 0"},
		{`{"`, "x", "ends in the middle, after row 0"},
		{`{"x":"`, "x", "ends in the middle, after row 0"},
		{`[1,`, " ", "ends in the middle, after row 1"},
		{`[1]`, "\n", ""},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		j := meetings
		j.Single = true
		if _, err := split(j, endless(c.begin, c.filling, 64<<20)); (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q, then much of %q: %v, want %q", c.begin, c.filling, err, c.err)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
			t.Errorf("%q, then much of %q took %d bytes", c.begin, c.filling, grown)
		}
	}
}

// What is remembered of a feed's IDs is bounded, too.
func TestDistinct(t *testing.T) { //nolint:paralleltest // measures memory
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var last, seen int
	var err error
	var rejected *formats.Rejected
	for r, e := range formats.Distinct(func(yield func(formats.Record, error) bool) {
		for i := 1; yield(formats.Record{Row: i, ID: strconv.Itoa(max(i, 10))}, nil); i++ {
		}
	}, "id") {
		if err = e; r.Rejected != nil {
			rejected, seen = r.Rejected, seen+1
		}
		last = max(last, r.Row)
	}
	runtime.ReadMemStats(&after)
	if seen != 9 || rejected.Field != "id" || rejected.Value != "10" || rejected.Reason != "row 1 has the same" {
		t.Errorf("%d repeated, the last %+v; want 9, each after the first", seen, rejected)
	}
	if want := fmt.Sprintf("after row %d: a feed has at most", formats.MaxRecords+9); err == nil || !strings.HasPrefix(err.Error(), want) || last != formats.MaxRecords+9 {
		t.Errorf("ended after row %d: %v, want %q", last, err, want)
	}
	if held := after.HeapAlloc - before.HeapAlloc; after.HeapAlloc > before.HeapAlloc && held > 200<<20 {
		t.Errorf("%d bytes are held", held)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte(`{"x":{"meetings":[0]},"y":"]","meetings":[1,{"a":[2]}],"z":[3]}`))
	f.Add([]byte("\xff\xfe[\x00]\x00"))
	f.Add([]byte(`[{"id":"\ud800","a":[[[]]]},,tru]`))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, errA := split(meetings, bytes.NewReader(in))
		b, errB := split(meetings, iotest.OneByteReader(bytes.NewReader(in)))
		if strings.Join(a, "|") != strings.Join(b, "|") || fmt.Sprint(errA) != fmt.Sprint(errB) {
			t.Errorf("how the bytes arrive matters: %q %v, %q %v", a, errA, b, errB)
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	const rows = 10_000
	var feed bytes.Buffer
	feed.WriteString(`{"meetings":[`)
	for i := range rows {
		if i > 0 {
			feed.WriteByte(',')
		}
		fmt.Fprintf(&feed, `{"name":"Ward Parkway Group","location":"Country Club Christian Church","longitude":-94.6012228,"latitude":39.0169507,"updated":"2021-05-26 19:03:46","state":"MO","time":"18:30","slug":"slug-%d","types":["O","X"],"notes":"","city":"Kansas City","country":"USA","postal_code":64113,"address":"6101 Ward Pkwy","day":0}`, i)
	}
	feed.WriteString(`]}`)
	b.SetBytes(int64(feed.Len()))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for rec, err := range meetings.Split(bytes.NewReader(feed.Bytes())) {
			if err != nil || rec.Rejected != nil {
				b.Fatal(err, rec.Rejected)
			}
			if id, ok := formats.Member(rec.Raw, "slug"); !ok || id[5:] != strconv.Itoa(n) {
				b.Fatalf("row %d has the id %q", n, id)
			}
			n++
		}
		if n != rows {
			b.Fatalf("%d records", n)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
