package groups

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

func TestRegularTimesAreChecked(t *testing.T) {
	t.Parallel()
	day := &date.Date{Year: 2026, Month: 9, Day: 1}
	for name, tc := range map[string]struct {
		rule, zone string
		start      *date.Date
		field      string // "": it is fine
	}{
		"weekly":                      {"FREQ=WEEKLY;BYDAY=TU,TH", "America/Chicago", nil, ""},
		"no zone at all":              {"FREQ=WEEKLY;BYDAY=TU", "", nil, ""},
		"fortnightly":                 {"FREQ=WEEKLY;INTERVAL=2;BYDAY=TU", "UTC", day, ""},
		"fortnightly, of which week?": {"FREQ=WEEKLY;INTERVAL=2;BYDAY=TU", "UTC", nil, "start_date"},
		"eight times, from when?":     {"FREQ=WEEKLY;COUNT=8;BYDAY=TU", "UTC", nil, "start_date"},
		"on which day?":               {"FREQ=WEEKLY", "UTC", nil, "start_date"},
		"weekly from a day":           {"FREQ=WEEKLY", "UTC", day, ""},
		"no rule":                     {"every Tuesday", "UTC", nil, "rrule"},
		"never":                       {"FREQ=MONTHLY;BYMONTHDAY=30;BYMONTH=2", "UTC", nil, "rrule"},
		"every minute":                {"FREQ=MINUTELY", "UTC", nil, "rrule"},
		"over before it begins":       {"FREQ=WEEKLY;BYDAY=TU;UNTIL=20200101T000000Z", "UTC", day, "rrule"},
		"unknown zone":                {"FREQ=WEEKLY;BYDAY=TU", "Mars/Olympus", nil, "time_zone"},
		"no date":                     {"FREQ=WEEKLY;BYDAY=TU", "UTC", &date.Date{Year: 2026, Month: 2, Day: 30}, "start_date"},
	} {
		g := listing("Circle")
		g.TimeZone = ""
		g.RegularTimes = []*groupsv1.Group_RegularTime{{Rrule: tc.rule, StartTime: "18:30", Duration: durationpb.New(time.Hour), TimeZone: tc.zone, StartDate: tc.start}}
		err := checkGroup(g)
		if tc.field == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tc.field != "" && (err == nil || !strings.Contains(err.Error(), "group.regular_times[0]."+tc.field)) {
			t.Errorf("%s: %v, want something about %s", name, err, tc.field)
		}
	}
	s := setup(t)
	g := listing("Circle")
	g.RegularTimes = []*groupsv1.Group_RegularTime{{Rrule: "FREQ=WEEKLY", StartTime: "18:30", Duration: durationpb.New(time.Hour)}}
	_, err := s.CreateGroup(s.owner, &groupsv1.CreateGroupRequest{Group: g})
	refused(t, err, codes.InvalidArgument, "group.regular_times[0].start_date")
}

// What scheduling plans by hand is shown beside the group's own times, as they are.
func TestPlannedTimesAreShown(t *testing.T) {
	t.Parallel()
	s := setup(t)
	g := s.published(t, listing("Circle"))
	id, err := aip.ParseName("name", "groups", g.GetName())
	if err != nil {
		t.Fatal(err)
	}
	tell := func(revision int64, series ...*schedulingv1.PlannedSeries) []*groupsv1.Group_RegularTime {
		t.Helper()
		m := &schedulingv1.CalendarChanged{Group: g.GetName(), TimeZone: "Europe/Berlin", Revision: revision, PlannedSeries: series}
		planned, err := plannedTimes(m)
		if err != nil {
			t.Fatal(err)
		}
		ctx := auth.System(t.Context(), "groups")
		if err := s.DBs["groups"].Tx(ctx, func(tx pgx.Tx) error { return saveCalendar(ctx, tx, id, m, []time.Time{}, []int16{}, planned) }); err != nil {
			t.Fatal(err)
		}
		return must[*groupsv1.Group](t)(s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: g.GetName()})).GetAvailability().GetPlannedTimes()
	}
	weekly := &schedulingv1.PlannedSeries{Rrule: "FREQ=WEEKLY", TimeZone: "Europe/Berlin", LocalStart: "2027-03-04T19:00:00", Duration: durationpb.New(90 * time.Minute)}
	once := &schedulingv1.PlannedSeries{TimeZone: "Europe/Berlin", LocalStart: "2027-04-01T10:30:00", Duration: durationpb.New(time.Hour)}
	got := tell(1, weekly, once)
	if len(got) != 2 || got[0].GetRrule() != "FREQ=WEEKLY" || got[0].GetStartTime() != "19:00" || got[0].GetStartDate().GetDay() != 4 || got[0].GetDuration().GetSeconds() != 5400 {
		t.Errorf("planned: %v", got)
	} else if got[1].GetRrule() != "FREQ=DAILY;COUNT=1" || got[1].GetStartDate().GetMonth() != 4 {
		t.Errorf("planned once: %v", got[1])
	}
	if got := tell(2); len(got) != 0 {
		t.Errorf("nothing is planned any more, and %v is shown", got)
	}
}
