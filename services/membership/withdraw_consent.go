package membership

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/fault"
)

// WithdrawConsent implements MembershipService.
func (s *server) WithdrawConsent(ctx context.Context, req *membershipv1.WithdrawConsentRequest) (*membershipv1.Member, error) {
	return s.changeMember(ctx, "name", req.GetName(), req.GetEtag(), func(m *membershipv1.Member) error {
		c := standing(m, req.GetKind())
		if c == nil {
			return fault.Precondition("NO_SUCH_CONSENT", req.GetName(), "no consent of kind %s stands", req.GetKind())
		}
		c.WithdrawnTime = timestamppb.New(s.clock.Now())
		return nil
	})
}
