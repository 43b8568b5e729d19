package membership

import (
	"context"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// EndLeave implements MembershipService.
func (s *server) EndLeave(ctx context.Context, req *membershipv1.EndLeaveRequest) (*membershipv1.Membership, error) {
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(), takesSeats: true,
		decide: func(r *membershipRow, g *groupRow) (action, error) {
			switch {
			case r.State != onLeave:
				return "", illegal(r, endLeave)
			case r.SeatFreed && g.full():
				return wait, nil
			}
			return endLeave, nil
		},
	})
}
