package scheduling

import (
	"context"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/emptypb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/idem"
)

// DeleteSeries deletes a series and cancels its sessions that have not begun.
func (s *server) DeleteSeries(ctx context.Context, req *schedulingv1.DeleteSeriesRequest) (*emptypb.Empty, error) {
	id, err := aip.ParseName("name", "series", req.GetName())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	empty := &emptypb.Empty{}
	err = s.write(ctx, func(tx pgx.Tx) error {
		seen, err := oneSeries(ctx, tx, id, "")
		if err != nil {
			return err
		}
		if _, err := lockCalendar(ctx, tx, seen.GroupID, seen.OrgID); err != nil {
			return err
		}
		row, err := oneSeries(ctx, tx, id, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetEtag(), row.Revision); err != nil {
			return err
		}
		if row.Listed != "" {
			return errListed(row)
		}
		row.Closed = true
		if err := reconcileAll(ctx, tx, []edit{{series: &row, deleted: true, aim: aim{edited: true, reason: droppedReason}}}, now); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, empty)
	})
	if err != nil {
		return nil, err
	}
	return empty, nil
}
