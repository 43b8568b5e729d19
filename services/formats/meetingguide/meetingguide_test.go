package meetingguide_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"github.com/google/go-cmp/cmp"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats/meetingguide"
)

func parse(t *testing.T, feed string, o meetingguide.Options) *meetingguide.Feed {
	t.Helper()
	f, err := meetingguide.Parse(strings.NewReader(feed), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// check tells what holds of every feed.
func check(t testing.TB, f *meetingguide.Feed) {
	t.Helper()
	if f.Rows != len(f.Entries)+len(f.Rejected) {
		t.Errorf("%d rows, but %d entries and %d rejected", f.Rows, len(f.Entries), len(f.Rejected))
	}
	seen := map[string]bool{}
	for _, e := range f.Entries {
		id := e.Group.GetExternalId()
		if id == "" || seen[id] || e.Row < 1 || e.Row > f.Rows {
			t.Errorf("row %d has the missing or repeated id %q", e.Row, id)
		}
		seen[id] = true
		if err := protovalidate.Validate(&groupsv1.CreateGroupRequest{Group: e.Group}); err != nil {
			t.Errorf("row %d breaks the contract: %v", e.Row, err)
		}
		if w := e.Times; w != nil {
			if _, err := time.LoadLocation(w.Zone); err != nil || w.Zone == "" || len(w.Days) == 0 || w.Start < 0 || w.Start >= 24*60 || w.Minutes < 1 || w.Minutes > 24*60 {
				t.Errorf("row %d has the times %+v", e.Row, w)
			}
		}
	}
	for _, r := range f.Rejected {
		if r.Row < 1 || r.Row > f.Rows || r.Reason == "" || len([]rune(r.Value)) > 200 {
			t.Errorf("rejected %+v", r)
		}
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/sample.json")
	if err != nil {
		t.Fatal(err)
	}
	f := parse(t, string(b), meetingguide.Options{})
	check(t, f)

	var got []string
	for _, e := range f.Entries {
		g := e.Group
		line := fmt.Sprintf("%d %s %s %v", e.Row, g.GetExternalId(), g.GetFormat(), g.GetLanguages())
		if w := e.Times; w != nil {
			line += fmt.Sprintf(" %v %02d:%02d+%d %s", w.Days, w.Start/60, w.Start%60, w.Minutes, w.Zone)
		}
		if e.Closed {
			line += " closed"
		}
		got = append(got, line)
	}
	want := []string{
		"1 sunday-circle IN_PERSON [es] [Sunday] 18:00+90 America/Chicago",
		"2 4711 IN_PERSON [en] [Monday Wednesday Friday] 12:00+60 America/Chicago",
		"3 night-owls ONLINE [de en] [Saturday] 23:30+60 Europe/Berlin",
		"4 by-appointment IN_PERSON [en]",
		"5 west-texas IN_PERSON [en] [Tuesday] 07:00+60 America/Denver",
		"6 closed-hall IN_PERSON [en] [Thursday] 19:00+60 America/Chicago closed",
		"7 moved-online ONLINE [en] [Thursday] 20:00+60 America/Chicago",
		"8 both-ways HYBRID [en] [Thursday] 20:00+60 America/Chicago",
		"9 unknown-spot IN_PERSON [en] [Monday] 20:00+60 America/Chicago",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	got = nil
	for _, r := range f.Rejected {
		got = append(got, fmt.Sprintf("%d %s %q", r.Row, r.Field, r.Value))
	}
	want = []string{
		`10 name ""`, `11 slug ""`, `12 slug "sunday-circle"`, `13 day "7"`, `14 time ""`, `15 time "25:00"`, `16 end_time "18:00"`, `17 address ""`,
		`18 timezone ""`, `19 timezone "America/Gotham"`, `20 latitude "139.5"`, `21 conference_url "zoom us"`, `22 types "map[O:true]"`, `23 name "[x]"`,
		`24  "\"not a meeting\""`, `25  "null"`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rejected (-want +got):\n%s", d)
	}

	first := f.Entries[0].Group
	if v := first.GetVenue(); v.GetLabel() != "Riverside Library" || v.GetDirections() != "Side door, second floor" || v.GetAddress().GetCountry() != "US" ||
		v.GetLocation().GetLatitude() != 39.05 || v.GetPrecision() != groupsv1.Group_Venue_EXACT {
		t.Errorf("venue %v", v)
	}
	if first.GetDemographics()[0] != groupsv1.Group_WOMEN || first.GetAccessibility()[0] != groupsv1.Group_STEP_FREE || first.GetContact().GetUri() == "" || first.GetDescription() != "Bring a friend." {
		t.Errorf("types, link and notes are mapped to %v", first)
	}
	kept := first.GetExtensions().GetFields()["meeting-guide"].GetStructValue().AsMap()
	if d := cmp.Diff(map[string]any{"types": []any{"O", "S", "X", "W"}, "updated": "2025-05-31 14:32:23", "entity": "Example Intergroup"}, kept); d != "" {
		t.Errorf("kept (-want +got):\n%s", d)
	}
	owls := f.Entries[2].Group
	if owls.GetTitle() != "Night Owls & Friends" || owls.GetOnline().GetPlatform() != "Zoom" || owls.GetOnline().GetJoinInstructions() != "Password: owl" ||
		owls.GetVenue().GetPrecision() != groupsv1.Group_Venue_APPROXIMATE || owls.GetVenue().GetAddress().GetCountry() != "DE" {
		t.Errorf("online meeting %v", owls)
	}

	// An option stands in for what rows leave open, not for what they say.
	f = parse(t, string(b), meetingguide.Options{TimeZone: "Australia/Perth", Language: "fr"})
	if n := len(f.Entries); n != 10 || f.Entries[9].Times.Zone != "Australia/Perth" || f.Entries[1].Times.Zone != "America/Chicago" || f.Entries[1].Group.GetLanguages()[0] != "fr" {
		t.Errorf("with options: %d entries, %+v", n, f.Entries[n-1].Times)
	}
}

func TestWholeFeedsThatAreNone(t *testing.T) {
	t.Parallel()
	row := `{"name":"A","slug":"a","day":1,"time":"19:00","address":"1 A","state":"MO"}`
	for feed, want := range map[string]string{
		``:                             "ends in the middle, after row 0",
		`[` + row + `,`:                "ends in the middle, after row 1",
		`[` + row + `,{"name":"B`:      "ends in the middle, after row 1",
		`{"meetings":[` + row + `]`:    "ends in the middle, after row 1",
		`{"meetings":{}}`:              "no Meeting Guide feed",
		`{}`:                           "no Meeting Guide feed",
		`7`:                            "no Meeting Guide feed",
		`<html>`:                       "invalid character",
		`[` + row + `] []`:             "more follows",
		`[` + strings.Repeat(`[`, 1e5): "", // encoding/json gives up on the depth
		`[` + row + strings.Repeat(" ", 2000) + `]`: "longer than 1000 bytes",
	} {
		if _, err := meetingguide.Parse(strings.NewReader(feed), meetingguide.Options{MaxBytes: map[bool]int64{true: 1000}[strings.HasPrefix(want, "longer")]}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s…: got %v, want %q", feed, err, want)
		}
	}
	for _, feed := range []string{`[]`, "\ufeff[]", `{"data":[]}`, ` { "x" : {"meetings": 1}, "items": [ ] } `} {
		if f := parse(t, feed, meetingguide.Options{}); f.Rows != 0 {
			t.Errorf("%s has %d rows", feed, f.Rows)
		}
	}
	f := parse(t, `["`+strings.Repeat("x", 1e5)+`", `+strings.Repeat(`[`, 100)+strings.Repeat(`]`, 100)+", \"\xff\", "+row+`]`, meetingguide.Options{})
	if len(f.Entries) != 1 || len(f.Rejected) != 3 {
		t.Errorf("hostile rows: %d entries, rejected %+v", len(f.Entries), f.Rejected)
	}
}

// The field's own feeds, where they are present.
func TestRealFeeds(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string]int{"kc.test.json": 206, "nwta.test.json": 613} {
		in, err := os.Open(filepath.Join(sharedData(t), "meeting-guide", name))
		if err != nil {
			t.Skipf("no real feeds here: %v", err)
		}
		f, err := meetingguide.Parse(in, meetingguide.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		check(t, f)
		if f.Rows != rows || len(f.Entries) < rows*9/10 {
			t.Errorf("%s: %d rows, %d entries, rejected %+v; want %d rows, nine of ten taken", name, f.Rows, len(f.Entries), f.Rejected, rows)
		}
		formats := map[groupsv1.Group_Format]int{}
		for _, e := range f.Entries {
			formats[e.Group.GetFormat()]++
		}
		t.Logf("%s: %d rows, %v, rejected %v", name, f.Rows, formats, f.Rejected)
	}
}

func sharedData(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
	}
	return filepath.Join(dir, "..", "shared", "data")
}

// A feed of any length is read row by row.
func TestMemory(t *testing.T) {
	row := `"` + strings.Repeat("x", 1000) + `",`
	feed := "[" + strings.Repeat(row, 20_000) + "null]"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f := parse(t, feed, meetingguide.Options{})
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; f.Rows != 20_001 || grown > uint64(10*len(feed)) {
		t.Errorf("%d rows took %d bytes for a feed of %d", f.Rows, grown, len(feed))
	}
}

func FuzzParse(f *testing.F) {
	sample, err := os.ReadFile("testdata/sample.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte(`[{"name":"A","slug":"a","day":[1,"2"],"time":"7:30 PM","latitude":"1e400","types":["11",12]}]`))
	f.Add([]byte("\ufeff{\"meetings\":[[[[]]],{\"a\":\"\\u0000\"}]}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		feed, err := meetingguide.Parse(strings.NewReader(string(in)), meetingguide.Options{TimeZone: "Europe/Berlin"})
		if err == nil {
			check(t, feed)
		}
	})
}
