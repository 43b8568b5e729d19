package membership

import (
	"context"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// EscalateSafetyConcern implements SafetyService.
func (s *server) EscalateSafetyConcern(ctx context.Context, req *membershipv1.EscalateSafetyConcernRequest) (*membershipv1.SafetyConcern, error) {
	return s.changeConcern(ctx, concernChange{
		name: req.GetName(), etag: req.GetEtag(), what: "escalated",
		do: func(ctx context.Context, tx pgx.Tx, r *concernRow) error {
			there, err := findLeads(ctx, tx, r.GroupID)
			if err != nil {
				return err
			}
			r.passOn(there, s.clock.Now())
			s.tellSoon(r)
			r.openReferral()
			return nil
		},
	})
}
