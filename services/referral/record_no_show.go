package referral

import (
	"context"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
)

// RecordNoShow implements ReferralService.
func (s *server) RecordNoShow(ctx context.Context, req *referralv1.RecordNoShowRequest) (*referralv1.Referral, error) {
	return s.apply(ctx, step{name: req.GetName(), etag: req.GetEtag(), action: recordNoShow, note: req.GetNote(), with: func(c *change) error {
		if t := c.row.FirstSessionTime; t != nil && t.After(c.now) {
			return fault.Precondition("SESSION_NOT_BEGUN", c.row.name(), "the session begins only at %s", t.Format("2006-01-02 15:04 MST"))
		}
		return nil
	}})
}
