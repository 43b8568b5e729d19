package groups

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// GetFeedRun reads a run.
func (s *feedServer) GetFeedRun(ctx context.Context, req *groupsv1.GetFeedRunRequest) (*groupsv1.FeedRun, error) {
	id, err := aip.ParseName("name", "feedRuns", req.GetName())
	if err != nil {
		return nil, err
	}
	var r *runRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		r, err = selectRun(ctx, tx, id, "")
		return err
	}); err != nil {
		return nil, err
	}
	return r.toProto(), nil
}
