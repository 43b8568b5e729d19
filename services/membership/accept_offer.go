package membership

import (
	"context"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// AcceptOffer implements MembershipService.
func (s *server) AcceptOffer(ctx context.Context, req *membershipv1.AcceptOfferRequest) (*membershipv1.Membership, error) {
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(),
		decide: func(r *membershipRow, _ *groupRow) (action, error) { return takeOffer(r, s.clock.Now()) },
	})
}
