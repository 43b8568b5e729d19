package ical_test

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/ical"
)

func session(id string, start time.Time, zone string, state schedulingv1.Session_State) *schedulingv1.Session {
	return &schedulingv1.Session{
		Name: "sessions/" + id, State: state, StartTime: timestamppb.New(start), EndTime: timestamppb.New(start.Add(90 * time.Minute)), TimeZone: zone,
		Place: "Library, 12 Main Street; side door", Topic: "Sleep", CancelReason: "ill", Facilitators: []string{"facilitators/x"}, Etag: `"3"`,
		CreateTime: timestamppb.New(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), UpdateTime: timestamppb.New(time.Date(2026, 1, 1, 0, 0, 7, 0, time.UTC)),
	}
}

// write returns the content lines of a calendar, unfolded.
func write(t rapid.TB, g *groupsv1.Group, sessions ...*schedulingv1.Session) []string {
	t.Helper()
	var out bytes.Buffer
	if err := ical.Write(&out, ical.Of(formats.Listing{Group: g}, nil, sessions)); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for l := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\r\n"), "\r\n") {
		if len(l) > 75 || !utf8.ValidString(l) || strings.ContainsAny(l, "\r\n") {
			t.Errorf("line %q", l)
		}
		if rest, ok := strings.CutPrefix(l, " "); ok {
			lines[len(lines)-1] += rest
		} else {
			lines = append(lines, l)
		}
	}
	return lines
}

func TestWrite(t *testing.T) {
	t.Parallel()
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	g := &groupsv1.Group{
		Name: "groups/1", Title: "Circle; \\ friends, all", Summary: "A line\nand another.", Contact: &groupsv1.Group_Contact{Uri: "https://example.org/a"},
		Online: &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.us/j/secret", Phone: "secret", JoinInstructions: "secret"},
	}
	lines := write(t, g,
		session("a", time.Date(2026, 3, 24, 19, 0, 0, 0, madrid), "Europe/Madrid", schedulingv1.Session_SCHEDULED),
		session("b", time.Date(2026, 3, 31, 19, 0, 0, 0, madrid), "Europe/Madrid", schedulingv1.Session_CANCELLED),
	)
	want := []string{
		"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//cairn.care//Cairn//EN", "CALSCALE:GREGORIAN", "METHOD:PUBLISH", "UID:1", `NAME:Circle\; \\ friends\, all`,
		`X-WR-CALNAME:Circle\; \\ friends\, all`, `DESCRIPTION:A line\nand another.`, "URL:https://example.org/a", "REFRESH-INTERVAL;VALUE=DURATION:PT1H", "X-PUBLISHED-TTL:PT1H",
		"BEGIN:VTIMEZONE", "TZID:Europe/Madrid",
		"BEGIN:STANDARD", "DTSTART:20251026T030000", "TZOFFSETFROM:+0200", "TZOFFSETTO:+0100", "TZNAME:CET", "END:STANDARD",
		"BEGIN:DAYLIGHT", "DTSTART:20260329T020000", "TZOFFSETFROM:+0100", "TZOFFSETTO:+0200", "TZNAME:CEST", "END:DAYLIGHT",
		"END:VTIMEZONE",
		"BEGIN:VEVENT", "UID:a", "DTSTAMP:20260101T000007Z", "LAST-MODIFIED:20260101T000007Z", "CREATED:20260101T000000Z", "SEQUENCE:2",
		"DTSTART;TZID=Europe/Madrid:20260324T190000", "DTEND;TZID=Europe/Madrid:20260324T203000", `SUMMARY:Circle\; \\ friends\, all`, "STATUS:CONFIRMED",
		`DESCRIPTION:Sleep\n\nA line\nand another.`, `LOCATION:Library\, 12 Main Street\; side door`, "URL:https://example.org/a", "TRANSP:OPAQUE", "END:VEVENT",
		"BEGIN:VEVENT", "UID:b", "DTSTAMP:20260101T000007Z", "LAST-MODIFIED:20260101T000007Z", "CREATED:20260101T000000Z", "SEQUENCE:2",
		"DTSTART;TZID=Europe/Madrid:20260331T190000", "DTEND;TZID=Europe/Madrid:20260331T203000", `SUMMARY:Circle\; \\ friends\, all`, "STATUS:CANCELLED",
		`DESCRIPTION:Sleep\n\nA line\nand another.`, `LOCATION:Library\, 12 Main Street\; side door`, "URL:https://example.org/a", "TRANSP:TRANSPARENT", "END:VEVENT",
		"END:VCALENDAR",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// Whatever a group and its sessions say, the lines are whole, and the zone's offsets give the instants that were planned.
func TestInstants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		zone := rapid.SampledFrom([]string{"America/Chicago", "Europe/Dublin", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "America/Sao_Paulo", "UTC"}).Draw(rt, "zone")
		var sessions []*schedulingv1.Session
		for i, hours := range rapid.SliceOfN(rapid.IntRange(0, 24*600), 1, 8).Draw(rt, "hours") {
			sessions = append(sessions, session(string(rune('a'+i)), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(hours)*time.Hour), zone, schedulingv1.Session_SCHEDULED))
		}
		lines := write(rt, formatstest.Group().Draw(rt, "group"), sessions...)
		type observance struct{ since, from, to string }
		var known []observance
		var last observance
		n := 0
		for _, l := range lines {
			name, value, _ := strings.Cut(l, ":")
			if name == "DTSTART" && strings.HasSuffix(value, "Z") { // a time that the wall clock shows twice
				want := sessions[n].GetStartTime().AsTime()
				if got, err := time.Parse("20060102T150405Z", value); err != nil || !got.Equal(want) || !twice(want, zone) {
					rt.Errorf("%s, want %v", value, want)
				}
				n++
				continue
			}
			switch name {
			case "DTSTART":
				last = observance{since: value}
			case "TZOFFSETFROM":
				last.from = value
			case "TZOFFSETTO":
				last.to = value
				known = append(known, last)
			case "DTSTART;TZID=" + zone:
				offset := ""
				for _, o := range known {
					if o.since <= value {
						offset = o.to
					}
				}
				got, err := time.Parse("20060102T150405-0700", value+offset)
				want := sessions[n].GetStartTime().AsTime()
				if err != nil || !got.Equal(want) {
					rt.Errorf("%s with %s is %v, want %v (%v)", value, offset, got, want, err)
				}
				n++
			}
		}
		if n != len(sessions) {
			rt.Errorf("%d events of %d sessions", n, len(sessions))
		}
	})
}

// twice reports whether the wall clock shows an instant's time twice.
func twice(at time.Time, zone string) bool {
	l, err := time.LoadLocation(zone)
	if err != nil {
		return false
	}
	wall := at.In(l).Format("20060102T1504")
	for _, d := range []time.Duration{30 * time.Minute, time.Hour} {
		if at.Add(d).In(l).Format("20060102T1504") == wall || at.Add(-d).In(l).Format("20060102T1504") == wall {
			return true
		}
	}
	return false
}

func TestLosses(t *testing.T) {
	t.Parallel()
	losses, err := ical.Losses(formats.Listing{Group: &groupsv1.Group{
		Title: "A", State: groupsv1.Group_PAUSED, Kind: groupsv1.Group_EDUCATION, Cost: &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FREE},
		Contact: &groupsv1.Group_Contact{Uri: "https://example.org", Phone: "1"}, Venue: &groupsv1.Group_Venue{Label: "Hall", Kind: groupsv1.Group_Venue_HOSPITAL},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range losses {
		got = append(got, l.Field)
	}
	if want := "regular_times kind venue.kind cost contact.phone state"; strings.Join(got, " ") != want || !losses[0].Omitted {
		t.Errorf("got %s, want %s", got, want)
	}
}
