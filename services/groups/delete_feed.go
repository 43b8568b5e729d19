package groups

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/emptypb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/idem"
)

// DeleteFeed deletes a feed, its runs, and what it told. The groups stay.
func (s *feedServer) DeleteFeed(ctx context.Context, req *groupsv1.DeleteFeedRequest) (*emptypb.Empty, error) {
	id, err := aip.ParseName("name", "feeds", req.GetName())
	if err != nil {
		return nil, err
	}
	answer := &emptypb.Empty{}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := selectFeed(ctx, tx, id, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetEtag(), r.Revision); err != nil {
			return err
		}
		args := pgx.NamedArgs{"id": r.ID, "org": r.OrgID}
		var going bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM feed_runs WHERE feed_id = @id AND org_id = @org AND state IN (1, 2))`, args).Scan(&going); err != nil {
			return err
		}
		if going {
			return busy(req.GetName())
		}
		b := new(pgx.Batch)
		b.Queue(`DELETE FROM feed_rejected WHERE org_id = @org AND run_id IN (SELECT id FROM feed_runs WHERE feed_id = @id AND org_id = @org)`, args)
		b.Queue(`DELETE FROM feed_chunks WHERE org_id = @org AND run_id IN (SELECT id FROM feed_runs WHERE feed_id = @id AND org_id = @org)`, args)
		b.Queue(`DELETE FROM feed_runs WHERE feed_id = @id AND org_id = @org`, args)
		b.Queue(`DELETE FROM feed_items WHERE feed_id = @id AND org_id = @org`, args)
		b.Queue(`DELETE FROM feeds WHERE id = @id AND org_id = @org`, args)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, answer)
	})
	if err != nil {
		return nil, fmt.Errorf("delete feed: %w", err)
	}
	return answer, nil
}
