package membership

import (
	"context"

	"google.golang.org/protobuf/proto"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/idem"
)

// reads are the answers that show a person to who may not see all of her any more when a call is repeated: what her referral said of
// her may be taken back, and who led her group may not lead it by then.
func (s *server) reads() idem.Reads {
	return idem.Reads{
		"cairn.membership.v1.Member": func(ctx context.Context, name string) (proto.Message, error) {
			return s.GetMember(ctx, &membershipv1.GetMemberRequest{Name: name})
		},
		"cairn.membership.v1.Membership": func(ctx context.Context, name string) (proto.Message, error) {
			return s.GetMembership(ctx, &membershipv1.GetMembershipRequest{Name: name})
		},
		"cairn.membership.v1.PeerMatch": func(ctx context.Context, name string) (proto.Message, error) {
			return s.GetPeerMatch(ctx, &membershipv1.GetPeerMatchRequest{Name: name})
		},
	}
}
