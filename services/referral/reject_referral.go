package referral

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
)

// RejectReferral implements ReferralService.
func (s *server) RejectReferral(ctx context.Context, req *referralv1.RejectReferralRequest) (*referralv1.Referral, error) {
	if req.GetReason() == referralv1.Referral_OTHER && strings.TrimSpace(req.GetNote()) == "" {
		return nil, fault.Invalid(fault.Field("note", "is needed with the reason OTHER: say why"))
	}
	answer, err := s.apply(ctx, step{
		name: req.GetName(), etag: req.GetEtag(), action: reject, note: req.GetNote(),
		with: func(c *change) error {
			c.row.RejectReason = int32(req.GetReason())
			return nil
		},
		after: func(ctx context.Context, tx pgx.Tx, c *change) error {
			why := enumWords(req.GetReason().String())
			if req.GetNote() != "" {
				why += ": " + req.GetNote()
			}
			if err := c.because(why); err != nil {
				return err
			}
			if err := s.notify(ctx, tx, c.row, noticeEnded, c.row.OrgID); err != nil {
				return err
			}
			return giveBack(ctx, tx, c)
		},
	})
	if err == nil {
		s.finishSoon(ctx, req.GetName())
	}
	return answer, err
}
