package groups

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/idem"
)

// UpdateFeed changes a feed. A run that goes on keeps to what the feed said when the run began its present step.
func (s *feedServer) UpdateFeed(ctx context.Context, req *groupsv1.UpdateFeedRequest) (answer *groupsv1.Feed, err error) {
	id, err := aip.ParseName("feed.name", "feeds", req.GetFeed().GetName())
	if err != nil {
		return nil, err
	}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := selectFeed(ctx, tx, id, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetFeed().GetEtag(), r.Revision); err != nil {
			return err
		}
		before, err := r.toProto()
		if err != nil {
			return err
		}
		f := proto.CloneOf(before)
		if _, err := aip.Masked(req.GetUpdateMask(), f, proto.CloneOf(req.GetFeed()), mutableFeed()...); err != nil {
			return err
		}
		if err := s.checkFeed(f); err != nil {
			return err
		}
		answer = before
		if proto.Equal(before, f) {
			return idem.SaveTx(ctx, tx, answer)
		}
		now := s.clock.Now()
		r.Revision, r.UpdateTime = r.Revision+1, now
		switch pulled := f.GetSource() == groupsv1.Feed_PULLED && !f.GetPaused(); {
		case !pulled:
			r.NextPullTime = nil
		case r.NextPullTime == nil || f.GetPull().GetUri() != before.GetPull().GetUri():
			r.NextPullTime = &now
		case !proto.Equal(f.GetPull(), before.GetPull()):
			if next := now.Add(f.GetPull().GetInterval().AsDuration()); next.Before(*r.NextPullTime) {
				r.NextPullTime = &next
			}
		}
		b := new(pgx.Batch)
		if err := queueWriteFeed(b, r, f); err != nil {
			return err
		}
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return feedError(err, f)
		}
		if answer, err = r.toProto(); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, answer)
	})
	if err != nil {
		return nil, fmt.Errorf("update feed: %w", err)
	}
	return answer, nil
}
