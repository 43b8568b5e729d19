package membership

import (
	"context"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// CloseSafetyConcern implements SafetyService.
func (s *server) CloseSafetyConcern(ctx context.Context, req *membershipv1.CloseSafetyConcernRequest) (*membershipv1.SafetyConcern, error) {
	return s.changeConcern(ctx, concernChange{
		name: req.GetName(), etag: req.GetEtag(), what: "closed",
		do: func(_ context.Context, _ pgx.Tx, r *concernRow) error {
			if err := r.write(s.keys, "", req.GetNote()); err != nil {
				return err
			}
			r.close(req.GetOutcome(), callerName(ctx), s.clock.Now())
			return nil
		},
	})
}
