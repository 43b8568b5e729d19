package referral

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
)

// GetWeighting implements WeightingsService.
func (s *server) GetWeighting(ctx context.Context, req *referralv1.GetWeightingRequest) (*referralv1.Weighting, error) {
	row, err := findWeighting(ctx, s.db, strings.TrimPrefix(req.GetName(), weightingPrefix))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, err
	}
	return row.toProto()
}
