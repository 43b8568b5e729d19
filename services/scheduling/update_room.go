package scheduling

import (
	"context"
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/contract"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// UpdateRoom changes a room.
func (s *server) UpdateRoom(ctx context.Context, req *schedulingv1.UpdateRoomRequest) (*schedulingv1.Room, error) {
	if req.GetRoom() == nil {
		return nil, fault.Invalid(fault.Field("room", "is required"))
	}
	id, err := aip.ParseName("room.name", "rooms", req.GetRoom().GetName())
	if err != nil {
		return nil, err
	}
	var room *schedulingv1.Room
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := oneRoom(ctx, tx, id, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetRoom().GetEtag(), row.Revision); err != nil {
			return err
		}
		merged := row.toProto()
		if _, err := aip.Masked(req.GetUpdateMask(), merged, req.GetRoom(), "title", "place", "seats"); err != nil {
			return err
		}
		if err := s.validate("room", merged); err != nil {
			return err
		}
		row.Title, row.Place, row.Seats = merged.GetTitle(), merged.GetPlace(), merged.GetSeats()
		row.Revision, row.UpdateTime = row.Revision+1, s.clock.Now()
		if err := saveRoom(ctx, tx, row); err != nil {
			return err
		}
		room = row.toProto()
		return idem.SaveTx(ctx, tx, room)
	})
	if err != nil {
		return nil, err
	}
	return room, nil
}

// validate checks what comes out of an update of the field.
func (s *server) validate(field string, merged proto.Message) error {
	err := s.validator.Validate(merged)
	if e, ok := errors.AsType[*protovalidate.ValidationError](err); ok {
		return fault.Invalid(contract.Violations(field+".", merged, e)...)
	}
	if err != nil {
		return fmt.Errorf("validate %s: %w", field, err)
	}
	return nil
}
