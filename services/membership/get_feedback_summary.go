package membership

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

const maxBlocks = 200

// GetFeedbackSummary implements FeedbackService.
func (s *server) GetFeedbackSummary(ctx context.Context, req *membershipv1.GetFeedbackSummaryRequest) (*membershipv1.FeedbackSummary, error) {
	id, err := aip.ParseName("name", "groups", req.GetName())
	if err != nil {
		return nil, err
	}
	if _, bounded := auth.SelfFrom(ctx); !bounded {
		if _, err := s.groupNow(ctx, id); err != nil { // one that nobody has asked to join may be unknown yet
			return nil, err
		}
	}
	var blocks []*blockRow
	var totals []*totalRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		may, err := s.leads(ctx, tx, id)
		if err != nil {
			return err
		}
		if !may {
			return fault.NotFound(req.GetName())
		}
		args := pgx.NamedArgs{"group": id, "limit": maxBlocks}
		b := new(pgx.Batch)
		b.Queue(selectBlocks+` WHERE group_id = @group ORDER BY id DESC LIMIT @limit`, args).Query(all(&blocks))
		b.Queue(`SELECT occasion, count(*)::integer AS blocks, sum(helped * members) / sum(members) AS helped,
				sum(felt_safe * members) / sum(members) AS felt_safe,
				sum(distress * members) / sum(members) FILTER (WHERE distress IS NOT NULL) AS distress
			FROM feedback_blocks WHERE group_id = @group GROUP BY occasion ORDER BY occasion`, args).Query(all(&totals))
		if err := send(ctx, tx, b); err != nil {
			return fmt.Errorf("read blocks: %w", err)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return summary(req.GetName(), blocks, totals), nil
}

// totalRow is what all blocks of an occasion say together: means over members of the rounded figures of the blocks.
type totalRow struct {
	Occasion         int32
	Blocks           int32
	Helped, FeltSafe float64
	Distress         *float64
}

// summary tells blocks, newest first, and their totals. All that it tells follows from the rounded figures of the blocks.
func summary(group string, blocks []*blockRow, totals []*totalRow) *membershipv1.FeedbackSummary {
	resp := &membershipv1.FeedbackSummary{Group: group}
	for _, r := range blocks {
		resp.Blocks = append(resp.Blocks, &membershipv1.FeedbackSummary_Block{
			Occasion: membershipv1.Feedback_Occasion(r.Occasion), Members: r.Members, Helped: r.Helped, FeltSafe: r.FeltSafe,
			Distress: r.Distress, CloseMonth: r.CloseMonth.Format("2006-01"),
		})
	}
	for _, t := range totals {
		total := &membershipv1.FeedbackSummary_Total{
			Occasion: membershipv1.Feedback_Occasion(t.Occasion), Blocks: t.Blocks, Helped: tenths(t.Helped), FeltSafe: tenths(t.FeltSafe),
		}
		if t.Distress != nil {
			v := tenths(*t.Distress)
			total.Distress = &v
		}
		resp.Totals = append(resp.Totals, total)
	}
	return resp
}
