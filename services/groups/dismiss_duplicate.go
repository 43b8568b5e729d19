package groups

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// DismissDuplicate says that two groups are two. A pair that was dismissed before stays as it is.
func (s *duplicateServer) DismissDuplicate(ctx context.Context, req *groupsv1.DismissDuplicateRequest) (answer *groupsv1.Duplicate, err error) {
	id, err := aip.ParseName("name", "duplicates", req.GetName())
	if err != nil {
		return nil, err
	}
	t := insider(ctx)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		p, err := selectPair(ctx, tx, t, id, "FOR UPDATE OF d")
		if err != nil {
			return err
		}
		if err := p.decidable(t); err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetEtag(), p.Revision); err != nil {
			return err
		}
		switch groupsv1.Duplicate_State(p.State) {
		case groupsv1.Duplicate_MERGED:
			return fault.Precondition("PAIR_MERGED", req.GetName(), "the groups are one: split them with :split first")
		case groupsv1.Duplicate_DISMISSED:
		default:
			b := new(pgx.Batch)
			p.queueDecide(b, groupsv1.Duplicate_DISMISSED, actor(ctx), s.clock.Now())
			if err := tx.SendBatch(ctx, b).Close(); err != nil {
				return err
			}
		}
		if answer, err = s.toProto(ctx, tx, t, p); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, answer)
	})
	return answer, err
}
