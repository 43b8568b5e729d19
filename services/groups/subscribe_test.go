package groups

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/internal/suitetest"
)

// peer stands where another service does: it has a database and an outbox, and says what the test has it say.
func peer(name string) chassis.Component {
	empty := fstest.MapFS{"0001_nothing.sql": {Data: []byte("-- +goose Up\nSELECT 1;\n")}}
	return chassis.Component{Name: name, Migrations: empty, Start: func(context.Context, *chassis.Host) error { return nil }}
}

// What membership and scheduling tell shows in the group and in search; what is older than the known does not.
func TestAvailabilityFollowsEvents(t *testing.T) {
	t.Parallel()
	st := suitetest.Start(t, []chassis.Component{Component(), peer("partners"), peer("membership"), peer("scheduling")})
	conn := st.Conn("groups")
	s := &suite{
		Suite: st, GroupsServiceClient: groupsv1.NewGroupsServiceClient(conn), DirectoryServiceClient: groupsv1.NewDirectoryServiceClient(conn),
		owner: suitetest.Client(t.Context(), ours, "groups.write"), public: t.Context(),
	}
	g := s.published(t, listing("Told"))
	tell := func(from string, e events.Event) {
		t.Helper()
		db := st.DBs[from]
		if err := db.Tx(auth.System(t.Context(), from), func(tx pgx.Tx) error { return events.Insert(t.Context(), tx, e) }); err != nil {
			t.Fatal(err)
		}
	}
	seats := func(open, revision int32) {
		tell("membership", events.Event{Type: "care.cairn.membership.seats.changed.v1", Subject: g.GetName(), Revision: int64(revision), Data: &membershipv1.SeatsChanged{
			Group: g.GetName(), Seats: 8, Taken: 8 - open, OpenSeats: open, WaitlistLength: 3, Revision: int64(revision),
		}})
	}
	tuesday := time.Date(st.Clock.Now().Year()+1, 6, 1, 0, 0, 0, 0, time.UTC)
	for tuesday.Weekday() != time.Tuesday {
		tuesday = tuesday.AddDate(0, 0, 1)
	}
	evening := tuesday.Add(23*time.Hour + 30*time.Minute) // 18:30 in Chicago in summer
	tell("scheduling", events.Event{Type: "care.cairn.scheduling.calendar.changed.v1", Subject: g.GetName(), Revision: 1, Data: &schedulingv1.CalendarChanged{
		Group: g.GetName(), NextSessions: []*timestamppb.Timestamp{timestamppb.New(evening)}, TimeZone: "America/Chicago", Revision: 1,
	}})
	seats(2, 2)
	seats(5, 1) // late
	seats(1, 3)

	deadline, tick := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		got := must[group](t)(s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: g.GetName()})).GetAvailability()
		if got.GetOpenSeats() == 1 && len(got.GetNextSessions()) == 1 {
			if got.GetWaitlistLength() != 3 || got.GetTimeZone() != "America/Chicago" {
				t.Errorf("got %v, want 3 waiting, in Chicago", got)
			}
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("availability is still %v", got)
		}
	}
	s.CatchUp()
	find := func(seats, from int32) int {
		return len(must[*groupsv1.SearchGroupsResponse](t)(s.SearchGroups(s.public, &groupsv1.SearchGroupsRequest{
			MinOpenSeats: seats, Times: []*typev1.TimeOfWeek{{Day: dayofweek.DayOfWeek_TUESDAY, StartMinute: from, EndMinute: from + 60}},
		})).GetResults())
	}
	if find(1, 18*60) != 1 || find(2, 18*60) != 0 || find(1, 19*60) != 0 {
		t.Errorf("search finds %d with one seat, %d with two, %d an hour later; want 1, 0, 0", find(1, 18*60), find(2, 18*60), find(1, 19*60))
	}
	var aside int
	if err := st.DBs["groups"].QueryRow(t.Context(), `SELECT count(*) FROM event_aside`).Scan(&aside); err != nil || aside != 0 {
		t.Errorf("%d events were set aside (%v)", aside, err)
	}
}
