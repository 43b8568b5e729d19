package membership

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

// referralContacts follows whom hospitals say that nobody must contact any more, after a referral has placed them.
func (s *server) referralContacts() events.Subscription {
	return events.Subscription{Name: "membership-contacts", Source: "referral", Handlers: map[string]events.Handler{
		"care.cairn.referral.referral.contact_changed.v1": s.contactChanged,
		// The hospital may have said so while the referral was being accepted.
		"care.cairn.referral.referral.accepted.v1": s.contactChanged,
	}}
}

func (s *server) contactChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m referralv1.ReferralChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	if !m.GetDoNotContact() || m.GetMembership() == "" {
		return nil, nil // that she may be contacted is hers to say
	}
	id, err := aip.ParseName("membership", "memberships", m.GetMembership())
	if err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+memberColumns+` FROM members WHERE id = (SELECT member_id FROM memberships WHERE id = $1) FOR NO KEY UPDATE`, id)
		if err != nil {
			return fmt.Errorf("find member: %w", err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[memberRow])
		if err != nil {
			return fmt.Errorf("find member: %w", err)
		}
		if len(found) == 0 || found[0].DoNotContact || len(found[0].DataKey) == 0 {
			return nil
		}
		b := new(pgx.Batch)
		if _, err := s.rewriteMember(ctx, b, found[0], func(m *membershipv1.Member) error {
			m.DoNotContact = true
			return nil
		}); err != nil {
			return err
		}
		return send(ctx, tx, b)
	}, nil
}
