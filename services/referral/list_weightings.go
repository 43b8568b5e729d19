package referral

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/page"
)

// weightingCursor is where a page of weights ends.
type weightingCursor struct {
	Time    time.Time `json:"t"`
	Version string    `json:"v"`
}

// ListWeightings implements WeightingsService.
func (s *server) ListWeightings(ctx context.Context, req *referralv1.ListWeightingsRequest) (*referralv1.ListWeightingsResponse, error) {
	after, more, err := page.Decode[weightingCursor](req.GetPageToken(), "ListWeightings")
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	var rows []*weightingRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+weightingColumns+` FROM weightings 
		WHERE NOT @more OR create_time < @time OR create_time = @time AND version > @version ORDER BY create_time DESC, version LIMIT @n`,
		pgx.NamedArgs{"more": more, "time": after.Time, "version": after.Version, "n": size + 1}).Query(collect(&rows))
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list weights: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *weightingRow) weightingCursor { return weightingCursor{r.CreateTime, r.Version} }, "ListWeightings")
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListWeightingsResponse{NextPageToken: next}
	for _, r := range rows {
		m, err := r.toProto()
		if err != nil {
			return nil, err
		}
		resp.Weightings = append(resp.Weightings, m)
	}
	return resp, nil
}
