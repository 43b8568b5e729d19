package bmlt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/bmlt"
	"cairn.care/services/formats/formatstest"
)

func TestSample(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/sample.json")
	if err != nil {
		t.Fatal(err)
	}
	f := formatstest.Read(t, bmlt.Format{}, strings.NewReader(string(b)), formats.Options{})
	var got []string
	for i, e := range f.Entries {
		g := e.Group
		line := fmt.Sprintf("%d %s %s %s %v", f.Rows[i], g.GetExternalId(), g.GetTitle(), g.GetFormat(), g.GetLanguages())
		for _, r := range g.GetRegularTimes() {
			line += fmt.Sprintf(" %s %s+%v %s", r.GetRrule(), r.GetStartTime(), r.GetDuration().AsDuration(), g.GetTimeZone())
		}
		if e.Closed {
			line += " closed"
		}
		got = append(got, line)
	}
	want := []string{
		"1 101 Sunday & friends IN_PERSON [es] FREQ=WEEKLY;BYDAY=SU 19:00+1h30m0s America/New_York",
		"2 102 Online ONLINE [de] FREQ=WEEKLY;BYDAY=SA 23:30+1h0m0s Europe/Berlin",
		"3 9/103 Both HYBRID [en] FREQ=WEEKLY;BYDAY=MO 10:15+1h0m0s America/New_York",
		"4 104 Shut IN_PERSON [en] FREQ=WEEKLY;BYDAY=WE 10:15+1h0m0s America/New_York closed",
		"5 105 By phone PHONE [en] FREQ=WEEKLY;BYDAY=TH 10:15+1h0m0s America/New_York",
		"6 106 By appointment IN_PERSON [en]",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	want = []string{
		`7 id_bigint ""`, `8 id_bigint "101"`, `9 weekday_tinyint "0"`, `10 start_time "25:15:00"`, `11 duration_time "long"`, `12 meeting_name ""`,
		`13 location_street ""`, `14 time_zone ""`, `15 time_zone "EST5"`, `16 virtual_meeting_link "zoom 123"`, `17 latitude "91"`, `18`, `19`, `20  "[]"`,
	}
	refused := f.Refused()
	for i, r := range refused {
		if i == 11 || i == 12 {
			refused[i], _, _ = strings.Cut(r, " ")
		}
	}
	if d := cmp.Diff(want, refused); d != "" {
		t.Errorf("rejected (-want +got):\n%s\n%+v", d, f.Rejected)
	}
	g := f.Entries[0].Group
	if g.GetAccessibility()[0] != groupsv1.Group_STEP_FREE || g.GetDemographics()[0] != groupsv1.Group_WOMEN || g.GetVenue().GetAddress().GetCountry() != "US" ||
		g.GetVenue().GetDirections() != "Room 2\nBus: 5" || g.GetDescription() != "Ring twice" || g.GetVenue().GetLocation().GetLatitude() != 42.96 {
		t.Errorf("the first is %v", g)
	}
	kept := g.GetExtensions().GetFields()["bmlt"].GetStructValue().AsMap()
	if d := cmp.Diff(map[string]any{"worldid_mixed": "G00101", "service_body_bigint": "7", "formats": "O,ES,WC,W,XQ", "bus_lines": "5", "location_info": "Room 2"}, kept); d != "" {
		t.Errorf("kept (-want +got):\n%s", d)
	}
	if o := f.Entries[1].Group.GetOnline(); o.GetPlatform() != "Zoom" || o.GetJoinInstructions() != "PIN 1" || o.GetPhone() == "" {
		t.Errorf("online %v", o)
	}
}

func TestNoFeed(t *testing.T) {
	t.Parallel()
	for feed, want := range map[string]string{``: "empty", `{}`: "no BMLT feed", `[{"id_bigint":"1"`: "ends in the middle, after row 0", `<html>`: "web page"} {
		if _, err := formatstest.TryRead(t, bmlt.Format{}, strings.NewReader(feed), formats.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", feed, err, want)
		}
	}
}

// The field's own answers, where they are present.
func TestRealAnswers(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ entries, rejected int }{
		"meeting-search-42.867970-day2.json": {53, 0}, "meeting-search-42.867970-day3.json": {54, 0}, "meeting-search-0-0.json": {}, "helpline-search-empty.json": {},
		"formats.json": {0, 44}, "service-bodies.json": {0, 29},
	} {
		in, err := os.Open(filepath.Join(formatstest.SharedData(t), "bmlt", name))
		if err != nil {
			t.Skipf("no real answers here: %v", err)
		}
		f := formatstest.Read(t, bmlt.Format{}, in, formats.Options{})
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if len(f.Entries) != want.entries || (len(f.Rejected) > 0) != (want.rejected > 0) {
			t.Errorf("%s: %d entries, rejected %d %+v", name, len(f.Entries), len(f.Rejected), f.Rejected)
		}
	}
}

func FuzzRead(f *testing.F) {
	sample, err := os.ReadFile("testdata/sample.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte(`[{"id_bigint":1e3,"weekday_tinyint":"7","start_time":"23:59:59","duration_time":"24:00:00","meeting_name":"a","location_street":"b","lang_enum":"x-y","formats":",,ES"}]`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := formatstest.TryRead(t, bmlt.Format{}, strings.NewReader(string(in)), formats.Options{TimeZone: "Europe/Berlin"}); err != nil {
			return
		}
	})
}
