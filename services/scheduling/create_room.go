package scheduling

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CreateRoom makes a room known.
func (s *server) CreateRoom(ctx context.Context, req *schedulingv1.CreateRoomRequest) (*schedulingv1.Room, error) {
	org, err := ownerOf(ctx, req.GetRoom().GetOrganization())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	row := roomRow{ID: aip.NewID(), OrgID: org, Title: req.GetRoom().GetTitle(), Place: req.GetRoom().GetPlace(), Seats: req.GetRoom().GetSeats(),
		Revision: 1, CreateTime: now, UpdateTime: now}
	room := row.toProto()
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		if err := saveRoom(ctx, tx, row); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, room)
	}); err != nil {
		return nil, err
	}
	return room, nil
}

// ownerOf returns the organization that a new room is of.
func ownerOf(ctx context.Context, name string) (uuid.UUID, error) {
	tenant := auth.TenantFrom(ctx)
	if name == "" {
		if tenant.All {
			return uuid.Nil, fault.Invalid(fault.Field("room.organization", "is required: you act for several organizations"))
		}
		return tenant.Org, nil
	}
	org, err := aip.ParseName("room.organization", "organizations", name)
	if err != nil {
		return uuid.Nil, err
	}
	if !tenant.All && org != tenant.Org {
		return uuid.Nil, fault.NotFound(name)
	}
	return org, nil
}
