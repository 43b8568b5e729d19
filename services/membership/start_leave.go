package membership

import (
	"context"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// StartLeave implements MembershipService.
func (s *server) StartLeave(ctx context.Context, req *membershipv1.StartLeaveRequest) (*membershipv1.Membership, error) {
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(), takesSeats: true,
		decide: func(r *membershipRow, g *groupRow) (action, error) {
			r.SeatFreed = g.LeaveFrees
			return startLeave, nil
		},
	})
}
