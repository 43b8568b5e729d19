package scheduling

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/page"
)

// slotPage is how many slots a page has when the caller does not say.
const slotPage = 50

// slotRow is a session with what who publishes it needs beside.
type slotRow struct {
	sessionRow
	GroupFormat int32
	Changed     time.Time
}

// slotsOf are the rows of slots: a session changes also when somebody's answer to it does.
const slotsOf = `
	SELECT ` + sessionColumns + `, coalesce((SELECT c.format FROM calendars c WHERE c.group_id = s.group_id), 0) AS group_format, a.changed
	FROM sessions s CROSS JOIN LATERAL (
		SELECT greatest(s.update_time, (SELECT max(r.update_time) FROM rsvps r WHERE r.session_id = s.id)) AS changed) AS a`

// ListSlots lists sessions, soonest start first. Whether the caller's caller may see their groups is for the caller to find out.
func (s *server) ListSlots(ctx context.Context, req *schedulingv1.ListSlotsRequest) (*schedulingv1.ListSlotsResponse, error) {
	size := int(req.GetPageSize())
	if size == 0 {
		size = slotPage
	}
	query := []any{"ListSlots", req.GetGroups(), req.GetSessions(), instant(req.GetStartFrom()), instant(req.GetStartBefore()),
		instant(req.GetUpdatedFrom()), instant(req.GetUpdatedBefore())}
	after, _, err := page.Decode[sessionCursor](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	args := pgx.NamedArgs{
		"from": instant(req.GetStartFrom()), "before": instant(req.GetStartBefore()), "limit": size + 1,
		"updated_from": instant(req.GetUpdatedFrom()), "updated_before": instant(req.GetUpdatedBefore()),
	}
	where := `(@from::timestamptz IS NULL OR s.start_time >= @from) AND (@before::timestamptz IS NULL OR s.start_time < @before)
		AND (@updated_from::timestamptz IS NULL OR a.changed >= @updated_from) AND (@updated_before::timestamptz IS NULL OR a.changed < @updated_before)`
	for column, of := range map[string]struct {
		collection string
		names      []string
	}{"group_id": {"groups", req.GetGroups()}, "id": {"sessions", req.GetSessions()}} {
		if len(of.names) == 0 {
			continue
		}
		ids := make([]uuid.UUID, len(of.names))
		for i, name := range of.names {
			if ids[i], err = aip.ParseName(fmt.Sprintf("%s[%d]", of.collection, i), of.collection, name); err != nil {
				return nil, err
			}
		}
		args[of.collection] = ids
		where += ` AND s.` + column + ` = ANY(@` + of.collection + `)`
	}
	if req.GetPageToken() != "" {
		where += ` AND (s.start_time, s.id) > (@after, @after_id)`
		args["after"], args["after_id"] = after.Start, after.ID
	}
	var found []slotRow
	var places map[uuid.UUID]*schedulingv1.Session_Places
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, slotsOf+` WHERE `+where+` ORDER BY s.start_time, s.id LIMIT @limit`, args)
		if err != nil {
			return fmt.Errorf("list slots: %w", err)
		}
		if found, err = pgx.CollectRows(rows, pgx.RowToStructByName[slotRow]); err != nil {
			return fmt.Errorf("list slots: %w", err)
		}
		ids := make([]uuid.UUID, len(found))
		for i, r := range found {
			ids[i] = r.ID
		}
		places, err = placesOf(ctx, tx, ids...)
		return err
	}); err != nil {
		return nil, err
	}
	found, next, err := page.Cut(found, size, func(r slotRow) sessionCursor { return sessionCursor{r.StartTime, r.ID} }, query...)
	if err != nil {
		return nil, err
	}
	resp := &schedulingv1.ListSlotsResponse{NextPageToken: next}
	for _, r := range found {
		if r.Format == 0 {
			r.Format = r.GroupFormat
		}
		session, err := r.toProto()
		if err != nil {
			return nil, err
		}
		session.Places = places[r.ID]
		resp.Slots = append(resp.Slots, &schedulingv1.Slot{Session: session, UpdateTime: timestamppb.New(r.Changed)})
	}
	return resp, nil
}

// instant is the time that a caller names, nil if none.
func instant(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.AsTime())
}
