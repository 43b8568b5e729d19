package groups

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// GetFeed reads a feed.
func (s *feedServer) GetFeed(ctx context.Context, req *groupsv1.GetFeedRequest) (f *groupsv1.Feed, err error) {
	id, err := aip.ParseName("name", "feeds", req.GetName())
	if err != nil {
		return nil, err
	}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := selectFeed(ctx, tx, id, "")
		if err != nil {
			return err
		}
		f, err = r.toProto()
		return err
	})
	return f, err
}
