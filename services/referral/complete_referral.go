package referral

import (
	"context"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// CompleteReferral implements ReferralService.
func (s *server) CompleteReferral(ctx context.Context, req *referralv1.CompleteReferralRequest) (*referralv1.Referral, error) {
	return s.apply(ctx, step{
		name: req.GetName(), etag: req.GetEtag(), action: complete, note: req.GetNote(),
		with: func(c *change) (err error) {
			o := req.GetOutcome()
			if err := mayReportOutcome(c.row, o); err != nil {
				return err
			}
			c.row.OutcomeHelped, c.row.DistressAfter = int32(o.GetHelped()), o.DistressAfter
			c.row.OutcomeNote, err = s.seal(c.row, outcomeNoteField, o.GetNote())
			return err
		},
	})
}
