package referral

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/referral/match"
)

// CreateWeighting implements WeightingsService.
func (s *server) CreateWeighting(ctx context.Context, req *referralv1.CreateWeightingRequest) (*referralv1.Weighting, error) {
	var bad []*fault.Violation
	for _, code := range slices.Sorted(maps.Keys(req.GetWeighting().GetPoints())) {
		if !slices.Contains(match.Codes(), code) {
			bad = append(bad, fault.Field("weighting.points", "%q is no soft criterion; those there are: %s", code, strings.Join(match.Codes(), ", ")))
		}
	}
	if len(bad) > 0 {
		return nil, fault.Invalid(bad...)
	}
	points, err := json.Marshal(req.GetWeighting().GetPoints())
	if err != nil {
		return nil, fmt.Errorf("encode points: %w", err)
	}
	row := &weightingRow{Version: req.GetWeightingId(), Description: req.GetWeighting().GetDescription(), Points: points, CreateTime: s.clock.Now()}
	answer, err := row.toProto()
	if err != nil {
		return nil, err
	}
	b := s.db.Batch(ctx)
	b.Queue(`INSERT INTO weightings (version, description, points, in_use, create_time) VALUES (@version, @description, @points, false, @now)`,
		pgx.NamedArgs{"version": row.Version, "description": row.Description, "points": row.Points, "now": row.CreateTime})
	if err := idem.Save(ctx, b, answer); err != nil {
		return nil, err
	}
	err = s.db.Send(ctx, b)
	if pg.Constraint(err) == "weightings_pkey" {
		return nil, fault.AlreadyExists(answer.GetName(), "a version of the weights never changes: choose another weighting_id")
	}
	if err != nil {
		return nil, fmt.Errorf("insert weights: %w", err)
	}
	return answer, nil
}
