package groups

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// GetDuplicate reads a pair with its groups.
func (s *duplicateServer) GetDuplicate(ctx context.Context, req *groupsv1.GetDuplicateRequest) (answer *groupsv1.Duplicate, err error) {
	id, err := aip.ParseName("name", "duplicates", req.GetName())
	if err != nil {
		return nil, err
	}
	t := insider(ctx)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		p, err := selectPair(ctx, tx, t, id, "")
		if err != nil {
			return err
		}
		answer, err = s.toProto(ctx, tx, t, p)
		return err
	})
	return answer, err
}
