package membership

import (
	"context"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/fault"
)

// DeclineOffer implements MembershipService.
func (s *server) DeclineOffer(ctx context.Context, req *membershipv1.DeclineOfferRequest) (*membershipv1.Membership, error) {
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(), takesSeats: true,
		decide: func(r *membershipRow, _ *groupRow) (action, error) {
			if r.State != offered {
				return "", fault.Precondition("ILLEGAL_TRANSITION", r.name(), "there is no offer to decline: the membership is %s", r.State)
			}
			r.EndReason = int32(membershipv1.Membership_OFFER_DECLINED)
			return end, nil
		},
	})
}
