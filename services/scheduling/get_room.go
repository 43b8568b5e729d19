package scheduling

import (
	"context"

	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
)

// GetRoom returns one room.
func (s *server) GetRoom(ctx context.Context, req *schedulingv1.GetRoomRequest) (*schedulingv1.Room, error) {
	id, err := aip.ParseName("name", "rooms", req.GetName())
	if err != nil {
		return nil, err
	}
	var row roomRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		row, err = oneRoom(ctx, tx, id, "")
		return err
	}); err != nil {
		return nil, err
	}
	return row.toProto(), nil
}
