package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
)

// GetSafetyConcern implements SafetyService.
func (s *server) GetSafetyConcern(ctx context.Context, req *membershipv1.GetSafetyConcernRequest) (*membershipv1.SafetyConcern, error) {
	row, err := s.concern(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return row.toFullProto(s.keys)
}

// concern returns a concern that the caller acts on; the reading is audited.
func (s *server) concern(ctx context.Context, name string) (*concernRow, error) {
	id, err := aip.ParseName("name", "safetyConcerns", name)
	if err != nil {
		return nil, err
	}
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = id
	var row *concernRow
	b := s.db.Batch(ctx)
	b.Queue(selectConcern, args).Query(one(&row))
	audit.QueueIf(ctx, b, name, selectConcern, args)
	err = s.db.Send(ctx, b)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(name)
	}
	if err != nil {
		return nil, fmt.Errorf("find concern: %w", err)
	}
	return row, nil
}
