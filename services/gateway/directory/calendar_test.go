package directory_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	goical "github.com/emersion/go-ical"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/internal/suitetest"
)

// instants returns what takes place of sessions, "start end" each, in order.
func instants(sessions []*schedulingv1.Session) []string {
	var list []string
	for _, s := range sessions {
		if s.GetState() != schedulingv1.Session_CANCELLED {
			list = append(list, s.GetStartTime().AsTime().Format(time.RFC3339)+" "+s.GetEndTime().AsTime().Format(time.RFC3339))
		}
	}
	slices.Sort(list)
	return list
}

// byGo reads a calendar with go-ical and rrule-go, which take zones by their names.
func byGo(t *testing.T, text string) []string {
	t.Helper()
	calendar, err := goical.NewDecoder(strings.NewReader(text)).Decode()
	if err != nil {
		t.Fatalf("%v of\n%s", err, text)
	}
	own := map[string]bool{} // UID and instant of what has an event of its own
	var list []string
	add := func(e goical.Event, start, end time.Time) {
		if s, err := e.Status(); err != nil || s != goical.EventCancelled {
			list = append(list, start.UTC().Format(time.RFC3339)+" "+end.UTC().Format(time.RFC3339))
		}
	}
	uid := func(e goical.Event) string { return e.Props.Get(goical.PropUID).Value }
	for _, e := range calendar.Events() {
		if id := e.Props.Get(goical.PropRecurrenceID); id != nil {
			at, err := id.DateTime(time.UTC)
			if err != nil {
				t.Fatal(err)
			}
			own[uid(e)+at.UTC().String()] = true
		}
	}
	for _, e := range calendar.Events() {
		start, err := e.DateTimeStart(time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		end, err := e.DateTimeEnd(time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		set, err := e.RecurrenceSet(time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		if set == nil {
			add(e, start, end)
			continue
		}
		for _, at := range set.All() {
			if !own[uid(e)+at.UTC().String()] {
				add(e, at, at.Add(end.Sub(start)))
			}
		}
	}
	slices.Sort(list)
	return list
}

// byJS reads a calendar with ical.js, which takes zones as the calendar has them. It returns nil where there is no Node or no ical.js.
func byJS(t *testing.T, text string) []string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		return nil
	}
	module, err := filepath.Abs("../../../tools/node_modules/ical.js/dist/ical.js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(module); err != nil {
		return nil
	}
	cmd := exec.CommandContext(t.Context(), node, "testdata/expand.mjs", module)
	cmd.Stdin = strings.NewReader(text)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ical.js: %v: %s", err, errs.String())
	}
	var list []string
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// Calendar programs read the same instants as the API has, of all kinds of series, with what was moved and cancelled, in a group's
// calendar and in a member's; that one has links to join, and is secret.
func TestCalendarsImport(t *testing.T) {
	t.Parallel()
	s := setupWhole(t)
	s.suite.Clock.Set(time.Date(2027, 3, 4, 11, 0, 0, 0, time.UTC))
	hope := s.organization("Hope House")
	g := s.group(hope, "Walk", func(g *groupsv1.Group) {
		g.Format = groupsv1.Group_HYBRID
		g.Online, g.RegularTimes = &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.us/j/secret", JoinInstructions: "PIN 1"}, nil
	})
	owner := suitetest.Client(t.Context(), hope.GetName(), "schedule.read", "schedule.write", "members.read", "members.write")
	calls := schedulingv1.NewSchedulingServiceClient(s.suite.Conn("scheduling"))
	for _, in := range []*schedulingv1.Series{
		{Rrule: "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE,SU;WKST=SU", TimeZone: "Europe/Madrid", LocalStart: "2027-03-05T09:00", Exdates: []string{"2027-03-15T09:00"}, Rdates: []string{"2027-03-16T09:30"}, Topics: []string{"One", "Two; and, more"}},
		{Rrule: "FREQ=MONTHLY;BYDAY=-1SU", TimeZone: "America/New_York", LocalStart: "2027-03-05T02:45", Title: "In the gap"},
		{Rrule: "FREQ=DAILY;UNTIL=20271231;BYMONTH=3,10,11", TimeZone: "America/Chicago", LocalStart: "2027-03-10T01:30", Place: "Twice, in November"},
		{Rrule: "FREQ=DAILY;COUNT=300;BYDAY=SA,SU,TU", TimeZone: "Australia/Lord_Howe", LocalStart: "2027-03-06T02:10"},
		{Rrule: "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", TimeZone: "Europe/Dublin", LocalStart: "2027-03-05T20:00", Format: schedulingv1.Series_IN_PERSON},
		{Rrule: "FREQ=MONTHLY;BYMONTHDAY=13", FurtherRrules: []string{"FREQ=WEEKLY;BYDAY=FR"}, TimeZone: "Asia/Kolkata", LocalStart: "2027-03-05T05:00"},
		{TimeZone: "UTC", LocalStart: "2027-06-05T05:00", Rdates: []string{"2027-06-06T05:00"}},
	} {
		in.Group, in.Duration = g.GetName(), durationpb.New(10*time.Minute)
		if _, err := calls.CreateSeries(owner, &schedulingv1.CreateSeriesRequest{Series: in}); err != nil {
			t.Fatal(err)
		}
	}
	sessions := func() []*schedulingv1.Session {
		var all []*schedulingv1.Session
		for token := ""; ; {
			resp, err := calls.ListSessions(owner, &schedulingv1.ListSessionsRequest{Filter: fmt.Sprintf("group = %q", g.GetName()), PageSize: 200, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, resp.GetSessions()...)
			if token = resp.GetNextPageToken(); token == "" {
				return all
			}
		}
	}
	for i, x := range sessions() {
		var err error
		switch i % 17 {
		case 3:
			_, err = calls.CancelSession(owner, &schedulingv1.CancelSessionRequest{Name: x.GetName(), Reason: "away"})
		case 9:
			_, err = calls.MoveSession(owner, &schedulingv1.MoveSessionRequest{Name: x.GetName(), LocalStart: x.GetLocalStart()[:11] + "12:34", Duration: durationpb.New(10 * time.Minute)})
		case 14:
			_, err = calls.UpdateSession(owner, &schedulingv1.UpdateSessionRequest{Session: &schedulingv1.Session{Name: x.GetName(), Topic: "Of its own"}})
		}
		if err != nil && !strings.Contains(err.Error(), "GROUP_BUSY") && !strings.Contains(err.Error(), "at that time") {
			t.Fatal(err)
		}
	}
	// A part of a series changes: what has been and what is to come are two.
	all := sessions()
	last := all[len(all)/2]
	if _, err := schedulingv1.NewSeriesServiceClient(s.suite.Conn("scheduling")).SplitSeries(owner, &schedulingv1.SplitSeriesRequest{
		Series: &schedulingv1.Series{Name: last.GetSeries(), Title: "Later"}, Session: last.GetName(),
	}); err != nil {
		t.Fatal(err)
	}
	members := membershipv1.NewMembershipServiceClient(s.suite.Conn("membership"))
	wren, err := members.CreateMember(owner, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{Organization: hope.GetName(), Alias: "Wren", Role: membershipv1.Member_SURVIVOR}})
	if err != nil {
		t.Fatal(err)
	}
	in, err := members.CreateMembership(owner, &membershipv1.CreateMembershipRequest{Group: g.GetName(), Member: wren.GetName()})
	if err == nil && in.GetState() == membershipv1.Membership_REQUESTED {
		in, err = members.ApproveMembership(owner, &membershipv1.ApproveMembershipRequest{Name: in.GetName()})
	}
	if err == nil && in.GetState() == membershipv1.Membership_APPROVED_PENDING_GUIDELINES {
		in, err = members.AcknowledgeGuidelines(owner, &membershipv1.AcknowledgeGuidelinesRequest{Name: in.GetName()})
	}
	if err != nil || in.GetState() != membershipv1.Membership_ACTIVE {
		t.Fatalf("%v, %v", in, err)
	}
	s.suite.CatchUp()
	calendars := schedulingv1.NewCalendarsServiceClient(s.suite.Conn("scheduling"))
	var secret *schedulingv1.Calendar
	// Scheduling hears of her by an event.
	for tick, late := time.NewTicker(20*time.Millisecond), time.After(time.Minute); secret == nil; {
		secret, err = calendars.CreateCalendar(suitetest.Member(t.Context(), hope.GetName(), wren.GetName()), &schedulingv1.CreateCalendarRequest{Calendar: &schedulingv1.Calendar{Member: wren.GetName()}})
		if err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(err)
		}
	}
	path := strings.TrimPrefix(secret.GetUri(), "http://cairn.test")

	for i := range 3 { // at once, after a month, and half a year later, when parts of series are past
		s.suite.Clock.Advance(time.Duration(i) * 31 * 24 * time.Hour)
		since := s.suite.Clock.Now().Truncate(24*time.Hour).AddDate(0, 0, -31)
		list := slices.DeleteFunc(sessions(), func(x *schedulingv1.Session) bool { return !x.GetStartTime().AsTime().After(since) })
		want := instants(list)
		for _, p := range []string{"/calendars/groups/" + id(g.GetName()) + ".ics", path} {
			resp, body := s.get(p)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("GET %s = %d: %s", p, resp.StatusCode, body)
			}
			text := string(body)
			if strings.Contains(text, "zoom.us") != (p == path) || strings.Contains(text, "PIN 1") != (p == path) {
				t.Errorf("GET %s has a join link or not:\n%s", p, text)
			}
			if strings.Count(text, "RRULE:") < 4 || strings.Count(text, "RECURRENCE-ID") < 5 || strings.Count(text, "BEGIN:VEVENT") > len(list)*2/3 {
				t.Errorf("GET %s has %d events for %d sessions, %d rules, %d exceptions", p, strings.Count(text, "BEGIN:VEVENT"), len(list), strings.Count(text, "RRULE:"), strings.Count(text, "RECURRENCE-ID"))
			}
			same(t, "go-ical", byGo(t, text), want)
			if got := byJS(t, text); got != nil {
				same(t, "ical.js", got, want)
			} else {
				t.Log("ical.js or Node is not here: not compared")
			}
			// A job may note meanwhile what has taken place: then the calendar is another, and is asked for once more.
			tag, before := resp.Header.Get("ETag"), body
			for range 5 {
				again, now := s.get(p, "If-None-Match", tag)
				if again.StatusCode == http.StatusNotModified {
					tag = ""
					break
				}
				if again.StatusCode != http.StatusOK || bytes.Equal(now, before) {
					t.Errorf("unchanged, %s is answered with %d", p, again.StatusCode)
				}
				tag, before = again.Header.Get("ETag"), now
			}
			if tag != "" {
				t.Errorf("%s changes with each look", p)
			}
			if got := resp.Header.Get("Cache-Control"); strings.HasPrefix(got, "private") != (p == path) {
				t.Errorf("%s may be kept: %s", p, got)
			}
		}
	}
	if _, err := calendars.DeleteCalendar(owner, &schedulingv1.DeleteCalendarRequest{Name: secret.GetName()}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, strings.TrimSuffix(path, ".ics"), "/calendars/members/x.ics", "/calendars/members/%00.ics"} {
		if resp, body := s.get(p); resp.StatusCode != http.StatusNotFound || bytes.Contains(body, []byte(path[len("/calendars/members/"):len(path)-4])) {
			t.Errorf("GET %s = %d: %s", p, resp.StatusCode, body)
		}
	}
}

func same(t *testing.T, by string, got, want []string) {
	t.Helper()
	for _, x := range want {
		if !slices.Contains(got, x) {
			t.Errorf("%s lacks %s", by, x)
		}
	}
	for _, x := range got {
		if !slices.Contains(want, x) {
			t.Errorf("%s has %s", by, x)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s has %d, want %d", by, len(got), len(want))
	}
}
