package scheduling

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/internal/suitetest"
)

func TestSeriesLife(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Title, in.Place, in.Topics, in.Facilitators = "Evenings", "Room 2", []string{"Sleep", "Work"}, []string{f.ana}
	in.Format, in.Rdates, in.Exdates = schedulingv1.Series_IN_PERSON, []string{"2027-03-06T10:00"}, []string{"2027-03-11T19:00:00"}
	s := f.create(in)
	want := proto.CloneOf(in)
	want.Name, want.Organization, want.LocalStart, want.Rdates = s.GetName(), ours, "2027-03-04T19:00:00", []string{"2027-03-06T10:00:00"}
	want.State, want.Etag, want.HorizonTime, want.CreateTime, want.UpdateTime = schedulingv1.Series_ACTIVE, `"1"`, s.GetHorizonTime(), s.GetCreateTime(), s.GetUpdateTime()
	if diff := cmp.Diff(want, s, protocmp.Transform()); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	if got, want := s.GetHorizonTime().AsTime(), thursday.AddDate(0, 0, 54*7); !got.Equal(want) {
		t.Errorf("horizon is %s, want %s", got, want)
	}
	if got, err := f.GetSeries(f.owner, &schedulingv1.GetSeriesRequest{Name: s.GetName()}); err != nil || !proto.Equal(got, s) {
		t.Errorf("read %v, %v; want what was created", got, err)
	}

	list := f.sessions("series = %q", s.GetName())
	if len(list) != 54 { // 55 Thursdays but the horizon's, less one exception, plus an extra date
		t.Errorf("%d sessions, want 54", len(list))
	}
	first := list[0]
	if first.GetLocalStart() != "2027-03-04T19:00:00" || first.GetTopic() != "Sleep" || first.GetPlace() != "Room 2" || first.GetGroup() != f.group ||
		first.GetFacilitators()[0] != f.ana || first.GetState() != schedulingv1.Session_SCHEDULED || first.GetFormat() != in.Format ||
		first.GetEndTime().AsTime().Sub(first.GetStartTime().AsTime()) != 90*time.Minute || first.GetOrganization() != ours {
		t.Errorf("first session %v", first)
	}
	if list[1].GetLocalStart() != "2027-03-06T10:00:00" || list[1].GetTopic() != "Work" || list[2].GetLocalStart() != "2027-03-18T19:00:00" || list[2].GetTopic() != "" {
		t.Errorf("then %v and %v", list[1], list[2])
	}
	for _, x := range list[2:] {
		offset := x.GetStartTime().AsTime().Format("15:04")
		if want := map[bool]string{true: "17:00", false: "18:00"}[summer(x.GetStartTime().AsTime())]; offset != want || !strings.HasSuffix(x.GetLocalStart(), "T19:00:00") {
			t.Errorf("session at %s is at %s UTC, want %s", x.GetLocalStart(), offset, want)
		}
	}

	var told schedulingv1.CalendarChanged
	f.lastEvent(calendarChanged, f.group, &told)
	if len(told.GetNextSessions()) != 54 || told.GetTimeZone() != "Europe/Berlin" || told.GetRevision() != 1 || !told.GetNextSessions()[0].AsTime().Equal(first.GetStartTime().AsTime()) {
		t.Errorf("told %v", &told)
	}

	if _, err := f.DeleteSeries(f.owner, &schedulingv1.DeleteSeriesRequest{Name: s.GetName(), Etag: `"7"`}); refused(err) != "Aborted ETAG_MISMATCH" {
		t.Errorf("delete with a stale etag: %v", err)
	}
	f.Clock.Set(time.Date(2027, 3, 5, 0, 0, 0, 0, time.UTC))
	if _, err := f.DeleteSeries(f.owner, &schedulingv1.DeleteSeriesRequest{Name: s.GetName(), Etag: s.GetEtag()}); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if _, err := f.GetSeries(f.owner, &schedulingv1.GetSeriesRequest{Name: s.GetName()}); refused(err) != "NotFound NOT_FOUND" {
		t.Errorf("read after delete: %v", err)
	}
	left := f.sessions("series = %q AND NOT state = CANCELLED", s.GetName())
	if len(left) != 1 || left[0].GetName() != first.GetName() {
		t.Errorf("%d sessions left after delete, want the one that had begun", len(left))
	}
	if n := len(f.events(sessionCancelled)); n != 53 {
		t.Errorf("%d sessions told as cancelled, want 53", n)
	}
	f.lastEvent(calendarChanged, f.group, &told)
	if len(told.GetNextSessions()) != 0 || told.GetRevision() != 2 {
		t.Errorf("told after delete: %v", &told)
	}
}

// summer tells whether Berlin has daylight saving, between the last Sundays of March and October.
func summer(at time.Time) bool {
	return at.After(time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC)) && at.Before(time.Date(2027, 10, 31, 1, 0, 0, 0, time.UTC))
}

func TestSingleSession(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Rrule, in.LocalStart = "", "2027-03-04T11:50" // ten minutes ago
	s := f.create(in)
	list := f.sessions("series = %q", s.GetName())
	if len(list) != 1 || s.GetState() != schedulingv1.Series_ACTIVE {
		t.Fatalf("%d sessions of %v, want one that is under way", len(list), s)
	}
	f.Clock.Advance(2 * time.Hour)
	got, err := f.ListSeries(f.owner, &schedulingv1.ListSeriesRequest{Filter: "state = ENDED"})
	if err != nil || len(got.GetSeries()) != 1 || got.GetSeries()[0].GetState() != schedulingv1.Series_ENDED {
		t.Errorf("ended series: %v, %v", got, err)
	}
	got, err = f.ListSeries(f.owner, &schedulingv1.ListSeriesRequest{Filter: "state = ACTIVE"})
	if err != nil || len(got.GetSeries()) != 0 {
		t.Errorf("active series: %v, %v", got, err)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	f := setup(t)
	req := &schedulingv1.CreateSeriesRequest{Series: f.weekly(), RequestId: uuid.NewString()}
	first, err := f.CreateSeries(f.owner, req)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.CreateSeries(f.owner, req)
	if err != nil || !proto.Equal(first, again) {
		t.Errorf("the same request again gives %v, %v", again, err)
	}
	req.Series.Title = "Another"
	if _, err := f.CreateSeries(f.owner, req); refused(err) != "InvalidArgument request_id" {
		t.Errorf("the same id with another body: %v", err)
	}
	if n := len(f.sessions("group = %q", f.group)); n != 54 {
		t.Errorf("%d sessions, want those of one series", n)
	}
}

func TestBadSeries(t *testing.T) {
	t.Parallel()
	f := setup(t)
	foreign := f.newGroup(f.stranger)
	foreigner := f.newFacilitator(f.stranger, "Zoe")
	gone := "groups/" + uuid.NewString()
	for name, tt := range map[string]struct {
		change func(*schedulingv1.Series)
		want   string
	}{
		"no group":                {func(s *schedulingv1.Series) { s.Group = "" }, "InvalidArgument series.group"},
		"no group of that name":   {func(s *schedulingv1.Series) { s.Group = gone }, "NotFound NOT_FOUND"},
		"foreign group":           {func(s *schedulingv1.Series) { s.Group = foreign }, "NotFound NOT_FOUND"},
		"foreign facilitator":     {func(s *schedulingv1.Series) { s.Facilitators = []string{f.ana, foreigner} }, "InvalidArgument series.facilitators[1]"},
		"unknown zone":            {func(s *schedulingv1.Series) { s.TimeZone = "Mars/Olympus" }, "InvalidArgument series.time_zone"},
		"zone by a path":          {func(s *schedulingv1.Series) { s.TimeZone = "Europe//Berlin" }, "InvalidArgument series.time_zone"},
		"no zone":                 {func(s *schedulingv1.Series) { s.TimeZone = "" }, "InvalidArgument series.time_zone"},
		"no duration":             {func(s *schedulingv1.Series) { s.Duration = nil }, "InvalidArgument series.duration"},
		"zero duration":           {func(s *schedulingv1.Series) { s.Duration = durationpb.New(0) }, "InvalidArgument series.duration"},
		"end before start":        {func(s *schedulingv1.Series) { s.Duration = durationpb.New(-time.Hour) }, "InvalidArgument series.duration"},
		"longer than a day":       {func(s *schedulingv1.Series) { s.Duration = durationpb.New(24*time.Hour + time.Second) }, "InvalidArgument series.duration"},
		"half a second":           {func(s *schedulingv1.Series) { s.Duration = durationpb.New(time.Hour + time.Second/2) }, "InvalidArgument series.duration"},
		"not a local time":        {func(s *schedulingv1.Series) { s.LocalStart = "2027-03-04 19:00" }, "InvalidArgument series.local_start"},
		"with offset":             {func(s *schedulingv1.Series) { s.LocalStart = "2027-03-04T19:00Z" }, "InvalidArgument series.local_start"},
		"no such day":             {func(s *schedulingv1.Series) { s.LocalStart = "2027-02-29T19:00" }, "InvalidArgument series.local_start"},
		"two days ago":            {func(s *schedulingv1.Series) { s.LocalStart = "2027-03-02T19:00" }, "InvalidArgument series.local_start"},
		"in three years":          {func(s *schedulingv1.Series) { s.LocalStart = "2030-03-02T19:00" }, "InvalidArgument series.local_start"},
		"31 February":             {func(s *schedulingv1.Series) { s.Rrule = "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31" }, "InvalidArgument series.rrule"},
		"hourly without end":      {func(s *schedulingv1.Series) { s.Rrule = "FREQ=HOURLY" }, "InvalidArgument series.rrule"},
		"unknown part":            {func(s *schedulingv1.Series) { s.Rrule = "FREQ=WEEKLY;BYMOON=FULL" }, "InvalidArgument series.rrule"},
		"COUNT and UNTIL":         {func(s *schedulingv1.Series) { s.Rrule = "FREQ=WEEKLY;COUNT=3;UNTIL=20280101" }, "InvalidArgument series.rrule"},
		"too many sessions":       {func(s *schedulingv1.Series) { s.Rrule = "FREQ=DAILY;BYHOUR=8,12,16,20" }, "InvalidArgument series.rrule"},
		"a million sessions":      {func(s *schedulingv1.Series) { s.Rrule = "FREQ=MINUTELY;COUNT=1000000" }, "InvalidArgument series.rrule"},
		"sessions overlap":        {func(s *schedulingv1.Series) { s.Rrule = "FREQ=DAILY;BYHOUR=19,20" }, "InvalidArgument series.duration"},
		"bad extra date":          {func(s *schedulingv1.Series) { s.Rdates = []string{"2027-03-05T19:00", "soon"} }, "InvalidArgument series.rdates[1]"},
		"exceptions leave none":   {func(s *schedulingv1.Series) { s.Rrule, s.Exdates = "", []string{"2027-03-04T19:00"} }, "InvalidArgument series.exdates"},
		"long title":              {func(s *schedulingv1.Series) { s.Title = strings.Repeat("x", 201) }, "InvalidArgument series.title"},
		"unknown format":          {func(s *schedulingv1.Series) { s.Format = 77 }, "InvalidArgument series.format"},
		"a facilitator twice":     {func(s *schedulingv1.Series) { s.Facilitators = []string{f.ana, f.ana} }, "InvalidArgument series.facilitators"},
		"not a facilitator":       {func(s *schedulingv1.Series) { s.Facilitators = []string{"ana"} }, "InvalidArgument series.facilitators[0]"},
		"name of another kind":    {func(s *schedulingv1.Series) { s.Group = f.ana }, "InvalidArgument series.group"},
		"extra dates without end": {func(s *schedulingv1.Series) { s.Rdates = make([]string, 201) }, "InvalidArgument series.rdates"},
	} {
		in := f.weekly()
		tt.change(in)
		_, err := f.CreateSeries(f.owner, &schedulingv1.CreateSeriesRequest{Series: in})
		if got := refused(err); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, tt.want)
		}
	}
	if list := f.sessions(""); len(list) != 0 {
		t.Errorf("%d sessions after refusals, want none", len(list))
	}

	s := f.create(f.weekly())
	for name, tt := range map[string]struct {
		series *schedulingv1.Series
		mask   []string
		want   string
	}{
		"stale etag":       {&schedulingv1.Series{Title: "x", Etag: `"9"`}, nil, "Aborted ETAG_MISMATCH"},
		"output field":     {&schedulingv1.Series{}, []string{"state"}, "InvalidArgument update_mask"},
		"group":            {&schedulingv1.Series{Group: foreign}, []string{"group"}, "InvalidArgument update_mask"},
		"no such field":    {&schedulingv1.Series{}, []string{"moon"}, "InvalidArgument update_mask"},
		"zone cleared":     {&schedulingv1.Series{}, []string{"time_zone"}, "InvalidArgument series.time_zone"},
		"duration cleared": {&schedulingv1.Series{}, []string{"duration"}, "InvalidArgument series.duration"},
		"all replaced":     {&schedulingv1.Series{Title: "x"}, []string{"*"}, "InvalidArgument series.time_zone"},
		"bad rule":         {&schedulingv1.Series{Rrule: "FREQ=SOMETIMES"}, nil, "InvalidArgument series.rrule"},
		"overlap":          {&schedulingv1.Series{Rrule: "FREQ=DAILY", Duration: durationpb.New(24 * time.Hour), Rdates: []string{"2027-03-09T20:00"}}, nil, "InvalidArgument series.duration"},
		"foreigner":        {&schedulingv1.Series{Facilitators: []string{foreigner}}, nil, "InvalidArgument series.facilitators[0]"},
	} {
		tt.series.Name = s.GetName()
		req := &schedulingv1.UpdateSeriesRequest{Series: tt.series}
		if tt.mask != nil {
			req.UpdateMask = &fieldmaskpb.FieldMask{Paths: tt.mask}
		}
		_, err := f.UpdateSeries(f.owner, req)
		if got := refused(err); !strings.HasPrefix(got, tt.want) {
			t.Errorf("update %s: got %q (%v), want %q", name, got, err, tt.want)
		}
	}
	if got, err := f.GetSeries(f.owner, &schedulingv1.GetSeriesRequest{Name: s.GetName()}); err != nil || !proto.Equal(got, s) {
		t.Errorf("after refusals the series is %v, %v; want %v", got, err, s)
	}
	for filter, want := range map[string]string{"moon = 1": "InvalidArgument filter", "state = MAYBE": "InvalidArgument filter", "start_time > yesterday": "InvalidArgument filter"} {
		if _, err := f.ListSessions(f.owner, &schedulingv1.ListSessionsRequest{Filter: filter}); refused(err) != want {
			t.Errorf("filter %q: %v", filter, err)
		}
	}
	page, err := f.ListSessions(f.owner, &schedulingv1.ListSessionsRequest{PageSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ListSessions(f.owner, &schedulingv1.ListSessionsRequest{PageSize: 2, Filter: "state = HELD", PageToken: page.GetNextPageToken()}); refused(err) != "InvalidArgument page_token" {
		t.Errorf("page token of another query: %v", err)
	}
	if _, err := f.ListSessions(f.owner, &schedulingv1.ListSessionsRequest{PageSize: 201}); refused(err) != "InvalidArgument page_size" {
		t.Errorf("page of 201: %v", err)
	}
}

// TestUpdateKeepsOverrides changes a series in several ways round what people changed.
func TestUpdateKeepsOverrides(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.create(f.weekly())
	before := f.sessions("series = %q", s.GetName())
	gone, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: before[2].GetName(), Reason: "Holiday"})
	if err != nil {
		t.Fatal(err)
	}
	away, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: before[3].GetName(), LocalStart: "2027-03-26T10:00", Duration: durationpb.New(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	f.Clock.Set(time.Date(2027, 3, 5, 0, 0, 0, 0, time.UTC)) // the first has begun

	// Another time of day, a place: all keep their names.
	s = f.update(&schedulingv1.Series{Name: s.GetName(), LocalStart: "2027-03-04T20:30", Place: "Library", Etag: s.GetEtag()})
	after := f.sessions("series = %q", s.GetName())
	if len(after) != len(before)+1 || s.GetEtag() != `"2"` { // the window has moved on by one
		t.Fatalf("%d sessions, etag %s; want %d and 2", len(after), s.GetEtag(), len(before)+1)
	}
	for _, old := range before {
		x := f.session(old.GetName())
		switch x.GetName() {
		case before[0].GetName():
			if !proto.Equal(x, old) {
				t.Errorf("the session that had begun changed: %v", x)
			}
		case gone.GetName():
			if x.GetState() != schedulingv1.Session_CANCELLED || x.GetCancelReason() != "Holiday" {
				t.Errorf("the cancelled session is %v", x)
			}
		case away.GetName():
			if x.GetState() != schedulingv1.Session_MOVED || !proto.Equal(x.GetStartTime(), away.GetStartTime()) || !proto.Equal(x.GetEndTime(), away.GetEndTime()) || x.GetPlace() != "Library" {
				t.Errorf("the moved session is %v", x)
			}
		default:
			if !strings.HasSuffix(x.GetLocalStart(), "T20:30:00") || x.GetLocalStart()[:10] != old.GetLocalStart()[:10] || x.GetPlace() != "Library" {
				t.Errorf("session of %s is now %v", old.GetLocalStart(), x)
			}
		}
	}
	moves := f.events(sessionMoved)
	if len(moves) != 1+len(before)-3 {
		t.Errorf("%d sessions told as moved, want %d", len(moves), 1+len(before)-3)
	}
	var told schedulingv1.SessionChanged
	f.lastEvent(sessionMoved, before[5].GetName(), &told)
	if !proto.Equal(told.GetPreviousStartTime(), before[5].GetStartTime()) || told.GetState() != schedulingv1.Session_SCHEDULED {
		t.Errorf("told %v", &told)
	}

	// Every second week: half of them are dropped. Weekly again: the same come back.
	f.update(&schedulingv1.Series{Name: s.GetName(), Rrule: "FREQ=WEEKLY;INTERVAL=2"})
	dropped := f.session(before[3].GetName())
	if dropped.GetState() != schedulingv1.Session_CANCELLED || dropped.GetCancelReason() != droppedReason {
		t.Errorf("a session that the rule lost is %v", dropped)
	}
	if _, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: before[5].GetName(), LocalStart: "2027-04-09T10:00"}); refused(err) != "FailedPrecondition SESSION_DROPPED" {
		t.Errorf("moving a dropped session: %v", err)
	}
	f.update(&schedulingv1.Series{Name: s.GetName(), Rrule: "FREQ=WEEKLY"})
	back := f.sessions("series = %q", s.GetName())
	for i, x := range back {
		if x.GetName() != after[i].GetName() || x.GetState() != after[i].GetState() || !proto.Equal(x.GetStartTime(), after[i].GetStartTime()) {
			t.Errorf("session %d came back as %v, was %v", i, x, after[i])
		}
	}
	for i, state := range map[int]schedulingv1.Session_State{3: schedulingv1.Session_MOVED, 5: schedulingv1.Session_SCHEDULED} {
		e := f.lastEvent(sessionRestored, before[i].GetName(), &told)
		if told.GetState() != state || !proto.Equal(told.GetStartTime(), after[i].GetStartTime()) || told.GetPreviousStartTime() != nil || e.Revision <= 1 {
			t.Errorf("session %d is told as %v at %d", i, &told, e.Revision)
		}
	}

	// An end: what comes after is dropped, and the series ends with its last session.
	s = f.update(&schedulingv1.Series{Name: s.GetName(), Rrule: "FREQ=WEEKLY;UNTIL=20270401"})
	if n := len(f.sessions("series = %q AND state = SCHEDULED AND start_time > %q", s.GetName(), "2027-04-02T00:00:00Z")); n != 0 {
		t.Errorf("%d sessions after the end", n)
	}
	f.Clock.Set(time.Date(2027, 4, 2, 0, 0, 0, 0, time.UTC))
	if s, err = f.GetSeries(f.owner, &schedulingv1.GetSeriesRequest{Name: s.GetName()}); err != nil || s.GetState() != schedulingv1.Series_ENDED {
		t.Errorf("after its end the series is %v, %v", s, err)
	}
}

// TestZoneChange keeps the wall clock when a series goes to another zone.
func TestZoneChange(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.create(f.weekly())
	before := f.sessions("series = %q", s.GetName())
	f.update(&schedulingv1.Series{Name: s.GetName(), TimeZone: "Australia/Lord_Howe"})
	for i, old := range before {
		x := f.session(old.GetName())
		if i == 0 { // 19:00 on the first day is over there: it stays
			if !proto.Equal(x, old) {
				t.Errorf("the first session is %v, was %v", x, old)
			}
			continue
		}
		if x.GetLocalStart() != old.GetLocalStart() || x.GetTimeZone() != "Australia/Lord_Howe" {
			t.Errorf("session %d is %v, was %v", i, x, old)
		}
	}
}

// TestTenants shows nothing of one organization to another, also without the SQL's own predicate.
func TestTenants(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.create(f.weekly())
	x := f.sessions("")[0]
	calls := map[string]func() error{
		"GetSeries": func() error {
			_, err := f.GetSeries(f.stranger, &schedulingv1.GetSeriesRequest{Name: s.GetName()})
			return err
		},
		"UpdateSeries": func() error {
			_, err := f.UpdateSeries(f.stranger, &schedulingv1.UpdateSeriesRequest{Series: &schedulingv1.Series{Name: s.GetName(), Title: "Mine"}})
			return err
		},
		"DeleteSeries": func() error {
			_, err := f.DeleteSeries(f.stranger, &schedulingv1.DeleteSeriesRequest{Name: s.GetName()})
			return err
		},
		"GetSession": func() error {
			_, err := f.GetSession(f.stranger, &schedulingv1.GetSessionRequest{Name: x.GetName()})
			return err
		},
		"CancelSession": func() error {
			_, err := f.CancelSession(f.stranger, &schedulingv1.CancelSessionRequest{Name: x.GetName(), Reason: "x"})
			return err
		},
		"MoveSession": func() error {
			_, err := f.MoveSession(f.stranger, &schedulingv1.MoveSessionRequest{Name: x.GetName(), LocalStart: "2027-04-01T10:00"})
			return err
		},
		"HoldSession": func() error {
			_, err := f.HoldSession(f.stranger, &schedulingv1.HoldSessionRequest{Name: x.GetName()})
			return err
		},
		"RecordAttendance": func() error {
			_, err := f.RecordAttendance(f.stranger, &schedulingv1.RecordAttendanceRequest{Session: x.GetName(), Entries: []*schedulingv1.RecordAttendanceRequest_Entry{
				{Membership: "memberships/" + uuid.NewString(), Status: schedulingv1.Attendance_PRESENT}}})
			return err
		},
		"ListAttendance": func() error {
			_, err := f.ListAttendance(f.stranger, &schedulingv1.ListAttendanceRequest{Parent: x.GetName()})
			return err
		},
	}
	for name, call := range calls {
		if err := call(); refused(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s of a foreign resource: %v, want NOT_FOUND", name, err)
		}
	}
	sessions, err := f.ListSessions(f.stranger, &schedulingv1.ListSessionsRequest{Filter: fmt.Sprintf("group = %q", f.group)})
	if err != nil || len(sessions.GetSessions()) != 0 {
		t.Errorf("a stranger lists %v, %v", sessions, err)
	}
	series, err := f.ListSeries(f.stranger, &schedulingv1.ListSeriesRequest{})
	if err != nil || len(series.GetSeries()) != 0 {
		t.Errorf("a stranger lists %v, %v", series, err)
	}
	// The platform sees every tenant's.
	sessions, err = f.ListSessions(suitetest.Platform(t.Context(), "schedule.read"), &schedulingv1.ListSessionsRequest{})
	if err != nil || len(sessions.GetSessions()) != 50 {
		t.Errorf("the platform lists %d sessions, %v; want a full page", len(sessions.GetSessions()), err)
	}
	if _, err := f.ListSessions(t.Context(), &schedulingv1.ListSessionsRequest{}); refused(err) != "Unauthenticated TOKEN_REQUIRED" {
		t.Errorf("nobody: %v", err)
	}
	if _, err := f.CancelSession(suitetest.Client(t.Context(), ours, "schedule.read"), &schedulingv1.CancelSessionRequest{Name: x.GetName(), Reason: "x"}); refused(err) != "PermissionDenied MISSING_SCOPE" {
		t.Errorf("without schedule.write: %v", err)
	}
	// Row-level security holds alone.
	for _, table := range []string{"calendars", "series", "sessions", "session_facilitators", "attendances"} {
		var n int
		if err := f.DBs[service].QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s shows %d rows to no tenant, %v", table, n, err)
		}
	}
}
