package scheduling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

// States of a session, as the column has them.
const (
	scheduled = int32(schedulingv1.Session_SCHEDULED)
	moved     = int32(schedulingv1.Session_MOVED)
	cancelled = int32(schedulingv1.Session_CANCELLED)
	held      = int32(schedulingv1.Session_HELD)
)

// facilitatorConstraint keeps a facilitator from leading two sessions at once.
const facilitatorConstraint = "facilitator_leads_one_session"

// roomConstraint keeps a room from holding two sessions at once.
const roomConstraint = "room_holds_one_session"

const sessionColumns = `s.id, s.org_id, s.series_id, s.group_id, s.original_start, s.state, s.dropped_state, s.start_time, s.end_time, s.time_zone,
	s.format, s.place, s.topic, s.activity, s.guest_speaker, s.seats, s.online_seats, s.overrides, s.substitutes, s.cancel_reason, s.cancel_time,
	s.revision, s.create_time, s.update_time,
	(SELECT r.room_id FROM session_rooms r WHERE r.session_id = s.id) AS room_id,
	ARRAY(SELECT f.facilitator_id FROM session_facilitators f WHERE f.session_id = s.id ORDER BY f.facilitator_id) AS facilitators`

// sessionRow is a row of sessions with its facilitators and its room.
type sessionRow struct {
	ID            uuid.UUID
	OrgID         uuid.UUID
	SeriesID      uuid.UUID
	GroupID       uuid.UUID
	OriginalStart time.Time
	State         int32
	DroppedState  *int32
	StartTime     time.Time
	EndTime       time.Time
	TimeZone      string
	Format        int32
	Place         string
	Topic         string
	Activity      int32
	GuestSpeaker  string
	Seats         int32
	OnlineSeats   int32
	Overrides     []string    // what does not follow the series
	Substitutes   []uuid.UUID // pairs: who leads, and in whose place
	CancelReason  string
	CancelTime    *time.Time
	Revision      int64
	CreateTime    time.Time
	UpdateTime    time.Time
	RoomID        *uuid.UUID
	Facilitators  []uuid.UUID
}

func (r sessionRow) name() string { return aip.Name("sessions", r.ID) }

// begun tells whether the session's start has come.
func (r sessionRow) begun(now time.Time) bool { return !r.StartTime.After(now) }

// takesPlace tells whether the session takes place or took place.
func (r sessionRow) takesPlace() bool { return r.State != cancelled }

func (r sessionRow) toProto() (*schedulingv1.Session, error) {
	zone, err := recurrence.Zone(r.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	s := &schedulingv1.Session{
		Name:               r.name(),
		Series:             aip.Name("series", r.SeriesID),
		Group:              aip.Name("groups", r.GroupID),
		Organization:       aip.Name("organizations", r.OrgID),
		State:              schedulingv1.Session_State(r.State),
		StartTime:          timestamppb.New(r.StartTime),
		EndTime:            timestamppb.New(r.EndTime),
		LocalStart:         recurrence.FormatLocal(recurrence.WallClock(r.StartTime, zone)),
		TimeZone:           r.TimeZone,
		OriginalLocalStart: recurrence.FormatLocal(r.OriginalStart),
		Format:             schedulingv1.Series_Format(r.Format),
		Place:              r.Place,
		Topic:              r.Topic,
		Activity:           groupsv1.Group_Activity(r.Activity),
		GuestSpeaker:       r.GuestSpeaker,
		Room:               roomName(r.RoomID),
		Seats:              r.Seats,
		OnlineSeats:        r.OnlineSeats,
		CancelReason:       r.CancelReason,
		CreateTime:         timestamppb.New(r.CreateTime),
		UpdateTime:         timestamppb.New(r.UpdateTime),
		Etag:               aip.ETag(r.Revision),
	}
	for _, id := range r.Facilitators {
		s.Facilitators = append(s.Facilitators, aip.Name("facilitators", id))
	}
	if len(r.Overrides) > 0 {
		s.Overrides = &fieldmaskpb.FieldMask{Paths: r.Overrides}
	}
	for pair := range slices.Chunk(r.Substitutes, 2) {
		s.Substitutions = append(s.Substitutions, &schedulingv1.Session_Substitution{
			Facilitator: aip.Name("facilitators", pair[0]), StandsInFor: aip.Name("facilitators", pair[1]),
		})
	}
	if r.CancelTime != nil {
		s.CancelTime = timestamppb.New(*r.CancelTime)
	}
	return s, nil
}

// oneSession returns the tenant's session, locked if lock is "FOR UPDATE OF s", if it is one that the caller may see.
func oneSession(ctx context.Context, tx pg.Querier, id uuid.UUID, lock string) (sessionRow, error) {
	tenant := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	rows, err := tx.Query(ctx, `SELECT `+sessionColumns+` FROM sessions s WHERE s.id = @id AND (@all OR s.org_id = @org) AND `+theirOwn(ctx, args)+` `+lock, args)
	if err != nil {
		return sessionRow{}, fmt.Errorf("select session: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[sessionRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return sessionRow{}, fault.NotFound(aip.Name("sessions", id))
	}
	if err != nil {
		return sessionRow{}, fmt.Errorf("select session: %w", err)
	}
	return row, nil
}

// sessionsOf returns the sessions of series that are not new which start, or would by their rules, from two days ago on: today's
// may have begun, wherever it is today.
func sessionsOf(ctx context.Context, tx pg.Querier, edits []edit, now time.Time) (map[uuid.UUID][]sessionRow, error) {
	var ids []uuid.UUID
	for _, e := range edits {
		if !e.fresh {
			ids = append(ids, e.series.ID)
		}
	}
	if ids == nil {
		return nil, nil
	}
	since := now.Add(-2 * grace)
	rows, err := tx.Query(ctx, `SELECT `+sessionColumns+` FROM sessions s
		WHERE s.series_id = ANY(@series) AND (s.start_time >= @since OR s.original_start >= @local)
		ORDER BY s.series_id, s.original_start`,
		pgx.NamedArgs{"series": ids, "since": since, "local": since.UTC()})
	if err != nil {
		return nil, fmt.Errorf("select sessions: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[sessionRow])
	if err != nil {
		return nil, fmt.Errorf("select sessions: %w", err)
	}
	have := map[uuid.UUID][]sessionRow{}
	for _, r := range all {
		have[r.SeriesID] = append(have[r.SeriesID], r)
	}
	return have, nil
}

// saveSessions inserts sessions, or writes what may change of them, who leads them and which room they have.
// strict refuses a facilitator who would lead two at once, and a room that would hold two; else they are left out.
func saveSessions(ctx context.Context, tx pg.Querier, rows []sessionRow, strict bool) error {
	if len(rows) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	ids, args := columnsOf(rows)
	b.Queue(`
		INSERT INTO sessions (id, org_id, series_id, group_id, original_start, state, dropped_state, start_time, end_time, time_zone,
			format, place, topic, activity, guest_speaker, seats, online_seats, overrides, substitutes, cancel_reason, cancel_time,
			revision, create_time, update_time)
		SELECT id, org_id, series_id, group_id, original_start, state, dropped_state, start_time, end_time, time_zone,
			format, place, topic, activity, guest_speaker, seats, online_seats, string_to_array(overrides, ','),
			string_to_array(substitutes, ',')::uuid[], cancel_reason, cancel_time, revision, create_time, update_time FROM unnest(@id::uuid[], @org_id::uuid[], @series_id::uuid[], @group_id::uuid[], @original_start::timestamp[], @state::int[],
			@dropped_state::int[], @start_time::timestamptz[], @end_time::timestamptz[], @time_zone::text[], @format::int[], @place::text[],
			@topic::text[], @activity::int[], @guest_speaker::text[], @seats::int[], @online_seats::int[], @overrides::text[], @substitutes::text[],
			@cancel_reason::text[], @cancel_time::timestamptz[], @revision::bigint[], @create_time::timestamptz[], @update_time::timestamptz[])
			AS r (id, org_id, series_id, group_id, original_start, state, dropped_state, start_time, end_time, time_zone, format, place, topic,
				activity, guest_speaker, seats, online_seats, overrides, substitutes, cancel_reason, cancel_time, revision, create_time, update_time)
		ON CONFLICT (id) DO UPDATE SET
			original_start = excluded.original_start, state = excluded.state, dropped_state = excluded.dropped_state,
			start_time = excluded.start_time, end_time = excluded.end_time, time_zone = excluded.time_zone, format = excluded.format,
			place = excluded.place, topic = excluded.topic, activity = excluded.activity, guest_speaker = excluded.guest_speaker,
			seats = excluded.seats, online_seats = excluded.online_seats, overrides = excluded.overrides, substitutes = excluded.substitutes,
			cancel_reason = excluded.cancel_reason, cancel_time = excluded.cancel_time, revision = excluded.revision,
			update_time = excluded.update_time`, args)
	b.Queue(`DELETE FROM session_facilitators WHERE session_id = ANY($1)`, ids)
	b.Queue(`DELETE FROM session_rooms WHERE session_id = ANY($1)`, ids)
	lead, rooms := leading(rows), using(rows)
	if taken := slices.Concat(lead.Facilitator, rooms.Room); len(taken) > 0 {
		// One writer at a time per facilitator and room: two would wait for each other in the index.
		b.Queue(`SELECT pg_advisory_xact_lock(hashtextextended(id::text, 0)) FROM (SELECT DISTINCT unnest($1::uuid[]) AS id ORDER BY 1) AS f`, taken)
	}
	if len(rooms.Room) > 0 {
		insert := `INSERT INTO session_rooms (session_id, room_id, org_id, span)
			SELECT w.session, w.room, w.org, tstzrange(w.start, w.stop)
			FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[]) AS w (session, room, org, start, stop)`
		if !strict {
			insert += ` ON CONFLICT DO NOTHING`
		}
		b.Queue(insert, rooms.Session, rooms.Room, rooms.Org, rooms.Start, rooms.End)
	}
	if len(lead.Session) > 0 {
		insert := `INSERT INTO session_facilitators (session_id, facilitator_id, org_id, span)
			SELECT w.session, w.facilitator, w.org, tstzrange(w.start, w.stop)
			FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[]) AS w (session, facilitator, org, start, stop)`
		if !strict {
			insert += ` ON CONFLICT DO NOTHING`
		}
		b.Queue(insert, lead.Session, lead.Facilitator, lead.Org, lead.Start, lead.End)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("save sessions: %w", err)
	}
	return nil
}

func columnsOf(rows []sessionRow) ([]uuid.UUID, pgx.NamedArgs) {
	n := len(rows)
	var (
		ids, orgs, series, groups        = make([]uuid.UUID, n), make([]uuid.UUID, n), make([]uuid.UUID, n), make([]uuid.UUID, n)
		originals, starts, ends          = make([]time.Time, n), make([]time.Time, n), make([]time.Time, n)
		creates, updates                 = make([]time.Time, n), make([]time.Time, n)
		states, formats, dropped         = make([]int32, n), make([]int32, n), make([]*int32, n)
		zones, places, topics, cancelled = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		revisions                        = make([]int64, n)
		activities, seats, online        = make([]int32, n), make([]int32, n), make([]int32, n)
		speakers, overrides, substitutes = make([]string, n), make([]string, n), make([]string, n)
		cancels                          = make([]*time.Time, n)
	)
	for i, r := range rows {
		ids[i], orgs[i], series[i], groups[i] = r.ID, r.OrgID, r.SeriesID, r.GroupID
		originals[i], starts[i], ends[i], creates[i], updates[i] = r.OriginalStart, r.StartTime, r.EndTime, r.CreateTime, r.UpdateTime
		states[i], formats[i], dropped[i], revisions[i] = r.State, r.Format, r.DroppedState, r.Revision
		zones[i], places[i], topics[i], cancelled[i] = r.TimeZone, r.Place, r.Topic, r.CancelReason
		activities[i], speakers[i], seats[i], online[i], cancels[i] = r.Activity, r.GuestSpeaker, r.Seats, r.OnlineSeats, r.CancelTime
		overrides[i], substitutes[i] = strings.Join(r.Overrides, ","), joinIDs(r.Substitutes)
	}
	return ids, pgx.NamedArgs{
		"id": ids, "org_id": orgs, "series_id": series, "group_id": groups, "original_start": originals, "state": states,
		"dropped_state": dropped, "start_time": starts, "end_time": ends, "time_zone": zones, "format": formats, "place": places,
		"topic": topics, "activity": activities, "guest_speaker": speakers, "seats": seats, "online_seats": online,
		"overrides": overrides, "substitutes": substitutes, "cancel_reason": cancelled, "cancel_time": cancels,
		"revision": revisions, "create_time": creates, "update_time": updates,
	}
}

// leadership is who leads which session when, by column.
type leadership struct {
	Session, Facilitator, Org []uuid.UUID
	Start, End                []time.Time
}

// leading returns who leads the sessions that take place.
func leading(rows []sessionRow) (l leadership) {
	for _, r := range rows {
		if !r.takesPlace() {
			continue
		}
		for _, id := range r.Facilitators {
			l.Session, l.Facilitator, l.Org = append(l.Session, r.ID), append(l.Facilitator, id), append(l.Org, r.OrgID)
			l.Start, l.End = append(l.Start, r.StartTime), append(l.End, r.EndTime)
		}
	}
	return l
}

// sessionAt returns another session of the group that takes place at that time, nil if
// there is none.
func sessionAt(ctx context.Context, tx pg.Querier, group, but uuid.UUID, start, end time.Time) (*sessionRow, error) {
	rows, err := tx.Query(ctx, `SELECT `+sessionColumns+` FROM sessions s
		WHERE s.group_id = @group AND s.id <> @but AND s.state <> 3 AND s.start_time < @end AND s.end_time > @start
			AND s.start_time > @start - interval '24 hours'
		ORDER BY s.start_time LIMIT 1`, pgx.NamedArgs{"group": group, "but": but, "start": start, "end": end})
	if err != nil {
		return nil, fmt.Errorf("find session at that time: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[sessionRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return row, err
}
