package groups

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// UndeleteGroup brings a deleted group back; a published one comes back paused.
func (s *server) UndeleteGroup(ctx context.Context, req *groupsv1.UndeleteGroupRequest) (*groupsv1.Group, error) {
	id, err := aip.ParseName("name", "groups", req.GetName())
	if err != nil {
		return nil, err
	}
	return s.change(ctx, id, req.GetEtag(), undelete, func(_ context.Context, _ pgx.Tx, r *groupRow, _ *groupsv1.Group) (string, error) {
		if r.State == int32(groupsv1.Group_PUBLISHED) {
			r.PauseReason = int32(groupsv1.Group_PAUSED_BY_OWNER)
		}
		return "undeleted", nil
	})
}
