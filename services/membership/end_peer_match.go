package membership

import (
	"context"
	"time"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// EndPeerMatch implements PeerMatchesService.
func (s *server) EndPeerMatch(ctx context.Context, req *membershipv1.EndPeerMatchRequest) (*membershipv1.PeerMatch, error) {
	return s.changeMatch(ctx, matchChange{
		name: req.GetName(), etag: req.GetEtag(), party: req.GetParty(), does: "end",
		decide: func(r *matchRow, by membershipv1.PeerMatch_Party, now time.Time) (string, error) {
			if r.State != matchAccepted {
				return "", illegalMatch(r, "end", "it is "+r.State.String())
			}
			r.close(matchEnded, req.GetReason(), by, now)
			return "ended", nil
		},
	})
}
