package groups

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/recurrence"
)

// fromMembership keeps the seats of each group.
func (s *server) fromMembership() events.Subscription {
	return events.Subscription{Name: "groups-membership", Source: "membership", Handlers: map[string]events.Handler{
		"care.cairn.membership.seats.changed.v1": func(_ context.Context, e *events.Received) (events.Write, error) {
			var m membershipv1.SeatsChanged
			if err := e.Decode(&m); err != nil {
				return nil, events.Poison(err)
			}
			id, err := aip.ParseName("group", "groups", m.GetGroup())
			if err != nil {
				return nil, events.Poison(err)
			}
			return func(ctx context.Context, tx pgx.Tx) error { return saveSeats(ctx, tx, id, &m) }, nil
		},
	}}
}

// fromScheduling keeps the next sessions of each group.
func (s *server) fromScheduling() events.Subscription {
	return events.Subscription{Name: "groups-scheduling", Source: "scheduling", Handlers: map[string]events.Handler{
		"care.cairn.scheduling.calendar.changed.v1": func(_ context.Context, e *events.Received) (events.Write, error) {
			var m schedulingv1.CalendarChanged
			if err := e.Decode(&m); err != nil {
				return nil, events.Poison(err)
			}
			id, err := aip.ParseName("group", "groups", m.GetGroup())
			if err != nil {
				return nil, events.Poison(err)
			}
			starts, minutes, err := weekly(&m)
			if err != nil {
				return nil, events.Poison(err)
			}
			planned, err := plannedTimes(&m)
			if err != nil {
				return nil, events.Poison(err)
			}
			return func(ctx context.Context, tx pgx.Tx) error {
				return saveCalendar(ctx, tx, id, &m, starts, minutes, planned)
			}, nil
		},
	}}
}

// weekly returns the sessions' starts, soonest first, and the minute of the week at which each is on the wall clock.
func weekly(m *schedulingv1.CalendarChanged) ([]time.Time, []int16, error) {
	if len(m.GetNextSessions()) == 0 {
		return []time.Time{}, []int16{}, nil
	}
	if !validZone(m.GetTimeZone()) {
		return nil, nil, fmt.Errorf("calendar of %s is in the unknown zone %q", m.GetGroup(), m.GetTimeZone())
	}
	zone, err := time.LoadLocation(m.GetTimeZone())
	if err != nil {
		return nil, nil, err
	}
	starts := make([]time.Time, len(m.GetNextSessions()))
	for i, t := range m.GetNextSessions() {
		starts[i] = t.AsTime()
	}
	slices.SortFunc(starts, time.Time.Compare)
	minutes := make([]int16, len(starts))
	for i, t := range starts {
		minutes[i] = minuteOfWeek(t.In(zone))
	}
	return starts, minutes, nil
}

// plannedTimes returns the series planned by hand as the group shows them, encoded; nil if there are none.
func plannedTimes(m *schedulingv1.CalendarChanged) ([]byte, error) {
	a := &groupsv1.Group_Availability{}
	for _, p := range m.GetPlannedSeries() {
		start, err := recurrence.Local(p.GetLocalStart())
		if err != nil {
			return nil, err
		}
		a.PlannedTimes = append(a.PlannedTimes, &groupsv1.Group_RegularTime{
			Rrule: cmp.Or(p.GetRrule(), "FREQ=DAILY;COUNT=1"), StartTime: start.Format("15:04"), Duration: p.GetDuration(), TimeZone: p.GetTimeZone(),
			StartDate: &date.Date{Year: int32(start.Year()), Month: int32(start.Month()), Day: int32(start.Day())},
		})
	}
	if a.PlannedTimes == nil {
		return nil, nil
	}
	return proto.Marshal(a)
}

// minuteOfWeek counts from Monday 00:00 on the time's own wall clock.
func minuteOfWeek(t time.Time) int16 {
	day := (int(t.Weekday()) + 6) % 7
	return int16(day*minutesOfDay + t.Hour()*60 + t.Minute())
}

// saveSeats keeps what membership tells of a group's seats, unless something newer is known.
func saveSeats(ctx context.Context, tx pgx.Tx, id uuid.UUID, m *membershipv1.SeatsChanged) error {
	var open *int32
	if m.GetSeats() > 0 {
		open = new(m.GetOpenSeats())
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO availability (group_id, open_seats, taken, waitlist_length, seats_revision)
		VALUES (@id, @open, @taken, @waitlist, @revision)
		ON CONFLICT (group_id) DO UPDATE SET open_seats = excluded.open_seats, taken = excluded.taken, waitlist_length = excluded.waitlist_length, seats_revision = excluded.seats_revision
		WHERE availability.seats_revision < excluded.seats_revision`,
		pgx.NamedArgs{"id": id, "open": open, "taken": m.GetTaken(), "waitlist": m.GetWaitlistLength(), "revision": m.GetRevision()})
	if err != nil {
		return fmt.Errorf("save seats of group: %w", err)
	}
	return nil
}

// saveCalendar keeps what scheduling tells of a group's sessions, unless something newer is known.
func saveCalendar(ctx context.Context, tx pgx.Tx, id uuid.UUID, m *schedulingv1.CalendarChanged, starts []time.Time, minutes []int16, planned []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO availability (group_id, next_sessions, session_minutes, time_zone, planned, calendar_revision)
		VALUES (@id, @starts, @minutes, @zone, @planned, @revision)
		ON CONFLICT (group_id) DO UPDATE SET next_sessions = excluded.next_sessions, session_minutes = excluded.session_minutes,
			time_zone = excluded.time_zone, planned = excluded.planned, calendar_revision = excluded.calendar_revision
		WHERE availability.calendar_revision < excluded.calendar_revision`,
		pgx.NamedArgs{"id": id, "starts": starts, "minutes": minutes, "zone": m.GetTimeZone(), "planned": planned, "revision": m.GetRevision()})
	if err != nil {
		return fmt.Errorf("save calendar of group: %w", err)
	}
	return nil
}
