package scheduling

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// TestSplitSeries changes a series from a session on: names, what was moved or cancelled, and topics stay.
func TestSplitSeries(t *testing.T) {
	t.Parallel()
	f := setup(t)
	series := schedulingv1.NewSeriesServiceClient(f.Conn("scheduling"))
	in := f.weekly()
	in.Rrule, in.Topics, in.Exdates, in.Rdates = "FREQ=WEEKLY;COUNT=10", []string{"1", "2", "3", "4", "5"}, []string{"2027-03-11T19:00", "2027-04-22T19:00"}, []string{"2027-03-06T10:00", "2027-05-20T10:00"}
	made := f.create(in)
	before := f.sessions("series = %q", made.GetName())
	if len(before) != 10 {
		t.Fatalf("%d sessions, want 10", len(before))
	}
	moved, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: before[5].GetName(), LocalStart: "2027-04-09T18:00"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: before[6].GetName(), Reason: "away"}); err != nil {
		t.Fatal(err)
	}
	change := &schedulingv1.SplitSeriesRequest{
		Series:     &schedulingv1.Series{Name: made.GetName(), LocalStart: "2027-03-25T20:00", Place: "Upstairs"},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"local_start", "place"}}, Session: before[3].GetName(),
	}
	change.Series.Etag = `"9"`
	if _, err := series.SplitSeries(f.owner, change); refused(err) != "Aborted ETAG_MISMATCH" {
		t.Errorf("with a stale etag: %v", err)
	}
	change.Series.Etag = made.GetEtag()
	if _, err := series.SplitSeries(f.stranger, change); refused(err) != "NotFound NOT_FOUND" {
		t.Errorf("by a stranger: %v", err)
	}
	got, err := series.SplitSeries(f.owner, change)
	if err != nil {
		t.Fatal(err)
	}
	e, l := got.GetEarlier(), got.GetFollowing()
	if e.GetName() != made.GetName() || e.GetRrule() != "FREQ=WEEKLY;UNTIL=20270325T185959" || len(e.GetRdates()) != 1 || len(e.GetExdates()) != 1 || len(e.GetTopics()) != 3 || e.GetPlace() != "" {
		t.Errorf("earlier: %v", e)
	}
	if l.GetName() == made.GetName() || l.GetRrule() != "FREQ=WEEKLY;COUNT=7" || l.GetLocalStart() != "2027-03-25T20:00:00" || l.GetPlace() != "Upstairs" || len(l.GetRdates()) != 1 || len(l.GetTopics()) != 2 {
		t.Errorf("following: %v", l)
	}
	first := f.sessions("series = %q", e.GetName())
	if len(first) != 3 || first[2].GetName() != before[2].GetName() || first[2].GetTopic() != "3" || first[2].GetEtag() != before[2].GetEtag() {
		t.Errorf("the earlier sessions: %v", first)
	}
	rest := f.sessions("series = %q", l.GetName())
	names := map[string]*schedulingv1.Session{}
	for _, s := range rest {
		names[s.GetName()] = s
	}
	for i, was := range before[3:] {
		s := names[was.GetName()]
		if s == nil || s.GetPlace() != "Upstairs" {
			t.Fatalf("session %d became %v", i+3, s)
		}
		switch i + 3 {
		case 3:
			if s.GetLocalStart() != "2027-03-25T20:00:00" || s.GetTopic() != "4" {
				t.Errorf("the first became %v", s)
			}
		case 5:
			if s.GetState() != schedulingv1.Session_MOVED || !s.GetStartTime().AsTime().Equal(moved.GetStartTime().AsTime()) {
				t.Errorf("the moved one became %v", s)
			}
		case 6:
			if s.GetState() != schedulingv1.Session_CANCELLED || s.GetCancelReason() != "away" {
				t.Errorf("the cancelled one became %v", s)
			}
		}
	}
	// The exception at 19:00 hides nothing at 20:00: there is one more.
	if len(rest) != 8 {
		t.Errorf("%d sessions follow, want 8", len(rest))
	}

	// From the first session on is all of it.
	again := f.weekly()
	again.Group = f.newGroup(f.owner)
	other := f.create(again)
	all := f.sessions("series = %q", other.GetName())
	got, err = series.SplitSeries(f.owner, &schedulingv1.SplitSeriesRequest{Series: &schedulingv1.Series{Name: other.GetName(), Title: "All"}, Session: all[0].GetName()})
	if err != nil || got.GetEarlier() != nil || got.GetFollowing().GetName() != other.GetName() || got.GetFollowing().GetTitle() != "All" {
		t.Errorf("from the first on: %v, %v", got, err)
	}
	if _, err := series.SplitSeries(f.owner, &schedulingv1.SplitSeriesRequest{Series: &schedulingv1.Series{Name: other.GetName()}, Session: all[3].GetName()}); refused(err) != "InvalidArgument series" {
		t.Errorf("nothing to change: %v", err)
	}
	f.Clock.Set(thursday.Add(12 * time.Hour))
	for session, want := range map[string]string{before[4].GetName(): "InvalidArgument session", all[0].GetName(): "FailedPrecondition SESSION_BEGUN"} {
		if _, err := series.SplitSeries(f.owner, &schedulingv1.SplitSeriesRequest{Series: &schedulingv1.Series{Name: other.GetName(), Title: "x"}, Session: session}); refused(err) != want {
			t.Errorf("%s: %s (%v), want %s", session, refused(err), err, want)
		}
	}
}

// TestSplitOfSeveralRules carries rules on that start there by themselves, and refuses others.
func TestSplitOfSeveralRules(t *testing.T) {
	t.Parallel()
	f := setup(t)
	series := schedulingv1.NewSeriesServiceClient(f.Conn("scheduling"))
	for _, tt := range []struct{ further, want string }{
		{"FREQ=WEEKLY;BYDAY=MO", ""},
		{"FREQ=MONTHLY;BYMONTHDAY=4", ""},
		{"FREQ=WEEKLY;INTERVAL=3;BYDAY=MO", "FailedPrecondition RULES_DEPEND_ON_START"},
	} {
		in := f.weekly()
		in.Group = f.newGroup(f.owner)
		in.Rrule, in.FurtherRrules = "FREQ=WEEKLY;BYDAY=TH", []string{tt.further}
		made := f.create(in)
		was := f.sessions("series = %q", made.GetName())
		got, err := series.SplitSeries(f.owner, &schedulingv1.SplitSeriesRequest{Series: &schedulingv1.Series{Name: made.GetName(), Title: "Later"}, Session: was[22].GetName()})
		if (err != nil || tt.want != "") && refused(err) != tt.want {
			t.Fatalf("%s: %v, want %q", tt.further, err, tt.want)
		}
		if err == nil {
			is := append(f.sessions("series = %q", made.GetName()), f.sessions("series = %q", got.GetFollowing().GetName())...)
			if len(is) != len(was) {
				t.Errorf("%s: %d sessions, had %d", tt.further, len(is), len(was))
			}
			for i := range is {
				if is[i].GetName() != was[i].GetName() || !is[i].GetStartTime().AsTime().Equal(was[i].GetStartTime().AsTime()) || is[i].GetState() != was[i].GetState() {
					t.Fatalf("%s: session %d is %v, was %v", tt.further, i, is[i], was[i])
				}
			}
		}
		if _, err := f.DeleteSeries(f.owner, &schedulingv1.DeleteSeriesRequest{Name: made.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPreviewSeries shows when any series would take place, to anybody, and says what is wrong with one.
func TestPreviewSeries(t *testing.T) {
	t.Parallel()
	f := setup(t)
	series := schedulingv1.NewSeriesServiceClient(f.Conn("scheduling"))
	got, err := series.PreviewSeries(t.Context(), &schedulingv1.PreviewSeriesRequest{
		Rrule: "FREQ=DAILY", FurtherRrules: []string{"FREQ=HOURLY;BYMINUTE=15"}, TimeZone: "Europe/Berlin", LocalStart: "2027-03-27T02:30",
		StartTime: timestamppb.New(time.Date(2027, 3, 28, 0, 30, 0, 0, time.UTC)), Exdates: []string{"2027-03-28T03:15"}, Count: 3,
	})
	if err != nil || len(got.GetOccurrences()) != 3 || !got.GetMore() {
		t.Fatalf("%v, %v", got, err)
	}
	for i, want := range []string{"2027-03-28T02:15:00 2027-03-28T01:15:00Z 7200", "2027-03-28T02:30:00 2027-03-28T01:30:00Z 7200", "2027-03-28T04:15:00 2027-03-28T02:15:00Z 7200"} {
		o := got.GetOccurrences()[i]
		if s := o.GetLocalStart() + " " + o.GetStartTime().AsTime().Format(time.RFC3339) + " 7200"; s != want || o.GetUtcOffsetSeconds() != 7200 {
			t.Errorf("occurrence %d is %s, want %s", i, s, want)
		}
	}
	all, err := series.PreviewSeries(t.Context(), &schedulingv1.PreviewSeriesRequest{
		Rrule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", TimeZone: "UTC", LocalStart: "2027-03-27T02:30", EndTime: timestamppb.New(time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC)),
	})
	if err != nil || len(all.GetOccurrences()) != 3 || !all.GetMore() {
		t.Errorf("leap days: %v, %v", all, err)
	}
	for _, tt := range []struct {
		req  *schedulingv1.PreviewSeriesRequest
		want string
	}{
		{&schedulingv1.PreviewSeriesRequest{Rrule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "InvalidArgument rrule"},
		{&schedulingv1.PreviewSeriesRequest{Rrule: "FREQ=DAILY;COUNT=1000000000"}, "InvalidArgument rrule"},
		{&schedulingv1.PreviewSeriesRequest{Rrule: "FREQ=DAILY", FurtherRrules: []string{"FREQ=DAILY;BYDAY=1MO"}}, "InvalidArgument further_rrules[0]"},
		{&schedulingv1.PreviewSeriesRequest{Rrule: "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=29", StartTime: timestamppb.New(time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC))}, "InvalidArgument rrule"},
		{&schedulingv1.PreviewSeriesRequest{TimeZone: "Mars/Olympus"}, "InvalidArgument time_zone"},
		{&schedulingv1.PreviewSeriesRequest{LocalStart: "2027-02-29T10:00"}, "InvalidArgument local_start"},
		{&schedulingv1.PreviewSeriesRequest{Exdates: []string{"x"}}, "InvalidArgument exdates[0]"},
		{&schedulingv1.PreviewSeriesRequest{Count: 1001}, "InvalidArgument count"},
		{&schedulingv1.PreviewSeriesRequest{StartTime: timestamppb.New(thursday), EndTime: timestamppb.New(thursday)}, "InvalidArgument end_time"},
	} {
		if tt.req.TimeZone == "" {
			tt.req.TimeZone = "UTC"
		}
		if tt.req.LocalStart == "" {
			tt.req.LocalStart = "2027-03-01T10:00"
		}
		if _, err := series.PreviewSeries(t.Context(), tt.req); refused(err) != tt.want {
			t.Errorf("%v: %s (%v), want %s", tt.req, refused(err), err, tt.want)
		}
	}
}
