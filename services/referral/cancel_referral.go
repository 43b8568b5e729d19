package referral

import (
	"context"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// CancelReferral implements ReferralService. Before acceptance the receiver has nothing to confirm: the request and its
// confirmation are taken in one transaction, unless an acceptance is under way, whose seat has to be given back first.
func (s *server) CancelReferral(ctx context.Context, req *referralv1.CancelReferralRequest) (*referralv1.Referral, error) {
	answer, err := s.apply(ctx, step{
		name: req.GetName(), etag: req.GetEtag(), action: requestCancel, note: req.GetNote(),
		after: func(ctx context.Context, tx pgx.Tx, c *change) error {
			if err := c.because(req.GetNote()); err != nil {
				return err
			}
			if c.row.State != cancelRequested || c.row.AcceptTime != nil {
				return nil
			}
			under, err := findPlacement(ctx, tx, c.row.ID)
			if err != nil {
				return err
			}
			if under != nil || c.row.MembershipID != nil {
				return giveBack(ctx, tx, c)
			}
			c.actor = told(service)
			if err := c.take(transition{from: cancelRequested, action: confirmCancel, to: cancelled}, entry{by: system}); err != nil {
				return err
			}
			return c.because(req.GetNote())
		},
	})
	if err == nil {
		s.finishSoon(ctx, req.GetName())
	}
	return answer, err
}
