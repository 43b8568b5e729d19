package referral

import (
	"context"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// RecordSessionCancellation implements ReferralService.
func (s *server) RecordSessionCancellation(ctx context.Context, req *referralv1.RecordSessionCancellationRequest) (*referralv1.Referral, error) {
	return s.apply(ctx, step{name: req.GetName(), etag: req.GetEtag(), action: recordSessionOff, note: req.GetNote()})
}
