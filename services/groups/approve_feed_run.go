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

// ApproveFeedRun has a held run begin anew with its content, since groups may have changed meanwhile, and lets it remove what it may
// remove then.
func (s *feedServer) ApproveFeedRun(ctx context.Context, req *groupsv1.ApproveFeedRunRequest) (answer *groupsv1.FeedRun, err error) {
	id, err := aip.ParseName("name", "feedRuns", req.GetName())
	if err != nil {
		return nil, err
	}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := selectRun(ctx, tx, id, "FOR UPDATE")
		if err != nil {
			return err
		}
		if r.State != int32(groupsv1.FeedRun_HELD) {
			return fault.Precondition("FEED_RUN_NOT_HELD", req.GetName(), "the run is not held: it is %s", groupsv1.FeedRun_State(r.State))
		}
		r.State, r.Approved, r.Held, r.Error = int32(groupsv1.FeedRun_QUEUED), true, 0, ""
		if _, err := tx.Exec(ctx, `
			UPDATE feed_runs SET state = @state, approved = true, held = 0, error = '' WHERE id = @id AND org_id = @org`,
			pgx.NamedArgs{"id": r.ID, "org": r.OrgID, "state": r.State}); err != nil {
			return err
		}
		if err := s.enqueue(ctx, tx, r.ID); err != nil {
			return err
		}
		answer = r.toProto()
		return idem.SaveTx(ctx, tx, answer)
	})
	if err != nil {
		return nil, fmt.Errorf("approve run: %w", err)
	}
	return answer, nil
}
