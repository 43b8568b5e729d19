package membership

import (
	"context"
	"fmt"
	"maps"
	"slices"

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
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		may, err := s.leads(ctx, tx, id)
		if err != nil {
			return err
		}
		if !may {
			return fault.NotFound(req.GetName())
		}
		rows, err := tx.Query(ctx, selectBlocks+` WHERE group_id = @group ORDER BY id DESC`, pgx.NamedArgs{"group": id})
		if err != nil {
			return fmt.Errorf("read blocks: %w", err)
		}
		blocks, err = pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[blockRow])
		return err
	}); err != nil {
		return nil, err
	}
	return summary(req.GetName(), blocks), nil
}

// summary tells blocks, newest first. All that it tells follows from the rounded figures of the blocks.
func summary(group string, blocks []*blockRow) *membershipv1.FeedbackSummary {
	resp := &membershipv1.FeedbackSummary{Group: group}
	type sums struct {
		blocks                 int32
		helped, safe, distress mean
	}
	totals := map[int32]*sums{}
	for _, r := range blocks {
		if len(resp.GetBlocks()) < maxBlocks {
			resp.Blocks = append(resp.Blocks, &membershipv1.FeedbackSummary_Block{
				Occasion: membershipv1.Feedback_Occasion(r.Occasion), Members: r.Members, Helped: r.Helped, FeltSafe: r.FeltSafe,
				Distress: r.Distress, CloseMonth: r.CloseMonth.Format("2006-01"),
			})
		}
		t := totals[r.Occasion]
		if t == nil {
			t = new(sums)
			totals[r.Occasion] = t
		}
		t.blocks++
		t.helped.weigh(r.Helped, float64(r.Members))
		t.safe.weigh(r.FeltSafe, float64(r.Members))
		if r.Distress != nil {
			t.distress.weigh(*r.Distress, float64(r.Members))
		}
	}
	for _, occasion := range slices.Sorted(maps.Keys(totals)) {
		t := totals[occasion]
		total := &membershipv1.FeedbackSummary_Total{
			Occasion: membershipv1.Feedback_Occasion(occasion), Blocks: t.blocks,
			Helped: tenths(t.helped.value()), FeltSafe: tenths(t.safe.value()),
		}
		if t.distress.n > 0 {
			v := tenths(t.distress.value())
			total.Distress = &v
		}
		resp.Totals = append(resp.Totals, total)
	}
	return resp
}
