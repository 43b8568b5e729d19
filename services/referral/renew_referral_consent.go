package referral

import (
	"context"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
)

// RenewReferralConsent implements ConsentsService.
func (s *server) RenewReferralConsent(ctx context.Context, req *referralv1.RenewReferralConsentRequest) (*referralv1.Referral, error) {
	next, now := proto.CloneOf(req.GetConsent()), s.clock.Now()
	next.WithdrawTime = nil
	bad := invalid("", &referralv1.Referral{Consent: next}, now)
	if next.GetGrantTime() == nil && len(next.GetShare()) == 0 {
		bad = append(bad, fault.Field("consent.grant_time", "is needed: say when she agreed"))
	}
	if end := next.GetExpireTime(); end.IsValid() && !end.AsTime().After(now) {
		bad = append(bad, fault.Field("consent.expire_time", "has passed already"))
	}
	return s.amend(ctx, amendment{name: req.GetName(), etag: req.GetEtag(), write: writeConsent, change: func(ctx context.Context, tx pgx.Tx, c *change) error {
		if len(bad) > 0 {
			return fault.Invalid(bad...)
		}
		r := c.row
		old, err := r.consent()
		if err != nil {
			return err
		}
		if r.State == sent && consentEnded(old, c.now) { // it is its owner's turn again
			r.Awaiting, r.DueTime = dueAfter(r.State, c.now, referralv1.Referral_Urgency(r.Urgency), r.Deadline, r.FirstSessionTime)
			r.OverdueTime = nil
			r.plan(c.now)
		} else if r.State == sent {
			r.planAgain(c.now) // the clock may have waited for the consent's end
		}
		if err := c.consentTo(ctx, tx, next, noteConsentRenewed, referrer); err != nil {
			return err
		}
		return s.tellOwner(ctx, tx, r)
	}})
}
