package scheduling

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

const roomColumns = `id, org_id, title, place, seats, revision, create_time, update_time`

// roomRow is a row of rooms.
type roomRow struct {
	ID         uuid.UUID
	OrgID      uuid.UUID
	Title      string
	Place      string
	Seats      int32
	Revision   int64
	CreateTime time.Time
	UpdateTime time.Time
}

func (r roomRow) name() string { return aip.Name("rooms", r.ID) }

func (r roomRow) toProto() *schedulingv1.Room {
	return &schedulingv1.Room{
		Name: r.name(), Organization: aip.Name("organizations", r.OrgID), Title: r.Title, Place: r.Place, Seats: r.Seats,
		CreateTime: timestamppb.New(r.CreateTime), UpdateTime: timestamppb.New(r.UpdateTime), Etag: aip.ETag(r.Revision),
	}
}

// oneRoom returns the tenant's room, locked if lock says how.
func oneRoom(ctx context.Context, tx pg.Querier, id uuid.UUID, lock string) (roomRow, error) {
	tenant := auth.TenantFrom(ctx)
	rows, err := tx.Query(ctx, `SELECT `+roomColumns+` FROM rooms WHERE id = @id AND (@all OR org_id = @org) AND delete_time IS NULL `+lock,
		pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org})
	if err != nil {
		return roomRow{}, fmt.Errorf("select room: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[roomRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return roomRow{}, fault.NotFound(aip.Name("rooms", id))
	}
	if err != nil {
		return roomRow{}, fmt.Errorf("select room: %w", err)
	}
	return row, nil
}

// saveRoom inserts the room, or writes what may change of it.
func saveRoom(ctx context.Context, tx pg.Querier, r roomRow) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO rooms (`+roomColumns+`) VALUES (@id, @org, @title, @place, @seats, @revision, @create, @update)
		ON CONFLICT (id) DO UPDATE SET title = @title, place = @place, seats = @seats, revision = @revision, update_time = @update`,
		pgx.NamedArgs{"id": r.ID, "org": r.OrgID, "title": r.Title, "place": r.Place, "seats": r.Seats, "revision": r.Revision,
			"create": r.CreateTime, "update": r.UpdateTime})
	if pg.Constraint(err) == "rooms_title" {
		return fault.AlreadyExists(r.name(), "the organization has a room called %q already", r.Title)
	}
	if err != nil {
		return fmt.Errorf("save room: %w", err)
	}
	return nil
}

// takeRoom keeps a room from being deleted until the transaction ends, and refuses one that is not of the organization. Where
// seats are 0 they become the room's.
func takeRoom(ctx context.Context, tx pg.Querier, field string, id *uuid.UUID, org uuid.UUID, seats *int32) error {
	if id == nil {
		return nil
	}
	var has int32
	err := tx.QueryRow(ctx, `SELECT seats FROM rooms WHERE id = $1 AND org_id = $2 AND delete_time IS NULL FOR SHARE`, *id, org).Scan(&has)
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.Invalid(fault.Field(field, "%s is no room of the group's organization", roomName(id)))
	}
	if err != nil {
		return fmt.Errorf("take room: %w", err)
	}
	if *seats == 0 {
		*seats = has
	}
	return nil
}

// parseRoom reads the name of a room, which may be empty.
func parseRoom(field, name string) (*uuid.UUID, error) {
	if name == "" {
		return nil, nil
	}
	id, err := aip.ParseName(field, "rooms", name)
	if err != nil {
		return nil, err
	}
	return &id, nil
}

// usage is which session has which room when, by column.
type usage struct {
	Session, Room, Org []uuid.UUID
	Start, End         []time.Time
}

// using returns which rooms the sessions that take place have.
func using(rows []sessionRow) (u usage) {
	for _, r := range rows {
		if r.takesPlace() && r.RoomID != nil {
			u.Session, u.Room, u.Org = append(u.Session, r.ID), append(u.Room, *r.RoomID), append(u.Org, r.OrgID)
			u.Start, u.End = append(u.Start, r.StartTime), append(u.End, r.EndTime)
		}
	}
	return u
}

func joinIDs(ids []uuid.UUID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, ",")
}
