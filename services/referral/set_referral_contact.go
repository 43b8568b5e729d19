package referral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/crypt"
)

// SetReferralContact implements ReferralProcessService.
func (s *server) SetReferralContact(ctx context.Context, req *referralv1.SetReferralContactRequest) (*referralv1.Referral, error) {
	return s.amend(ctx, amendment{name: req.GetName(), etag: req.GetEtag(), write: writeSubject, change: func(_ context.Context, _ pgx.Tx, c *change) error {
		return c.contact(referrer, func(p *referralv1.Referral_Subject) {
			p.DoNotContact = req.GetDoNotContact()
			if req.GetContactPreference() != referralv1.Referral_Subject_CONTACT_PREFERENCE_UNSPECIFIED {
				p.ContactPreference = req.GetContactPreference()
			}
		})
	}})
}

// contact changes how the person wants to be reached, and tells of it.
func (c *change) contact(by party, edit func(*referralv1.Referral_Subject)) error {
	r := c.row
	old, err := c.s.subject(r)
	if err != nil {
		return err
	}
	p := proto.CloneOf(old)
	edit(p)
	key, err := c.s.keys.OpenDataKey(r.DataKey)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name(), err)
	}
	if r.Subject, err = crypt.SealProto(key, r.name(), subjectField, p); err != nil {
		return err
	}
	r.body.subject = p
	if err := c.announce(noteContactChanged, entry{by: by, tells: func(m *referralv1.ReferralChanged) { m.DoNotContact = p.GetDoNotContact() }}); err != nil {
		return err
	}
	c.placeAnew()
	return nil
}

// writeSubject queues what [updateReferral] leaves.
func writeSubject(b *pgx.Batch, r *row) {
	b.Queue(`UPDATE referrals SET subject = $2 WHERE id = $1`, r.ID, r.Subject)
}
