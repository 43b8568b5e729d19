package groups

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/jackc/pgx/v5"
)

// copyStage stages rows.
func (sc *scanner) copyStage(ctx context.Context, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	columns := []string{"run_id", "scan", "batch", "row", "external_id", "digest", "raw"}
	if _, err := sc.db.CopyFrom(ctx, pgx.Identifier{"feed_stage"}, columns, pgx.CopyFromRows(rows)); err != nil {
		return fmt.Errorf("stage records: %w", err)
	}
	return nil
}

// duplicates rejects staged records whose id an earlier one has. Those of items that the feed has are known already; these are new.
func (sc *scanner) duplicates(ctx context.Context) error {
	if sc.toApply == 0 {
		return nil
	}
	args := pgx.NamedArgs{"run": sc.run.ID, "scan": sc.run.Attempt}
	var some bool
	if err := sc.db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM feed_stage WHERE run_id = @run AND scan = @scan GROUP BY external_id HAVING count(*) > 1)`, args).Scan(&some); err != nil || !some {
		return err
	}
	for id, row := "", int64(0); ; {
		list, err := sc.laterRows(ctx, id, row)
		if err != nil || len(list) == 0 {
			return err
		}
		places, refused := make([]string, len(list)), make([]rejection, len(list))
		for i, l := range list {
			places[i], refused[i] = l.Place, rejection{row: l.Row, Rejected: *duplicate(l.Row, l.ID)}
			id, row = l.ID, l.Row
		}
		tag, err := sc.db.Exec(ctx, `DELETE FROM feed_stage WHERE ctid = ANY($1::tid[]) AND batch >= 0`, places)
		if err != nil {
			return fmt.Errorf("drop duplicates: %w", err)
		}
		sc.toApply -= tag.RowsAffected()
		sc.refused += int64(len(refused))
		if err := sc.saveRejections(ctx, sc.run, refused); err != nil {
			return err
		}
	}
}

// laterRow is a staged record whose id an earlier one has.
type laterRow struct {
	Place string
	Row   int64
	ID    string
}

// laterRows returns the next of them after a place, in the order of their ids.
func (sc *scanner) laterRows(ctx context.Context, id string, row int64) ([]laterRow, error) {
	rows, err := sc.db.Query(ctx, `
		SELECT ctid::text, row, external_id FROM (
			SELECT ctid, row, external_id, min(row) OVER (PARTITION BY external_id) AS first FROM feed_stage
			WHERE run_id = @run AND scan = @scan AND external_id >= @id
		) s
		WHERE row > first AND (external_id, row) > (@id, @row)
		ORDER BY external_id, row LIMIT @limit`,
		pgx.NamedArgs{"run": sc.run.ID, "scan": sc.run.Attempt, "id": id, "row": row, "limit": windowRows})
	if err != nil {
		return nil, fmt.Errorf("find duplicates: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[laterRow])
	if err != nil {
		return nil, fmt.Errorf("find duplicates: %w", err)
	}
	return list, nil
}

// stageAbsent stages the items that the feed has no more.
func (sc *scanner) stageAbsent(ctx context.Context) error {
	sc.closeBatch()
	n, after := int64(0), ""
	for {
		var ids []string
		var items []int32
		b := sc.db.Batch(ctx)
		b.Queue(`
			SELECT external_id, item FROM feed_items WHERE feed_id = @feed AND org_id = @org AND external_id > @after AND state = 1
			ORDER BY external_id LIMIT @limit`,
			pgx.NamedArgs{"feed": sc.feed.ID, "org": sc.feed.OrgID, "after": after, "limit": windowRows}).Query(func(rows pgx.Rows) error {
			var id string
			var item int32
			_, err := pgx.ForEachRow(rows, []any{&id, &item}, func() error {
				ids, items = append(ids, id), append(items, item)
				return nil
			})
			return err
		})
		if err := sc.db.Send(ctx, b); err != nil {
			return fmt.Errorf("find absent items: %w", err)
		}
		var stage [][]any
		for i, id := range ids {
			if !sc.seen.has(items[i]) {
				n++
				stage = append(stage, []any{sc.run.ID, sc.run.Attempt, sc.place(0), n, id, []byte(nil), []byte(nil)})
			}
		}
		if err := sc.copyStage(ctx, stage); err != nil {
			return err
		}
		if len(ids) < windowRows {
			return nil
		}
		after = ids[len(ids)-1]
	}
}

// bitset remembers items, in a bit each.
type bitset []uint64

func (b bitset) has(i int32) bool {
	at := int(i) / bits.UintSize
	return at < len(b) && b[at]&(1<<(uint(i)%bits.UintSize)) != 0
}

func (b *bitset) set(i int32) {
	for at := int(i) / bits.UintSize; at >= len(*b); {
		*b = append(*b, make([]uint64, max(1, len(*b)))...)
	}
	(*b)[int(i)/bits.UintSize] |= 1 << (uint(i) % bits.UintSize)
}
