package groups

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// DeleteGroup hides a group from everybody but its owner, who may bring it back.
func (s *server) DeleteGroup(ctx context.Context, req *groupsv1.DeleteGroupRequest) (*groupsv1.Group, error) {
	id, err := aip.ParseName("name", "groups", req.GetName())
	if err != nil {
		return nil, err
	}
	return s.change(ctx, id, req.GetEtag(), remove, func(context.Context, pgx.Tx, *groupRow, *groupsv1.Group) (string, error) {
		return "deleted", nil
	})
}
