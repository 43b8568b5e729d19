package membership

import (
	"context"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/fault"
)

// EndMembership implements MembershipService.
func (s *server) EndMembership(ctx context.Context, req *membershipv1.EndMembershipRequest) (*membershipv1.Membership, error) {
	finish, err := s.farewell(ctx, req)
	if err != nil {
		return nil, err
	}
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(), takesSeats: true, finish: finish,
		decide: func(r *membershipRow, _ *groupRow) (action, error) {
			if isSelf(ctx, r.MemberID) && !hersToSay(req.GetReason()) {
				return "", fault.Invalid(fault.Field("reason", "you end your own membership: say MOVED_ON, NOT_HELPFUL, DISTRESS, RECOVERED or REQUEST_WITHDRAWN"))
			}
			r.EndReason = int32(req.GetReason())
			return end, r.note(s.keys, &membershipv1.Membership{ClosingNote: req.GetNote()})
		},
	})
}

// hersToSay tells whether a member gives the reason for ending her own membership.
func hersToSay(r membershipv1.Membership_EndReason) bool {
	switch r {
	case membershipv1.Membership_MOVED_ON, membershipv1.Membership_NOT_HELPFUL, membershipv1.Membership_DISTRESS,
		membershipv1.Membership_RECOVERED, membershipv1.Membership_REQUEST_WITHDRAWN:
		return true
	}
	return false
}
