package groups

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// PullFeed makes a run that gets its content itself.
func (s *feedServer) PullFeed(ctx context.Context, req *groupsv1.PullFeedRequest) (answer *groupsv1.FeedRun, err error) {
	id, err := aip.ParseName("name", "feeds", req.GetName())
	if err != nil {
		return nil, err
	}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		feed, _, err := s.open(ctx, tx, id, nil, req.GetDryRun())
		if err != nil {
			return err
		}
		f, err := feed.toProto()
		if err != nil {
			return err
		}
		if f.GetSource() != groupsv1.Feed_PULLED {
			return fault.Precondition("FEED_NOT_PULLED", f.GetName(), "the feed has no URL: push its content, or set source and pull")
		}
		run := &runRow{
			ID: aip.NewID(), FeedID: feed.ID, OrgID: feed.OrgID, DryRun: req.GetDryRun(), Source: int32(groupsv1.Feed_PULLED),
			Phase: phaseFetch, CreateTime: s.clock.Now(),
		}
		if err := s.insertRun(ctx, tx, run); err != nil {
			return err
		}
		answer = run.toProto()
		return idem.SaveTx(ctx, tx, answer)
	})
	if err != nil {
		return nil, fmt.Errorf("pull feed: %w", err)
	}
	return answer, nil
}
