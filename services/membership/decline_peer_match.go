package membership

import (
	"context"
	"time"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// DeclinePeerMatch implements PeerMatchesService.
func (s *server) DeclinePeerMatch(ctx context.Context, req *membershipv1.DeclinePeerMatchRequest) (*membershipv1.PeerMatch, error) {
	return s.changeMatch(ctx, matchChange{
		name: req.GetName(), etag: req.GetEtag(), party: req.GetParty(), does: "decline",
		decide: func(r *matchRow, by membershipv1.PeerMatch_Party, now time.Time) (string, error) {
			if r.State != matchProposed {
				return "", illegalMatch(r, "decline", "it is "+r.State.String())
			}
			r.close(matchDeclined, 0, by, now)
			return "declined", nil
		},
	})
}
