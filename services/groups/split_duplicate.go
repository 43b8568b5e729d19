package groups

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// SplitDuplicate makes two groups of one again. The other group comes back in the state that it has kept.
func (s *duplicateServer) SplitDuplicate(ctx context.Context, req *groupsv1.SplitDuplicateRequest) (answer *groupsv1.Duplicate, err error) {
	id, err := aip.ParseName("name", "duplicates", req.GetName())
	if err != nil {
		return nil, err
	}
	t, now := insider(ctx), s.clock.Now()
	err = s.db.Tx(auth.WithTenant(ctx, auth.Tenant{All: true}), func(tx pgx.Tx) error {
		p, err := selectPair(ctx, tx, t, id, "")
		if err != nil {
			return err
		}
		if err := p.decidable(t); err != nil {
			return err
		}
		merged := groupsv1.Duplicate_State(p.State) == groupsv1.Duplicate_MERGED
		var survivor, other uuid.UUID
		m := &merges{}
		if merged {
			survivor = *p.Survivor
			other = p.other(survivor)
			if m, err = openMerges(ctx, tx, now, []uuid.UUID{other}); err != nil {
				return err
			}
		}
		if p, err = selectPair(ctx, tx, t, id, "FOR UPDATE OF d"); err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetEtag(), p.Revision); err != nil {
			return err
		}
		if !merged || groupsv1.Duplicate_State(p.State) != groupsv1.Duplicate_MERGED {
			return fault.Precondition("PAIR_NOT_MERGED", req.GetName(), "the groups are two already")
		}
		if *p.Survivor != survivor {
			return fault.Aborted("PAIR_CHANGED", "the groups were split and merged the other way round meanwhile: read the pair again")
		}
		m.free(other)
		m.freed = nil // decided, not to be proposed
		b := new(pgx.Batch)
		if _, err := m.queue(ctx, b, nil); err != nil {
			return err
		}
		p.queueDecide(b, groupsv1.Duplicate_SPLIT, actor(ctx), now)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return fmt.Errorf("split groups: %w", err)
		}
		if answer, err = s.toProto(ctx, tx, t, p); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, answer)
	})
	return answer, err
}

// actor returns who acts, as histories tell it.
func actor(ctx context.Context) string {
	p := auth.PrincipalFrom(ctx)
	if p.OnBehalfOf != nil {
		p = *p.OnBehalfOf
	}
	return p.Subject
}
