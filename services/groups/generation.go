package groups

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/auth"
)

// rewriteChunk is how many rows one transaction marks as changed: a long one would hold every reader of the feed back.
const rewriteChunk = 5000

// openFeed makes sure that the transaction ids in the tables are of this cluster. After a restore they may be ahead of it, and the
// feed would be silent until it has caught up: a new generation ends all tokens, and the rows are marked anew. Killed in between,
// the next start goes on.
func (s *server) openFeed(ctx context.Context, log *slog.Logger) error {
	ctx = auth.System(ctx, "groups")
	tag, err := s.db.Exec(ctx, `
		UPDATE change_feed f SET generation = @generation, system_identifier = s.system_identifier::text, timeline = c.timeline_id
		FROM pg_control_system() s, pg_control_checkpoint() c
		WHERE (f.system_identifier, f.timeline) <> (s.system_identifier::text, c.timeline_id)`,
		pgx.NamedArgs{"generation": rand.Int64N(1 << 53)}) //nolint:gosec // told apart, not kept secret
	if err != nil {
		return fmt.Errorf("change feed: %w", err)
	}
	if tag.RowsAffected() > 0 {
		log.WarnContext(ctx, "the database is another one than before: sync tokens given so far have expired")
	}
	for _, table := range []struct{ name, key string }{{"groups", "id"}, {"availability", "group_id"}} {
		for more := true; more; {
			err := s.db.Tx(ctx, func(tx pgx.Tx) error {
				tag, err := tx.Exec(ctx, `
					UPDATE `+table.name+` SET changed_xid = pg_current_xact_id()
					WHERE `+table.key+` IN (
						SELECT `+table.key+` FROM `+table.name+`
						WHERE changed_xid >= pg_snapshot_xmax(pg_current_snapshot())
						ORDER BY changed_xid, `+table.key+` LIMIT @chunk FOR UPDATE)`, pgx.NamedArgs{"chunk": rewriteChunk})
				more = tag.RowsAffected() == rewriteChunk
				return err
			})
			if err != nil {
				return fmt.Errorf("mark rows of %s as changed: %w", table.name, err)
			}
		}
	}
	return nil
}
