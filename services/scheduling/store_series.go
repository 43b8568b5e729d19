package scheduling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

const seriesColumns = `id, org_id, group_id, title, rrule, further_rrules, rdates, exdates, time_zone, local_start, duration_seconds, format, place,
	topics, facilitators, activity, room_id, seats, online_seats, horizon, last_end, closed, listed, revision, create_time, update_time`

// seriesRow is a row of series.
type seriesRow struct {
	ID              uuid.UUID
	OrgID           uuid.UUID
	GroupID         uuid.UUID
	Title           string
	Rrule           string
	FurtherRrules   []string
	Rdates          []time.Time
	Exdates         []time.Time
	TimeZone        string
	LocalStart      time.Time
	DurationSeconds int32
	Format          int32
	Place           string
	Topics          []string
	Facilitators    []uuid.UUID
	Activity        int32
	RoomID          *uuid.UUID
	Seats           int32
	OnlineSeats     int32
	Horizon         time.Time
	LastEnd         *time.Time
	Closed          bool
	Listed          string // the regular time of the group's listing that it is of; "": made by hand
	Revision        int64
	CreateTime      time.Time
	UpdateTime      time.Time
}

func (r seriesRow) duration() time.Duration { return time.Duration(r.DurationSeconds) * time.Second }

// ended tells whether no session of the series is to come any more.
func (r seriesRow) ended(now time.Time) bool {
	return r.Closed || r.LastEnd != nil && !r.LastEnd.After(now)
}

func (r seriesRow) toProto(now time.Time) *schedulingv1.Series {
	s := &schedulingv1.Series{
		Name:          aip.Name("series", r.ID),
		Group:         aip.Name("groups", r.GroupID),
		Organization:  aip.Name("organizations", r.OrgID),
		Title:         r.Title,
		Rrule:         r.Rrule,
		FurtherRrules: r.FurtherRrules,
		TimeZone:      r.TimeZone,
		LocalStart:    recurrence.FormatLocal(r.LocalStart),
		Duration:      durationpb.New(r.duration()),
		Format:        schedulingv1.Series_Format(r.Format),
		Place:         r.Place,
		Topics:        r.Topics,
		Activity:      groupsv1.Group_Activity(r.Activity),
		Room:          roomName(r.RoomID),
		Seats:         r.Seats,
		OnlineSeats:   r.OnlineSeats,
		State:         schedulingv1.Series_ACTIVE,
		Listed:        r.Listed != "",
		HorizonTime:   timestamppb.New(r.Horizon),
		CreateTime:    timestamppb.New(r.CreateTime),
		UpdateTime:    timestamppb.New(r.UpdateTime),
		Etag:          aip.ETag(r.Revision),
	}
	for _, at := range r.Rdates {
		s.Rdates = append(s.Rdates, recurrence.FormatLocal(at))
	}
	for _, at := range r.Exdates {
		s.Exdates = append(s.Exdates, recurrence.FormatLocal(at))
	}
	for _, id := range r.Facilitators {
		s.Facilitators = append(s.Facilitators, aip.Name("facilitators", id))
	}
	if r.ended(now) {
		s.State = schedulingv1.Series_ENDED
	}
	return s
}

// args are the row's columns as named arguments. Lists are never nil: a nil slice is NULL.
func (r seriesRow) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": r.ID, "org_id": r.OrgID, "group_id": r.GroupID, "title": r.Title, "rrule": r.Rrule, "further_rrules": some(r.FurtherRrules),
		"rdates": some(r.Rdates), "exdates": some(r.Exdates), "time_zone": r.TimeZone, "local_start": r.LocalStart,
		"duration_seconds": r.DurationSeconds, "format": r.Format, "place": r.Place, "topics": some(r.Topics),
		"facilitators": some(r.Facilitators), "activity": r.Activity, "room_id": r.RoomID, "seats": r.Seats, "online_seats": r.OnlineSeats, "horizon": r.Horizon, "last_end": r.LastEnd, "closed": r.Closed, "listed": r.Listed,
		"revision": r.Revision, "create_time": r.CreateTime, "update_time": r.UpdateTime,
	}
}

func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// queueSeries queues the series, or what may change of it.
func queueSeries(b *pgx.Batch, r seriesRow) {
	b.Queue(`
		INSERT INTO series (`+seriesColumns+`)
		VALUES (@id, @org_id, @group_id, @title, @rrule, @further_rrules, @rdates, @exdates, @time_zone, @local_start, @duration_seconds, @format, @place,
			@topics, @facilitators, @activity, @room_id, @seats, @online_seats, @horizon, @last_end, @closed, @listed, @revision, @create_time, @update_time)
		ON CONFLICT (id) DO UPDATE SET
			title = @title, rrule = @rrule, further_rrules = @further_rrules, rdates = @rdates, exdates = @exdates, time_zone = @time_zone, local_start = @local_start,
			duration_seconds = @duration_seconds, format = @format, place = @place, topics = @topics, facilitators = @facilitators,
			activity = @activity, room_id = @room_id, seats = @seats, online_seats = @online_seats,
			horizon = @horizon, last_end = @last_end, closed = @closed, listed = @listed, revision = @revision, update_time = @update_time`, r.args())
}

// oneSeries returns the tenant's series, locked if lock is "FOR UPDATE".
func oneSeries(ctx context.Context, tx pg.Querier, id uuid.UUID, lock string) (seriesRow, error) {
	tenant := auth.TenantFrom(ctx)
	rows, err := tx.Query(ctx, `SELECT `+seriesColumns+` FROM series
		WHERE id = @id AND (@all OR org_id = @org) AND delete_time IS NULL `+lock,
		pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org})
	if err != nil {
		return seriesRow{}, fmt.Errorf("select series: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[seriesRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return seriesRow{}, fault.NotFound(aip.Name("series", id))
	}
	if err != nil {
		return seriesRow{}, fmt.Errorf("select series: %w", err)
	}
	return row, nil
}

// wholeSeries returns the series of a session that the caller may see, also one that is deleted.
func wholeSeries(ctx context.Context, tx pg.Querier, id uuid.UUID) (seriesRow, error) {
	rows, err := tx.Query(ctx, `SELECT `+seriesColumns+` FROM series WHERE id = $1`, id)
	if err != nil {
		return seriesRow{}, fmt.Errorf("select series: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[seriesRow])
	if err != nil {
		return seriesRow{}, fmt.Errorf("select series: %w", err)
	}
	return row, nil
}

// markDeleted marks a series as deleted.
const markDeleted = `UPDATE series SET delete_time = @now, update_time = @now, revision = revision + 1 WHERE id = @id`
