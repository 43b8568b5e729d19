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

const byOwner = "cancelled on request"

// CancelFeedRun cancels a run that nobody works on at once, be it held or waiting for its turn or its next attempt, and has the worker
// of one that goes on stop after its batch.
func (s *feedServer) CancelFeedRun(ctx context.Context, req *groupsv1.CancelFeedRunRequest) (answer *groupsv1.FeedRun, err error) {
	id, err := aip.ParseName("name", "feedRuns", req.GetName())
	if err != nil {
		return nil, err
	}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := selectRun(ctx, tx, id, "FOR UPDATE")
		if err != nil {
			return err
		}
		if r.ended() {
			return fault.Precondition("FEED_RUN_ENDED", req.GetName(), "the run has ended: it is %s", groupsv1.FeedRun_State(r.State))
		}
		var worked bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM river_job WHERE kind = $1 AND state = 'running' AND args ->> 'run' = $2)`,
			runArgs{}.Kind(), r.ID.String()).Scan(&worked); err != nil {
			return err
		}
		switch {
		case worked && r.State == int32(groupsv1.FeedRun_RUNNING):
			r.Cancelled = true
			_, err = tx.Exec(ctx, `UPDATE feed_runs SET cancelled = true WHERE id = @id AND org_id = @org`, pgx.NamedArgs{"id": r.ID, "org": r.OrgID})
		default:
			err = s.end(ctx, tx, r, groupsv1.FeedRun_CANCELLED, byOwner)
		}
		if err != nil {
			return err
		}
		answer = r.toProto()
		return idem.SaveTx(ctx, tx, answer)
	})
	if err != nil {
		return nil, fmt.Errorf("cancel run: %w", err)
	}
	return answer, nil
}
