package membership

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/audit"
)

// askGuidelines asks the members of groups whose guidelines have a new version to acknowledge it. They stay in the group
// whatever they do about it.
func (s *server) askGuidelines(ctx context.Context) error {
	return s.sweepGroups(ctx, "ask for guidelines", `guidelines_told <> guidelines_version AND NOT deleted`, func(ctx context.Context, group uuid.UUID) error {
		for more := true; more; {
			if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
				more, err = s.askSome(ctx, tx, group)
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// askSome asks some of a group's members, and tells whether there may be more.
func (s *server) askSome(ctx context.Context, tx pgx.Tx, group uuid.UUID) (more bool, err error) {
	g, err := findGroup(ctx, tx, group, lockToTake)
	if err != nil || g == nil {
		return false, err
	}
	w := &work{tx: tx, b: new(pgx.Batch), now: s.clock.Now()}
	rows, err := tx.Query(ctx, `SELECT `+membershipColumns+fromMemberships+` WHERE x.group_id = @group AND x.state IN (4, 5)
		AND x.guidelines_version < @version AND x.guidelines_asked < @version ORDER BY x.id LIMIT @n FOR NO KEY UPDATE OF x`,
		pgx.NamedArgs{"group": group, "version": g.GuidelinesVersion, "n": sweepAtOnce})
	if err != nil {
		return false, fmt.Errorf("find members to ask: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[membershipRow])
	if err != nil {
		return false, fmt.Errorf("find members to ask: %w", err)
	}
	for _, r := range list {
		audit.Queue(ctx, w.b, r.name())
		refused, err := s.applyTo(ctx, w, r, func(r *membershipRow, _ *groupRow) (action, error) {
			r.GuidelinesAsked = g.GuidelinesVersion
			return ask, nil
		})
		if err := cmp.Or(err, refused); err != nil {
			return false, err
		}
	}
	more = len(list) == sweepAtOnce
	if !more {
		g.GuidelinesTold = g.GuidelinesVersion
		updateGroup(w.b, g)
	}
	if g.GuidelinesVersion == 0 { // there are none any more
		w.b.Queue(`UPDATE memberships SET guidelines_asked = 0 WHERE group_id = @group AND guidelines_asked <> 0`, pgx.NamedArgs{"group": group})
	}
	return more, w.send(ctx)
}
