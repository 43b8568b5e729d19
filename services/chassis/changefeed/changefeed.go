// Package changefeed is the common part of feeds that are read from the tables themselves: a column changed_xid says which
// transaction last changed a row, and readers stay below pg_snapshot_xmin, so that no change of a transaction that commits
// late is skipped (docs/decisions/0003-change-feed.md). The table change_feed, one row, tells whose transaction ids they are.
package changefeed

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// rewriteChunk is how many rows one transaction marks as changed: a long one would hold every reader of the feed back.
const rewriteChunk = 5000

// SameCluster is the condition on change_feed for the transaction ids in the tables to be of the cluster that answers. The
// timeline is that which is being written: the last checkpoint may be from before a failover.
const SameCluster = `(system_identifier, timeline) = (
	(SELECT s.system_identifier::text FROM pg_control_system() s), ` + writtenTimeline + `)`

const writtenTimeline = `('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int`

// Table is a table with a column changed_xid, and its uuid column that tells rows apart.
type Table struct{ Name, Key string }

// Open makes sure that the transaction ids in the service's tables are of this cluster. After a restore or a failover they may
// be ahead of it, and the feed would be silent until it has caught up: a new generation ends all tokens, and the rows are marked
// anew. Killed in between, the next call goes on.
func Open(ctx context.Context, db *pg.DB, service string, log *slog.Logger, tables ...Table) error {
	ctx = auth.System(ctx, service)
	tag, err := db.Exec(ctx, `
		UPDATE change_feed SET generation = @generation, timeline = `+writtenTimeline+`,
			system_identifier = (SELECT s.system_identifier::text FROM pg_control_system() s)
		WHERE NOT (`+SameCluster+`)`,
		pgx.NamedArgs{"generation": rand.Int64N(1 << 53)}) //nolint:gosec // told apart, not kept secret
	if err != nil {
		return fmt.Errorf("change feed: %w", err)
	}
	if tag.RowsAffected() > 0 {
		log.WarnContext(ctx, "the database is another one than before: sync tokens given so far have expired")
	}
	for _, table := range tables {
		for more := true; more; {
			err := db.Tx(ctx, func(tx pgx.Tx) error {
				tag, err := tx.Exec(ctx, `
					UPDATE `+table.Name+` SET changed_xid = pg_current_xact_id()
					WHERE `+table.Key+` IN (
						SELECT `+table.Key+` FROM `+table.Name+`
						WHERE changed_xid >= pg_snapshot_xmax(pg_current_snapshot())
						ORDER BY changed_xid, `+table.Key+` LIMIT @chunk FOR UPDATE)`, pgx.NamedArgs{"chunk": rewriteChunk})
				more = tag.RowsAffected() == rewriteChunk
				return err
			})
			if err != nil {
				return fmt.Errorf("mark rows of %s as changed: %w", table.Name, err)
			}
		}
	}
	return nil
}

// Expired is the answer to a token of another generation; what is what has been restored, such as "the directory".
func Expired(what string) error {
	return &fault.Error{
		Code: codes.OutOfRange, Reason: "SYNC_TOKEN_EXPIRED",
		Message: what + " has been restored or rebuilt since this token; begin again without a token, and drop what the new listing no longer has",
	}
}
