package groups

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
)

// GetGroup reads a group in one round trip.
func (s *server) GetGroup(ctx context.Context, req *groupsv1.GetGroupRequest) (*groupsv1.Group, error) {
	id, err := aip.ParseName("name", "groups", req.GetName())
	if err != nil {
		return nil, err
	}
	t := insider(ctx)
	var r groupRow
	b := s.db.Batch(ctx)
	b.Queue(selectGroup, id, t.Org, t.All).QueryRow(r.scan)
	if err := s.db.Send(ctx, b); errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	} else if err != nil {
		return nil, fmt.Errorf("read group: %w", err)
	}
	return r.toProto(s.clock.Now())
}
