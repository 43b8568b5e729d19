package groups

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/page"
)

// rejectedCursor is the last row of a page.
type rejectedCursor struct {
	Row int64 `json:"r"`
	N   int16 `json:"n"`
}

// ListRejectedRows lists what of a run was not taken, by row.
func (s *feedServer) ListRejectedRows(ctx context.Context, req *groupsv1.ListRejectedRowsRequest) (*groupsv1.ListRejectedRowsResponse, error) {
	id, err := aip.ParseName("feed_run", "feedRuns", req.GetFeedRun())
	if err != nil {
		return nil, err
	}
	bound := []any{"ListRejectedRows", id}
	cur, _, err := page.Decode[rejectedCursor](req.GetPageToken(), bound...)
	if err != nil {
		return nil, err
	}
	size := cmp.Or(int(req.GetPageSize()), 50)
	resp := &groupsv1.ListRejectedRowsResponse{}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		run, err := selectRun(ctx, tx, id, "")
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			SELECT row, n, effect, field, value, reason FROM feed_rejected
			WHERE run_id = @run AND org_id = @org AND (row, n) > (@row::bigint, @n::smallint) ORDER BY row, n LIMIT @limit`,
			pgx.NamedArgs{"run": run.ID, "org": run.OrgID, "row": cur.Row, "n": cur.N, "limit": size + 1})
		if err != nil {
			return err
		}
		var last rejectedCursor
		var m groupsv1.RejectedRow
		_, err = pgx.ForEachRow(rows, []any{&cur.Row, &cur.N, (*int32)(&m.Effect), &m.Field, &m.Value, &m.Reason}, func() error {
			if len(resp.RejectedRows) == size {
				resp.NextPageToken, err = page.Encode(last, bound...)
				return err
			}
			last = cur
			resp.RejectedRows = append(resp.RejectedRows, &groupsv1.RejectedRow{Row: cur.Row, Effect: m.Effect, Field: m.Field, Value: m.Value, Reason: m.Reason})
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list rejected rows: %w", err)
	}
	return resp, nil
}
