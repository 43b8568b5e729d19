package membership

import (
	"context"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// DeclineMembership implements MembershipService.
func (s *server) DeclineMembership(ctx context.Context, req *membershipv1.DeclineMembershipRequest) (*membershipv1.Membership, error) {
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(), takesSeats: true,
		decide: func(r *membershipRow, _ *groupRow) (action, error) {
			r.DeclineReason = int32(req.GetReason())
			return decline, r.note(s.keys, &membershipv1.Membership{ClosingNote: req.GetNote()})
		},
	})
}
