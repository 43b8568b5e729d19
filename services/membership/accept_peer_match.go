package membership

import (
	"context"
	"time"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/fault"
)

// AcceptPeerMatch implements PeerMatchesService.
func (s *server) AcceptPeerMatch(ctx context.Context, req *membershipv1.AcceptPeerMatchRequest) (*membershipv1.PeerMatch, error) {
	return s.changeMatch(ctx, matchChange{
		name: req.GetName(), etag: req.GetEtag(), party: req.GetParty(), does: "accept",
		decide: func(r *matchRow, by membershipv1.PeerMatch_Party, now time.Time) (string, error) {
			accepted := &r.MenteeAcceptTime
			switch by {
			case membershipv1.PeerMatch_PARTY_UNSPECIFIED:
				return "", fault.Invalid(fault.Field("party", "say who accepts: MENTEE or SUPPORTER"))
			case membershipv1.PeerMatch_SUPPORTER:
				accepted = &r.SupporterAcceptTime
			}
			if r.State != matchProposed && r.State != matchAccepted {
				return "", illegalMatch(r, "accept", "it is "+r.State.String())
			}
			if *accepted != nil {
				return "", nil
			}
			*accepted = &now
			if r.MenteeAcceptTime == nil || r.SupporterAcceptTime == nil {
				return "", nil
			}
			r.State = matchAccepted
			return "accepted", nil
		},
	})
}
