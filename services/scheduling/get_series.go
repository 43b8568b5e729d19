package scheduling

import (
	"context"

	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
)

// GetSeries returns one series.
func (s *server) GetSeries(ctx context.Context, req *schedulingv1.GetSeriesRequest) (*schedulingv1.Series, error) {
	id, err := aip.ParseName("name", "series", req.GetName())
	if err != nil {
		return nil, err
	}
	var row seriesRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		row, err = oneSeries(ctx, tx, id, "")
		return err
	}); err != nil {
		return nil, err
	}
	return row.toProto(s.clock.Now()), nil
}
