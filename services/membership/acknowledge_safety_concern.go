package membership

import (
	"context"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// AcknowledgeSafetyConcern implements SafetyService.
func (s *server) AcknowledgeSafetyConcern(ctx context.Context, req *membershipv1.AcknowledgeSafetyConcernRequest) (*membershipv1.SafetyConcern, error) {
	return s.changeConcern(ctx, concernChange{
		name: req.GetName(), etag: req.GetEtag(), what: "acknowledged",
		do: func(_ context.Context, _ pgx.Tx, r *concernRow) error {
			now := s.clock.Now()
			r.State, r.AcknowledgedBy, r.AcknowledgeTime = concernAcknowledged, callerName(ctx), &now
			r.touch(now)
			return nil
		},
	})
}
