package referral

import (
	"context"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// AcknowledgeReferralConcern implements ConcernsService.
func (s *server) AcknowledgeReferralConcern(ctx context.Context, req *referralv1.AcknowledgeReferralConcernRequest) (*referralv1.ReferralConcern, error) {
	return s.changeConcern(ctx, req.GetName(), req.GetEtag(), "acknowledged", func(c *concernRow, _ *row) error {
		if c.State != referralv1.ReferralConcern_OPEN {
			return fault.Precondition("ILLEGAL_TRANSITION", req.GetName(), "the concern is %s: somebody deals with it already", c.State)
		}
		now := s.clock.Now()
		c.State, c.AcknowledgedBy, c.AcknowledgeTime = referralv1.ReferralConcern_ACKNOWLEDGED, auth.PrincipalFrom(ctx).Subject, &now
		due := now.Add(c.within())
		c.DueTime, c.TellTime = &due, &due
		return nil
	})
}
