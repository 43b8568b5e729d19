package scheduling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/emptypb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// DeleteRoom deletes a room that is no longer used.
func (s *server) DeleteRoom(ctx context.Context, req *schedulingv1.DeleteRoomRequest) (*emptypb.Empty, error) {
	id, err := aip.ParseName("name", "rooms", req.GetName())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := oneRoom(ctx, tx, id, "FOR UPDATE") // who takes a room for a session has it locked
		if err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetEtag(), row.Revision); err != nil {
			return err
		}
		if err := unused(ctx, tx, row, now); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE rooms SET delete_time = $2, update_time = $2, revision = revision + 1 WHERE id = $1`, id, now); err != nil {
			return fmt.Errorf("delete room: %w", err)
		}
		return idem.SaveTx(ctx, tx, &emptypb.Empty{})
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// unused refuses to delete a room that a series or a coming session has.
func unused(ctx context.Context, tx pgx.Tx, r roomRow, now time.Time) error {
	var collection string
	var id uuid.UUID
	err := tx.QueryRow(ctx, `
		(SELECT 'series', id FROM series
		WHERE org_id = @org AND room_id = @room AND delete_time IS NULL AND NOT closed AND (last_end IS NULL OR last_end > @now) LIMIT 1)
		UNION ALL
		(SELECT 'sessions', session_id FROM session_rooms WHERE room_id = @room AND upper(span) > @now LIMIT 1)
		LIMIT 1`, pgx.NamedArgs{"org": r.OrgID, "room": r.ID, "now": now}).Scan(&collection, &id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look who uses the room: %w", err)
	}
	return fault.Precondition("ROOM_IN_USE", r.name(), "%s has the room; give it another one first", aip.Name(collection, id))
}
