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

// GetResource reads a resource.
func (s *server) GetResource(ctx context.Context, req *groupsv1.GetResourceRequest) (*groupsv1.Resource, error) {
	id, err := aip.ParseName("name", "resources", req.GetName())
	if err != nil {
		return nil, err
	}
	t := insider(ctx)
	var r resourceRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+resourceColumns+` FROM resources r WHERE r.id = @id AND `+visibleResource,
		pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All}).QueryRow(r.scan)
	if err := s.db.Send(ctx, b); errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	} else if err != nil {
		return nil, fmt.Errorf("read resource: %w", err)
	}
	return r.toProto()
}
