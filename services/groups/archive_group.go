package groups

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// ArchiveGroup ends a group for good. Its sessions and memberships follow by the event.
func (s *server) ArchiveGroup(ctx context.Context, req *groupsv1.ArchiveGroupRequest) (*groupsv1.Group, error) {
	id, err := aip.ParseName("name", "groups", req.GetName())
	if err != nil {
		return nil, err
	}
	return s.change(ctx, id, req.GetEtag(), archive, func(context.Context, pgx.Tx, *groupRow, *groupsv1.Group) (string, error) {
		return "archived", nil
	})
}
