package hsds_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/hsds"
)

// Hostile records are rejected, with a reason, and none stops the ones after it.
func TestHostileRecords(t *testing.T) {
	t.Parallel()
	good := `{"id":"good","name":"Good","status":"active","url":"https://example.org"}`
	places := func(n int, of string) string { return "[" + strings.TrimSuffix(strings.Repeat(of+",", n), ",") + "]" }
	for name, c := range map[string]struct {
		record  string
		rows    int // that it gives
		entries int
	}{
		"no object":              {`[1]`, 1, 0},
		"null":                   {`null`, 1, 0},
		"a long text":            {`{"id":"1","name":"` + strings.Repeat("x", 2<<20) + `"}`, 1, 0},
		"many values":            {`{"id":"1","name":"x","url":"https://example.org","y":` + places(30_000, "0") + `}`, 1, 0},
		"deep":                   {`{"id":"1","name":"x","y":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, 1, 0},
		"deeper":                 {`{"id":"1","name":"x","y":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, 1, 0},
		"NUL in the title":       {`{"id":"1","name":"a\u0000b","status":"active","url":"https://example.org"}`, 1, 0},
		"NUL in the id":          {`{"id":"1\u0000","name":"ab","status":"active","url":"https://example.org"}`, 1, 0},
		"NUL elsewhere":          {`{"id":"1","name":"ab","status":"active","url":"https://example.org","alert":"\u0000"}`, 1, 1},
		"bad UTF-8":              {"{\"id\":\"1\",\"name\":\"a\xffb\"}", 1, 0},
		"wrong kinds":            {`{"id":{},"name":[],"status":1}`, 1, 0},
		"wrong kinds within":     {`{"id":"1","name":"x","url":"https://example.org","phones":[1,[],{"number":{}}],"languages":{"a":1},"schedules":[null,7,{"opens_at":[]}],"attributes":["x",{"taxonomy_term":5}],"service_at_locations":[3]}`, 1, 1},
		"location is a list":     {`{"id":"1","name":"x","url":"https://example.org","service_at_locations":[{"id":"2","location":[1]}]}`, 1, 1},
		"services are numbers":   {`{"id":"1","name":"x","services":[1,"2",null]}`, 3, 0},
		"an empty organization":  {`{"id":"1","name":"x","services":[]}`, 0, 0},
		"many places":            {`{"id":"1","name":"` + strings.Repeat("x", 100_000) + `","service_at_locations":` + places(1000, `{"id":"2"}`) + `}`, 1, 0},
		"places without ids":     {`{"id":"1","name":"x","url":"https://example.org","service_at_locations":` + places(3, `{}`) + `}`, 3, 0},
		"the same place twice":   {`{"id":"1","name":"x","url":"https://example.org","service_at_locations":` + places(2, `{"id":"2"}`) + `}`, 2, 1},
		"huge numbers":           {`{"id":"1","name":"x","url":"https://example.org","minimum_age":1e400,"cost_options":[{"amount":1e999}]}`, 1, 0},
		"numbers of many digits": {`{"id":"1","name":"x","url":"https://example.org","tax_id":12345678901234567890123}`, 1, 1},
		"a foreign rest":         {`{"id":"1","name":"x","url":"https://example.org","attributes":[{"id":"2","value":"{\"name\":\"groups/1\"}","taxonomy_term":{"term_uri":"https://cairn.care/terms/details/rest"}}]}`, 1, 0},
		"a term too much":        {`{"id":"1","name":"x","url":"https://example.org","attributes":[{"id":"2","value":"` + strings.Repeat("x", 600) + `","taxonomy_term":{"term_uri":"https://cairn.care/terms/details/summary"}}]}`, 1, 0},
		"much to keep":           {`{"id":"1","name":"x","url":"https://example.org","alert":"` + strings.Repeat("x", 500_000) + `"}`, 1, 1},
	} {
		feed := "[" + c.record + "," + good + "]"
		f := formatstest.Read(t, hsds.Format{}, strings.NewReader(feed), formats.Options{})
		rejected := map[int]bool{}
		for _, r := range f.Rejected {
			rejected[r.Row] = true
		}
		if len(f.Entries) != c.entries+1 || len(rejected) != c.rows-c.entries {
			t.Errorf("%s gives %d groups beside the good one and rejects %.300q; want %d of %d rows", name, len(f.Entries)-1, f.Refused(), c.entries, c.rows)
		}
	}
}

// A feed that is none says so.
func TestNoFeed(t *testing.T) {
	t.Parallel()
	for feed, want := range map[string]string{
		"": "is empty", "<html>": "web page", `"x"`: "this is no HSDS feed", `[{"id":"1"`: "cut off", "\x1f\x8b\x08": "gzip", `{"contents": {}}`: "this is no HSDS feed",
	} {
		f, err := formatstest.TryRead(t, hsds.Format{}, strings.NewReader(feed), formats.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || len(f.Entries) != 0 {
			t.Errorf("%q gives %v, want %q", feed, err, want)
		}
	}
}

// A record is decoded in about ten times its own size, whatever stands in it. Not parallel: it counts what is allocated.
func TestMemory(t *testing.T) { //nolint:paralleltest // it counts allocations
	const size = 800 << 10
	for name, piece := range map[string]string{
		"text": "x", "numbers": "0,", "objects": "{},", "names": `{"name":"ab"},`,
	} {
		record := `{"id":"1","name":"x","status":"active","url":"https://example.org","y":"` + strings.Repeat("x", size) + `"}`
		if name != "text" {
			record = `{"id":"1","name":"x","status":"active","url":"https://example.org","y":[` + strings.TrimSuffix(strings.Repeat(piece, size/len(piece)), ",") + `]}`
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for r, err := range (hsds.Format{}).Records(strings.NewReader(record), formats.Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			hsds.Format{}.Entry(r, formats.Options{})
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 16*size {
			t.Errorf("%s: %d bytes are allocated for a record of %d", name, got, size)
		}
	}
}

func FuzzRecords(f *testing.F) {
	raw, err := os.ReadFile(filepath.Join("testdata", "sample.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"id":"1","name":"x","services":[{"id":"2","name":"y","status":"active","url":"https://example.org"}]}`))
	f.Add([]byte(`[{"id":"1","location":{"location_type":"virtual"},"service":{"id":"2","name":"y"}}]`))
	f.Fuzz(func(t *testing.T, feed []byte) {
		if _, err := formatstest.TryRead(t, hsds.Format{}, strings.NewReader(string(feed)), formats.Options{}); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}

func FuzzEntry(f *testing.F) {
	for i, e := range sample(f).Entries {
		e.Group.Name = fmt.Sprintf("groups/0192d7a5-0000-7000-8000-00000000000%d", i)
		raw, _, err := hsds.Write(formats.Listing{Group: e.Group})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, rejected := hsds.Format{}.Entry(formats.Record{Row: 1, ID: "1", Raw: raw}, formats.Options{TimeZone: "Europe/Madrid"})
		if (e == nil) != (len(rejected) > 0) {
			t.Errorf("%v and %v, want one of both", e, rejected)
		}
	})
}

// What is no service is called by its name.
func TestTaxonomiesAreNoServices(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"id": "1", "name": "Needs", "description": "All.", "uri": "https://example.org/t", "version": "1"}`: "is of a taxonomy; a feed",
		`{"id": "1", "code": "A", "name": "Food", "description": "Meals.", "taxonomy_id": "2"}`:               "is of a taxonomy's term",
	} {
		f := formatstest.Read(t, hsds.Format{}, strings.NewReader("["+doc+"]"), formats.Options{})
		if len(f.Rejected) != 1 || !strings.Contains(f.Rejected[0].Reason, want) {
			t.Errorf("%s: rejected %+v, want %q", doc, f.Rejected, want)
		}
	}
}
