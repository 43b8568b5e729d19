package referral

import (
	"context"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// ConfirmCancel implements ReferralService.
func (s *server) ConfirmCancel(ctx context.Context, req *referralv1.ConfirmCancelRequest) (*referralv1.Referral, error) {
	answer, err := s.apply(ctx, step{name: req.GetName(), etag: req.GetEtag(), action: confirmCancel, note: req.GetNote(), after: giveBack})
	if err == nil {
		s.finishSoon(ctx, req.GetName())
	}
	return answer, err
}
