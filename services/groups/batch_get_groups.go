package groups

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
)

// BatchGetGroups reads many groups in one round trip, all or none (AIP-231).
func (s *server) BatchGetGroups(ctx context.Context, req *groupsv1.BatchGetGroupsRequest) (*groupsv1.BatchGetGroupsResponse, error) {
	ids := make([]uuid.UUID, len(req.GetNames()))
	for i, name := range req.GetNames() {
		id, err := aip.ParseName(fmt.Sprintf("names[%d]", i), "groups", name)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	t := insider(ctx)
	found := make(map[uuid.UUID]*groupRow, len(ids))
	b := s.db.Batch(ctx)
	b.Queue(`
		SELECT `+groupColumns+`
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON p.group_id = g.id AND (@all OR p.org_id = @org)
		WHERE g.id = ANY(@ids) AND (@all OR g.org_id = @org OR (`+publicGroup+`))`,
		pgx.NamedArgs{"ids": ids, "org": t.Org, "all": t.All}).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			r := &groupRow{}
			if err := r.scan(rows); err != nil {
				return err
			}
			found[r.ID] = r
		}
		return rows.Err()
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	resp, now := &groupsv1.BatchGetGroupsResponse{Groups: make([]*groupsv1.Group, len(ids))}, s.clock.Now()
	for i, id := range ids {
		r, ok := found[id]
		if !ok {
			return nil, fault.NotFound(req.GetNames()[i])
		}
		g, err := r.toProto(now)
		if err != nil {
			return nil, err
		}
		resp.Groups[i] = g
	}
	return resp, nil
}
