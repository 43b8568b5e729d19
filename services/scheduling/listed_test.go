package scheduling

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
)

func regular(rule, start string) *groupsv1.Group_RegularTime {
	return &groupsv1.Group_RegularTime{Rrule: rule, StartTime: start, Duration: durationpb.New(time.Hour)}
}

// list changes the regular times of the fixture's group and waits until they are planned.
func (f *fixture) list(times ...*groupsv1.Group_RegularTime) *groupsv1.Group {
	f.t.Helper()
	g, err := f.groups.UpdateGroup(f.owner, &groupsv1.UpdateGroupRequest{
		Group: &groupsv1.Group{Name: f.group, RegularTimes: times}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"regular_times"}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.told(g)
	return g
}

// told waits until scheduling knows the group as it is.
func (f *fixture) told(g *groupsv1.Group) {
	f.t.Helper()
	id, err := aip.ParseName("name", "groups", g.GetName())
	if err != nil {
		f.t.Fatal(err)
	}
	revision, err := aip.Revision(g.GetEtag())
	if err != nil {
		f.t.Fatal(err)
	}
	eventually(f.t, "scheduling knows the group", func() bool {
		var known int64
		ctx, s := f.server()
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `SELECT coalesce(max(group_revision), 0) FROM calendars WHERE group_id = $1`, id).Scan(&known)
		}); err != nil {
			f.t.Fatal(err)
		}
		return known >= revision
	})
}

func (f *fixture) listedSeries() (all []*schedulingv1.Series) {
	f.t.Helper()
	resp, err := f.ListSeries(f.owner, &schedulingv1.ListSeriesRequest{Filter: `group = "` + f.group + `"`})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, s := range resp.GetSeries() {
		if s.GetListed() {
			all = append(all, s)
		}
	}
	return all
}

// What the listing says is planned beside what is planned by hand, and follows it.
func TestListedTimesArePlanned(t *testing.T) {
	t.Parallel()
	f := setup(t)
	byHand := f.create(f.weekly())
	fortnight := regular("FREQ=WEEKLY;INTERVAL=2;BYDAY=SA", "10:00")
	fortnight.StartDate = &date.Date{Year: 2020, Month: 1, Day: 4}
	f.list(regular("FREQ=WEEKLY;BYDAY=TU", "18:30"), fortnight)

	series := f.listedSeries()
	if len(series) != 2 {
		t.Fatalf("%d series listed, want 2: %v", len(series), series)
	}
	slices.SortFunc(series, func(a, b *schedulingv1.Series) int { return cmp.Compare(b.GetLocalStart(), a.GetLocalStart()) })
	if got := series[0].GetLocalStart(); got != "2027-03-09T18:30:00" {
		t.Errorf("the Tuesdays begin on %s, want the next one", got)
	}
	if got := series[1].GetLocalStart(); got != "2020-01-04T10:00:00" {
		t.Errorf("the fortnight counts from %s, want 2020-01-04", got)
	}
	tuesdays := f.sessions(`series = %q`, series[0].GetName())
	if len(tuesdays) != 54 || tuesdays[0].GetLocalStart() != "2027-03-09T18:30:00" {
		t.Fatalf("%d Tuesdays from %v, want 54", len(tuesdays), tuesdays[0])
	}
	if got := f.sessions(`series = %q`, series[1].GetName()); len(got) != 27 || got[0].GetLocalStart() != "2027-03-06T10:00:00" {
		t.Errorf("%d Saturdays from %v, want 27 from 2027-03-06", len(got), got[0])
	}
	var calendar schedulingv1.CalendarChanged
	f.lastEvent(calendarChanged, f.group, &calendar)
	if p := calendar.GetPlannedSeries(); len(p) != 1 || p[0].GetRrule() != "FREQ=WEEKLY" || p[0].GetLocalStart() != "2027-03-04T19:00:00" {
		t.Errorf("planned by hand: %v, want the Thursdays", p)
	}

	// Another time of day: the same series and the same sessions; nothing is planned anew for the rest.
	f.list(regular("FREQ=WEEKLY;BYDAY=TU", "19:00"), fortnight)
	later := f.sessions(`series = %q AND state != "CANCELLED"`, series[0].GetName())
	if len(later) != 54 || later[0].GetName() != tuesdays[0].GetName() || later[0].GetLocalStart() != "2027-03-09T19:00:00" {
		t.Errorf("%d Tuesdays after the change, the first %v; want the same 54 at 19:00", len(later), later[0])
	}

	// A time that is gone takes its sessions with it; what was planned by hand stays.
	f.list(fortnight)
	if got := f.sessions(`series = %q AND state != "CANCELLED"`, series[0].GetName()); len(got) != 0 {
		t.Errorf("%d Tuesdays are left", len(got))
	}
	if got := f.sessions(`series = %q AND state != "CANCELLED"`, byHand.GetName()); len(got) != 54 {
		t.Errorf("%d of the sessions planned by hand are left, want 54", len(got))
	}
	_, updating := f.UpdateSeries(f.owner, &schedulingv1.UpdateSeriesRequest{Series: &schedulingv1.Series{Name: series[1].GetName(), Title: "x"}})
	_, deleting := f.DeleteSeries(f.owner, &schedulingv1.DeleteSeriesRequest{Name: series[1].GetName()})
	for what, err := range map[string]error{"update": updating, "delete": deleting} {
		if got := refused(err); got != "FailedPrecondition SERIES_LISTED" {
			t.Errorf("%s of a listed series: %s", what, got)
		}
	}

	// The group closes and comes back with all of it.
	gone, err := f.groups.DeleteGroup(f.owner, &groupsv1.DeleteGroupRequest{Name: f.group})
	if err != nil {
		t.Fatal(err)
	}
	f.told(gone)
	if got := f.sessions(`group = %q AND state != "CANCELLED"`, f.group); len(got) != 0 {
		t.Errorf("%d sessions of a deleted group", len(got))
	}
	back, err := f.groups.UndeleteGroup(f.owner, &groupsv1.UndeleteGroupRequest{Name: f.group})
	if err != nil {
		t.Fatal(err)
	}
	f.told(back)
	if got := f.sessions(`group = %q AND state != "CANCELLED"`, f.group); len(got) != 54+27 {
		t.Errorf("%d sessions after the group came back, want %d", len(got), 54+27)
	}
}

// A thousand groups of one event are planned together; applied again, nothing changes; what is stale is dropped.
func TestManyListingsAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, s := f.server()
	org, err := aip.ParseName("organization", "organizations", ours)
	if err != nil {
		t.Fatal(err)
	}
	var list []listing
	for range together {
		list = append(list, listing{id: uuid.New(), org: org, revision: 2, times: []listedTime{
			{rrule: "FREQ=WEEKLY;BYDAY=MO", start: "18:00", zone: "America/Chicago", seconds: 3600},
			{rrule: "FREQ=WEEKLY;BYDAY=MO", start: "18:00", zone: "Nowhere/None", seconds: 3600},      // cannot be planned
			{rrule: "FREQ=DAILY;BYHOUR=1,2", start: "18:00", zone: "America/Chicago", seconds: 86400}, // would overlap
		}})
	}
	apply := func(list []listing) {
		t.Helper()
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error { return takeListings(ctx, tx, slices.Clone(list), f.Clock.Now()) }); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (series, sessions, calendars int) {
		t.Helper()
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM series WHERE delete_time IS NULL), (SELECT count(*) FROM sessions WHERE state = 1), (SELECT count(*) FROM outbox WHERE type = $1)`,
				calendarChanged).Scan(&series, &sessions, &calendars)
		}); err != nil {
			t.Fatal(err)
		}
		return series, sessions, calendars
	}
	apply(list)
	if a, b, c := count(); a != together || b != 54*together || c != together {
		t.Fatalf("%d series, %d sessions, %d calendars; want %d, %d, %[1]d", a, b, c, together, 54*together)
	}
	for i := range list {
		list[i].revision = 3
	}
	apply(list)
	if a, b, c := count(); a != together || b != 54*together || c != together {
		t.Errorf("the same again: %d series, %d sessions, %d calendars", a, b, c)
	}
	stale := slices.Clone(list)
	for i := range stale {
		stale[i].revision, stale[i].times = 1, nil
	}
	apply(stale)
	if a, _, _ := count(); a != together {
		t.Errorf("%d series after stale news, want %d", a, together)
	}
}
