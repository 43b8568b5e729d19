package groups

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// PauseGroup stops a published group from taking new people.
func (s *server) PauseGroup(ctx context.Context, req *groupsv1.PauseGroupRequest) (*groupsv1.Group, error) {
	id, err := aip.ParseName("name", "groups", req.GetName())
	if err != nil {
		return nil, err
	}
	return s.change(ctx, id, req.GetEtag(), pause, func(_ context.Context, _ pgx.Tx, r *groupRow, _ *groupsv1.Group) (string, error) {
		r.PauseReason = int32(groupsv1.Group_PAUSED_BY_OWNER)
		return "paused", nil
	})
}
