package membership

import (
	"context"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// EndMembership implements MembershipService.
func (s *server) EndMembership(ctx context.Context, req *membershipv1.EndMembershipRequest) (*membershipv1.Membership, error) {
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(), takesSeats: true,
		decide: func(r *membershipRow, _ *groupRow) (action, error) {
			r.EndReason = int32(req.GetReason())
			return end, r.note(s.keys, &membershipv1.Membership{ClosingNote: req.GetNote()})
		},
	})
}
