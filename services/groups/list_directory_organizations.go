package groups

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// ListDirectoryOrganizations lists who has public groups.
func (s *server) ListDirectoryOrganizations(ctx context.Context, req *groupsv1.ListDirectoryOrganizationsRequest) (*groupsv1.ListDirectoryOrganizationsResponse, error) {
	last, _, err := page.Decode[uuid.UUID](req.GetPageToken(), "ListDirectoryOrganizations")
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = directoryPage
	}
	var list []uuid.UUID
	b := s.db.Batch(auth.WithTenant(ctx, auth.Tenant{}))
	b.Queue(selectOwners, pgx.NamedArgs{"last": last, "limit": size + 1}).Query(func(rows pgx.Rows) (err error) {
		list, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list organizations of the directory: %w", err)
	}
	list, next, err := page.Cut(list, size, func(id uuid.UUID) uuid.UUID { return id }, "ListDirectoryOrganizations")
	if err != nil {
		return nil, err
	}
	resp := &groupsv1.ListDirectoryOrganizationsResponse{NextPageToken: next}
	for _, id := range list {
		resp.Organizations = append(resp.Organizations, aip.Name("organizations", id))
	}
	return resp, nil
}

// selectOwners goes from owner to owner in the index, past their groups.
const selectOwners = `
WITH RECURSIVE owner AS (
	(SELECT g.org_id FROM groups g WHERE ` + publicGroup + ` AND g.org_id > @last ORDER BY g.org_id LIMIT 1)
	UNION ALL
	SELECT (SELECT g.org_id FROM groups g WHERE ` + publicGroup + ` AND g.org_id > owner.org_id ORDER BY g.org_id LIMIT 1)
	FROM owner WHERE owner.org_id IS NOT NULL
)
SELECT org_id FROM owner WHERE org_id IS NOT NULL LIMIT @limit`
