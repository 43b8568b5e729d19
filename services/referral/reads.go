package referral

import (
	"context"

	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/idem"
)

// reads are the answers that show somebody's referral: before a call is repeated her consent may end, or the owner be another one.
func (s *server) reads() idem.Reads {
	return idem.Reads{
		"cairn.referral.v1.Referral": func(ctx context.Context, name string) (proto.Message, error) {
			return s.GetReferral(ctx, &referralv1.GetReferralRequest{Name: name})
		},
		"cairn.referral.v1.Booking": func(ctx context.Context, name string) (proto.Message, error) {
			return s.GetBooking(ctx, &referralv1.GetBookingRequest{Name: name})
		},
	}
}
