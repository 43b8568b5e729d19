package groups

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

// rewriteChunk is how many rows one transaction marks as changed: a long one would hold every reader of the feed back.
const rewriteChunk = 5000

// sameCluster is the condition for the transaction ids in the tables to be of the cluster that answers. The timeline is that which is
// being written: the last checkpoint may be from before a failover.
const sameCluster = `(system_identifier, timeline) = (
	(SELECT s.system_identifier::text FROM pg_control_system() s), ` + writtenTimeline + `)`

const writtenTimeline = `('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int`

// openFeed makes sure that the transaction ids in the tables are of this cluster. After a restore or a failover they may be ahead of
// it, and the feed would be silent until it has caught up: a new generation ends all tokens, and the rows are marked anew. Killed in
// between, the next call goes on.
func openFeed(ctx context.Context, db *pg.DB, log *slog.Logger) error {
	ctx = auth.System(ctx, "groups")
	tag, err := db.Exec(ctx, `
		UPDATE change_feed SET generation = @generation, timeline = `+writtenTimeline+`,
			system_identifier = (SELECT s.system_identifier::text FROM pg_control_system() s)
		WHERE NOT (`+sameCluster+`)`,
		pgx.NamedArgs{"generation": rand.Int64N(1 << 53)}) //nolint:gosec // told apart, not kept secret
	if err != nil {
		return fmt.Errorf("change feed: %w", err)
	}
	if tag.RowsAffected() > 0 {
		log.WarnContext(ctx, "the database is another one than before: sync tokens given so far have expired")
	}
	for _, table := range []struct{ name, key string }{{"groups", "id"}, {"availability", "group_id"}} {
		for more := true; more; {
			err := db.Tx(ctx, func(tx pgx.Tx) error {
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
