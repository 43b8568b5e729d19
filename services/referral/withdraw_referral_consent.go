package referral

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
)

// WithdrawReferralConsent implements ConsentsService. From the end of its transaction on, every answer to the owner is made under the
// new version.
func (s *server) WithdrawReferralConsent(ctx context.Context, req *referralv1.WithdrawReferralConsentRequest) (*referralv1.Referral, error) {
	return s.amend(ctx, amendment{name: req.GetName(), etag: req.GetEtag(), ended: true, write: writeConsent, change: func(ctx context.Context, tx pgx.Tx, c *change) error {
		r := c.row
		old, err := r.consent()
		if err != nil {
			return err
		}
		// Who has been placed can still take back what the group has of her when the consent's time is over.
		if old.GetWithdrawTime() != nil || r.MembershipID == nil && consentEnded(old, c.now) {
			return fault.Precondition("CONSENT_ENDED", req.GetName(), "the consent has ended already: there is nothing to take back")
		}
		next := proto.CloneOf(old)
		if len(req.GetItems()) == 0 {
			next.WithdrawTime = timestamppb.New(c.now)
		} else {
			next.Share = slices.DeleteFunc(next.GetShare(), func(i referralv1.Referral_Consent_Item) bool { return slices.Contains(req.GetItems(), i) })
			if len(next.GetShare()) == len(old.GetShare()) {
				return fault.Precondition("NO_SUCH_CONSENT", req.GetName(), "the consent covers none of these: there is nothing to take back")
			}
		}
		if next.GetWithdrawTime() != nil && r.State == sent { // its owner cannot take it now: the referrer has to say what becomes of it
			r.askReferrer(c.now)
		}
		if err := c.consentTo(ctx, tx, next, noteConsentWithdrawn, referrer); err != nil {
			return err
		}
		return s.tellOwner(ctx, tx, r)
	}})
}
