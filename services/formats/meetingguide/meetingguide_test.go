package meetingguide_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/meetingguide"
)

func read(t testing.TB, feed string, o formats.Options) *formatstest.Feed {
	t.Helper()
	return formatstest.Read(t, meetingguide.Format{}, strings.NewReader(feed), o)
}

func TestSample(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/sample.json")
	if err != nil {
		t.Fatal(err)
	}
	f := read(t, string(b), formats.Options{})
	var got []string
	for i, e := range f.Entries {
		g := e.Group
		line := fmt.Sprintf("%d %s %s %v", f.Rows[i], g.GetExternalId(), g.GetFormat(), g.GetLanguages())
		for _, r := range g.GetRegularTimes() {
			line += fmt.Sprintf(" %s %s+%v %s%s", r.GetRrule(), r.GetStartTime(), r.GetDuration().AsDuration(), g.GetTimeZone(), r.GetTimeZone())
		}
		if e.Closed {
			line += " closed"
		}
		got = append(got, line)
	}
	want := []string{
		"1 sunday-circle IN_PERSON [es] FREQ=WEEKLY;BYDAY=SU 18:00+1h30m0s America/Chicago",
		"2 4711 IN_PERSON [en] FREQ=WEEKLY;BYDAY=MO,WE,FR 12:00+1h0m0s America/Chicago",
		"3 night-owls ONLINE [de en] FREQ=WEEKLY;BYDAY=SA 23:30+1h0m0s Europe/Berlin",
		"4 by-appointment IN_PERSON [en]",
		"5 west-texas IN_PERSON [en] FREQ=WEEKLY;BYDAY=TU 07:00+1h0m0s America/Denver",
		"6 closed-hall IN_PERSON [en] FREQ=WEEKLY;BYDAY=TH 19:00+1h0m0s America/Chicago closed",
		"7 moved-online ONLINE [en] FREQ=WEEKLY;BYDAY=TH 20:00+1h0m0s America/Chicago",
		"8 both-ways HYBRID [en] FREQ=WEEKLY;BYDAY=TH 20:00+1h0m0s America/Chicago",
		"9 unknown-spot IN_PERSON [en] FREQ=WEEKLY;BYDAY=MO 20:00+1h0m0s America/Chicago",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	want = []string{
		`10 name ""`, `11 slug ""`, `12 slug "sunday-circle"`, `13 day "7"`, `14 time ""`, `15 time "25:00"`, `16 end_time "18:00"`, `17 address ""`,
		`18 timezone ""`, `19 timezone "America/Gotham"`, `20 latitude "139.5"`, `21 conference_url "zoom us"`, `22 types "map[O:true]"`, `23 name "[x]"`,
		`24  "\"not a meeting\""`, `25  "null"`,
	}
	if d := cmp.Diff(want, f.Refused()); d != "" {
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
	f = read(t, string(b), formats.Options{TimeZone: "Australia/Perth", Language: "fr"})
	if n := len(f.Entries); n != 10 || f.Entries[9].Group.GetTimeZone() != "Australia/Perth" || f.Entries[1].Group.GetTimeZone() != "America/Chicago" || f.Entries[1].Group.GetLanguages()[0] != "fr" {
		t.Errorf("with options: %d entries, the last %+v", n, f.Entries[n-1].Group)
	}
}

func TestNoFeed(t *testing.T) {
	t.Parallel()
	row := `{"name":"A","slug":"a","day":1,"time":"19:00","address":"1 A","state":"MO"}`
	for feed, want := range map[string]string{
		``:                             "the feed is empty",
		`[` + row + `,`:                "ends in the middle, after row 1",
		`[` + row + `,{"name":"B`:      "ends in the middle, after row 1",
		`{"meetings":[` + row + `]`:    "ends in the middle, after row 1",
		`{"meetings":{}}`:              "no Meeting Guide feed",
		`{}`:                           "no Meeting Guide feed",
		`7`:                            "no Meeting Guide feed",
		`<html>`:                       "a web page",
		`[` + row + `] []`:             "more follows",
		`[` + strings.Repeat(`[`, 1e5): "ends in the middle, after row 0",
	} {
		if _, err := formatstest.TryRead(t, meetingguide.Format{}, strings.NewReader(feed), formats.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s…: got %v, want %q", feed, err, want)
		}
	}
	for _, feed := range []string{`[]`, "\ufeff[]", `{"data":[]}`, ` { "x" : {"meetings": 1}, "items": [ ] } `} {
		if f := read(t, feed, formats.Options{}); len(f.Entries)+len(f.Rejected) != 0 {
			t.Errorf("%s has %d entries, rejected %v", feed, len(f.Entries), f.Rejected)
		}
	}
	f := read(t, `["`+strings.Repeat("x", 1e5)+`", `+strings.Repeat(`[`, 100)+strings.Repeat(`]`, 100)+", \"\xff\", "+row+`]`, formats.Options{})
	if len(f.Entries) != 1 || len(f.Rejected) != 3 {
		t.Errorf("hostile rows: %d entries, rejected %+v", len(f.Entries), f.Rejected)
	}
}

// The field's own feeds, where they are present: every row is taken or rejected with its reason.
func TestRealFeeds(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string]int{"kc.test.json": 206, "nwta.test.json": 613} {
		in, err := os.Open(filepath.Join(formatstest.SharedData(t), "meeting-guide", name))
		if err != nil {
			t.Skipf("no real feeds here: %v", err)
		}
		f := formatstest.Read(t, meetingguide.Format{}, in, formats.Options{})
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if got := len(f.Entries) + len(f.Rejected); got != rows || len(f.Entries) < rows*9/10 {
			t.Errorf("%s: %d rows, %d entries, rejected %+v; want %d rows, nine of ten taken", name, got, len(f.Entries), f.Rejected, rows)
		}
		kinds := map[groupsv1.Group_Format]int{}
		for _, e := range f.Entries {
			kinds[e.Group.GetFormat()]++
		}
		t.Logf("%s: %d rows, %v, rejected %v", name, rows, kinds, f.Rejected)
	}
}

// A feed of any length is read row by row.
func TestMemory(t *testing.T) { //nolint:paralleltest // measures memory
	row := `"` + strings.Repeat("x", 1000) + `",`
	feed := "[" + strings.Repeat(row, 20_000) + "null]"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	for r, err := range (meetingguide.Format{}).Records(strings.NewReader(feed), formats.Options{}) {
		if err != nil || r.Rejected == nil {
			t.Fatalf("row %d: %v, %v", r.Row, err, r.Rejected)
		}
		n++
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; n != 20_001 || grown > uint64(4*len(feed)) {
		t.Errorf("%d rows took %d bytes for a feed of %d", n, grown, len(feed))
	}
}

func FuzzRead(f *testing.F) {
	sample, err := os.ReadFile("testdata/sample.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte(`[{"name":"A","slug":"a","day":[1,"2"],"time":"7:30 PM","latitude":"1e400","types":["11",12]}]`))
	f.Add([]byte(`[{"name":"A","slug":"a","city":"B","cairn":{"kind":"EDUCATION","venue":{"kind":"HOSPITAL"},"cost":null,"paused":true}}]`))
	f.Add([]byte("\ufeff{\"meetings\":[[[[]]],{\"a\":\"\\u0000\"}]}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := formatstest.TryRead(t, meetingguide.Format{}, strings.NewReader(string(in)), formats.Options{TimeZone: "Europe/Berlin"}); err != nil {
			return
		}
	})
}

// An address in one line is read to the end; a town without a street is roughly where people meet.
func TestFormattedAddress(t *testing.T) {
	t.Parallel()
	f := read(t, `[{"name": "A", "slug": "a", "day": 1, "time": "19:00", "formatted_address": "6501 Memorial Dr, Houston, TX 77007, USA", "latitude": 29.76, "longitude": -95.43},
		{"name": "B", "slug": "b", "day": 1, "time": "19:00", "formatted_address": "Houston, TX, USA", "latitude": 29.76, "longitude": -95.37},
		{"name": "C", "slug": "c", "day": 1, "time": "19:00", "location": "Hall", "latitude": -33.87, "longitude": 151.21, "approximate": "no"},
		{"name": "D", "slug": "d", "day": 1, "time": "19:00", "address": "Somewhere"}]`, formats.Options{})
	var got []string
	for _, e := range f.Entries {
		v := e.Group.GetVenue()
		a := v.GetAddress()
		got = append(got, fmt.Sprintf("%v %s, %s, %s, %s %s %s", a.GetAddressLines(), a.GetLocality(), a.GetAdministrativeArea(), a.GetPostalCode(), a.GetCountry(), v.GetPrecision(), e.Group.GetTimeZone()))
	}
	want := []string{
		"[6501 Memorial Dr] Houston, TX, 77007, US EXACT America/Chicago",
		"[] Houston, TX, , US APPROXIMATE America/Chicago",
		"[] , , ,  EXACT Australia/Sydney",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("read (-want +got):\n%s", d)
	}
	if len(f.Rejected) != 1 || !strings.Contains(f.Rejected[0].Reason, "--time-zone") {
		t.Errorf("rejected %+v, want one that names --time-zone", f.Rejected)
	}
}
