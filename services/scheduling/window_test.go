package scheduling

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/internal/pgtest"
)

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, met func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// TestThroughTheYears lets two years pass, week by week and through every change of
// daylight saving, with nothing but the jobs at work.
func TestThroughTheYears(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, srv := f.server()
	in := f.weekly()
	in.Topics = make([]string, 100)
	for i := range in.Topics {
		in.Topics[i] = fmt.Sprintf("week %d", i)
	}
	s := f.create(in)
	sydney := f.weekly()
	sydney.Group, sydney.TimeZone, sydney.LocalStart = f.newGroup(f.owner), "Australia/Sydney", "2027-03-05T18:30"
	other := f.create(sydney)
	moved, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: f.sessions("series = %q", s.GetName())[30].GetName(), LocalStart: "2028-02-29T10:00"})
	if err != nil {
		t.Fatal(err)
	}

	for week := range 104 {
		now := f.Clock.Advance(7 * 24 * time.Hour)
		if err := srv.extendAll(ctx); err != nil {
			t.Fatalf("week %d: extend: %v", week, err)
		}
		if err := srv.tellAll(ctx); err != nil {
			t.Fatalf("week %d: tell: %v", week, err)
		}
		var told schedulingv1.CalendarChanged
		f.lastEvent(calendarChanged, f.group, &told)
		if n := len(told.GetNextSessions()); n < 54 || n > 55 || !told.GetNextSessions()[0].AsTime().After(now) || told.GetNextSessions()[n-1].AsTime().Before(now.Add(53*7*24*time.Hour)) {
			t.Fatalf("week %d: %d sessions told, from %s", week, n, told.GetNextSessions()[0].AsTime())
		}
	}
	got, err := f.GetSeries(f.owner, &schedulingv1.GetSeriesRequest{Name: s.GetName()})
	if err != nil || got.GetEtag() != s.GetEtag() || !got.GetHorizonTime().AsTime().Equal(f.Clock.Now().Add(window)) {
		t.Errorf("the series is %v, %v; want it as it was but for the horizon", got, err)
	}
	for series, want := range map[*schedulingv1.Series]string{s: "T19:00:00", other: "T18:30:00"} {
		list := f.sessions("series = %q", series.GetName())
		if len(list) != 158 {
			t.Errorf("%d sessions after two years, want 158", len(list))
		}
		slices.SortFunc(list, func(a, b *schedulingv1.Session) int {
			return strings.Compare(a.GetOriginalLocalStart(), b.GetOriginalLocalStart())
		})
		day, err := time.Parse("2006-01-02T15:04", series.GetLocalStart()[:16])
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range list {
			if x.GetName() == moved.GetName() {
				if x.GetState() != schedulingv1.Session_MOVED || !proto.Equal(x.GetStartTime(), moved.GetStartTime()) {
					t.Errorf("the moved session is %v", x)
				}
				continue
			}
			if day := day.AddDate(0, 0, 7*i).Format(time.DateOnly); x.GetLocalStart() != day+want {
				t.Fatalf("session %d is at %s, want %s", i, x.GetLocalStart(), day+want)
			}
			if series == s && i < 100 && x.GetTopic() != fmt.Sprintf("week %d", i) {
				t.Fatalf("session %d has the topic %q", i, x.GetTopic())
			}
		}
	}
	if n := len(f.events(sessionMoved)) + len(f.events(sessionCancelled)); n != 1 {
		t.Errorf("%d sessions told as moved or cancelled, want the one that a person moved", n)
	}
}

// TestWindowLeavesOutWhoIsBusy makes sessions in the window also where a facilitator has
// taken something else on, without her.
func TestWindowLeavesOutWhoIsBusy(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, srv := f.server()
	in := f.weekly()
	in.Facilitators = []string{f.ana, f.ben}
	s := f.create(in)
	f.Clock.Advance(20 * 7 * 24 * time.Hour)
	single := f.weekly()
	single.Group, single.Rrule, single.LocalStart, single.Facilitators = f.newGroup(f.owner), "", "2028-04-06T18:00", []string{f.ana}
	f.create(single)
	for range 2 {
		if err := srv.extendAll(ctx); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	for _, x := range f.sessions("series = %q", s.GetName()) {
		want := 2
		if x.GetLocalStart() == "2028-04-06T19:00:00" {
			want, found = 1, found+1
			if x.GetEtag() != `"1"` {
				t.Errorf("the session was changed: %v", x)
			}
		}
		if len(x.GetFacilitators()) != want {
			t.Errorf("%d facilitators at %s, want %d", len(x.GetFacilitators()), x.GetLocalStart(), want)
		}
	}
	if found != 1 {
		t.Errorf("%d sessions on 6 April 2028, want 1", found)
	}
}

// TestArchivedGroup cancels what is to come of a group that is archived or deleted, and
// brings it back with the group.
func TestArchivedGroup(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.create(f.weekly())
	before := f.sessions("series = %q", s.GetName())
	cancelled, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: before[3].GetName(), Reason: "Holiday"})
	if err != nil {
		t.Fatal(err)
	}
	f.Clock.Set(time.Date(2027, 3, 4, 18, 30, 0, 0, time.UTC)) // the first is under way

	if _, err := f.groups.DeleteGroup(f.owner, &groupsv1.DeleteGroupRequest{Name: f.group}); err != nil {
		t.Fatal(err)
	}
	state := func() schedulingv1.Series_State {
		got, err := f.GetSeries(f.owner, &schedulingv1.GetSeriesRequest{Name: s.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		return got.GetState()
	}
	eventually(t, "the series of a deleted group ends", func() bool { return state() == schedulingv1.Series_ENDED })
	open := f.sessions("series = %q AND state = SCHEDULED", s.GetName())
	if len(open) != 1 || open[0].GetName() != before[0].GetName() {
		t.Errorf("%d sessions of a deleted group take place, want the one under way", len(open))
	}
	if got := f.session(before[5].GetName()); got.GetCancelReason() != closedReason {
		t.Errorf("cancelled because %q", got.GetCancelReason())
	}
	if n := len(f.events(sessionCancelled)); n != len(before)-1 {
		t.Errorf("%d sessions told as cancelled, want %d", n, len(before)-1)
	}
	if _, err := f.CreateSeries(f.owner, &schedulingv1.CreateSeriesRequest{Series: f.weekly()}); refused(err) != "NotFound NOT_FOUND" {
		t.Errorf("a series for a deleted group: %v", err)
	}

	if _, err := f.groups.UndeleteGroup(f.owner, &groupsv1.UndeleteGroupRequest{Name: f.group}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the series of an undeleted group goes on", func() bool { return state() == schedulingv1.Series_ACTIVE })
	for i, old := range before {
		got := f.session(old.GetName())
		if i == 3 {
			old = cancelled
		}
		if got.GetState() != old.GetState() || !proto.Equal(got.GetStartTime(), old.GetStartTime()) || got.GetCancelReason() != old.GetCancelReason() {
			t.Errorf("session %d came back as %v, was %v", i, got, old)
		}
	}

	if _, err := f.groups.ArchiveGroup(f.owner, &groupsv1.ArchiveGroupRequest{Name: f.group}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the series of an archived group ends", func() bool { return state() == schedulingv1.Series_ENDED })
	if _, err := f.CreateSeries(f.owner, &schedulingv1.CreateSeriesRequest{Series: f.weekly()}); refused(err) != "FailedPrecondition GROUP_ARCHIVED" {
		t.Errorf("a series for an archived group: %v", err)
	}
	// A series of an archived group can be changed, but gets no sessions.
	f.update(&schedulingv1.Series{Name: s.GetName(), LocalStart: "2027-03-04T10:00"})
	if n := len(f.sessions("series = %q AND state = SCHEDULED", s.GetName())); n != 1 {
		t.Errorf("%d sessions of an archived group take place", n)
	}
}

// TestExtendMeetsDeletion has the job wait for a calendar while the series is deleted.
func TestExtendMeetsDeletion(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, srv := f.server()
	s := f.create(f.weekly())
	id, err := aip.ParseName("name", "series", s.GetName())
	if err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(20 * 7 * 24 * time.Hour)
	extended := make(chan error, 1)
	if err := srv.db.Tx(ctx, func(tx pgx.Tx) error {
		seen, err := oneSeries(ctx, tx, id, "")
		if err != nil {
			return err
		}
		if _, err := lockCalendar(ctx, tx, seen.GroupID, seen.OrgID); err != nil {
			return err
		}
		go func() { extended <- srv.extend(ctx, []uuid.UUID{id}, f.Clock.Now()) }()
		if err := pgtest.Blocks(ctx, tx); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, markDeleted, pgx.NamedArgs{"id": id, "now": f.Clock.Now()})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-extended; err != nil {
		t.Errorf("a series that was deleted meanwhile: got %v, want nothing to do", err)
	}
}
