package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

// referralConsents follows what people take back of the consent under which they were referred, and its end.
func (s *server) referralConsents() events.Subscription {
	return events.Subscription{Name: "membership-consents", Source: "referral", Handlers: map[string]events.Handler{
		"care.cairn.referral.referral.consent_withdrawn.v1": s.consentChanged,
		"care.cairn.referral.referral.consent_renewed.v1":   s.consentChanged, // it may be of less
		// She may have taken it back, or it may have ended, while the referral was being accepted.
		"care.cairn.referral.referral.accepted.v1":        s.consentChanged,
		"care.cairn.referral.referral.consent_expired.v1": s.consentChanged,
	}}
}

// consentChanged takes out of the record of who has not joined yet what her consent does not cover any more.
func (s *server) consentChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m referralv1.ReferralChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	if len(m.GetWithdrawnItems()) == 0 && !m.GetConsentEnded() {
		return nil, nil
	}
	referral, err := aip.ParseName("referral", "referrals", m.GetReferral())
	if err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		var membership uuid.UUID
		err := tx.QueryRow(ctx, `UPDATE referral_placements SET consent_revision = @revision
			WHERE referral_id = @referral AND membership_id IS NOT NULL AND consent_revision < @revision RETURNING membership_id`,
			pgx.NamedArgs{"referral": referral, "revision": e.Revision}).Scan(&membership)
		switch {
		case errors.Is(err, pgx.ErrNoRows): // not placed, or told before
			return nil
		case err != nil:
			return fmt.Errorf("find placement: %w", err)
		}
		row, err := lockReferredOnly(ctx, tx, membership)
		if err != nil || row == nil {
			return err
		}
		was, err := row.toFullProto(s.keys)
		if err != nil {
			return err
		}
		is := proto.CloneOf(was)
		if takeOut(is, &m); proto.Equal(is, was) {
			return nil
		}
		b := new(pgx.Batch)
		if _, err := s.rewriteMember(ctx, b, row, func(member *membershipv1.Member) error {
			takeOut(member, &m)
			return nil
		}); err != nil {
			return err
		}
		return send(ctx, tx, b)
	}, nil
}

// lockReferredOnly locks and returns the member of a membership that came of a referral, nil if anything of her came otherwise: she has
// joined a group of the organization, or has asked for a place without being referred.
func lockReferredOnly(ctx context.Context, tx pgx.Tx, membership uuid.UUID) (*memberRow, error) {
	rows, err := tx.Query(ctx, `SELECT `+memberColumns+` FROM members m
		WHERE id = (SELECT member_id FROM memberships WHERE id = $1) AND erase_time IS NULL AND NOT EXISTS (
			SELECT FROM memberships x WHERE x.member_id = m.id AND (x.activate_time IS NOT NULL OR x.referral_id IS NULL))
		FOR NO KEY UPDATE`, membership)
	if err != nil {
		return nil, fmt.Errorf("find member: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[memberRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return row, err
}

// takeOut clears of a member what her referral gave by what she has taken back.
func takeOut(m *membershipv1.Member, told *referralv1.ReferralChanged) {
	for _, item := range told.GetWithdrawnItems() {
		switch item {
		case referralv1.Referral_Consent_NAME:
			m.LegalName = ""
		case referralv1.Referral_Consent_BIRTH_DATE:
			m.BirthYear = 0
		case referralv1.Referral_Consent_CONTACT:
			m.Email, m.Phone, m.ContactNote, m.Area, m.PreferredChannel = "", "", "", nil, membershipv1.Member_CONTACT_CHANNEL_UNSPECIFIED
		case referralv1.Referral_Consent_CLINICAL:
			m.CancerTypes = nil
		}
	}
	if told.GetConsentEnded() { // nor is what she needs shown any more
		m.BirthYear, m.Languages, m.CancerTypes, m.SuitableTimes = 0, nil, nil, nil
	}
}
