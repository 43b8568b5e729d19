package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/archive"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/mail"
)

// exportProcess adds to a person's archive what was written between the organizations about her, what was recommended for her, what
// she allowed when, to whom she was shown, and which concerns there were. hers selects the ids of her referrals.
func (s *server) exportProcess(ctx context.Context, out *archive.Writer, hers string, args pgx.NamedArgs, byID map[uuid.UUID]*row) error {
	var messages []*messageRow
	var consents []*consentRow
	var concerns []*concernRow
	var made []*recommendationRow
	type shownRow struct {
		ReferralID uuid.UUID
		disclosureRow
	}
	var shown []*shownRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+messageColumns+` FROM messages WHERE referral_id IN (`+hers+`) ORDER BY referral_id, id`, args).Query(collect(&messages))
	b.Queue(`SELECT `+consentColumns+` FROM consent_versions WHERE referral_id IN (`+hers+`) ORDER BY referral_id, number`, args).Query(collect(&consents))
	b.Queue(`SELECT `+concernColumns+` FROM concerns WHERE referral_id IN (`+hers+`) ORDER BY referral_id`, args).Query(collect(&concerns))
	b.Queue(`SELECT `+recommendationColumns+` FROM recommendations WHERE referral_id IN (`+hers+`) ORDER BY referral_id, id`, args).Query(collect(&made))
	b.Queue(`SELECT d.referral_id, d.day, d.recipient_id, d.actor, d.consent_version, d.first_time, d.last_time, d.times, v.consent
		FROM disclosures d LEFT JOIN consent_versions v ON v.referral_id = d.referral_id AND v.number = d.consent_version
		WHERE d.referral_id IN (`+hers+`) ORDER BY d.referral_id, d.day, d.recipient_id, d.actor, d.consent_version`, args).Query(collect(&shown))
	if err := s.db.Send(ctx, b); err != nil {
		return fmt.Errorf("find what belongs to referrals: %w", err)
	}
	for _, row := range ofThese(messages, byID, func(r *messageRow) uuid.UUID { return r.ReferralID }) {
		m, err := s.messageToProto(byID[row.ReferralID], row)
		if err != nil {
			return err
		}
		m.Actor = "" // who worked there is not hers
		if err := out.Add("referralMessage", byID[row.ReferralID].name(), m); err != nil {
			return err
		}
	}
	for _, row := range ofThese(consents, byID, func(r *consentRow) uuid.UUID { return r.ReferralID }) {
		m, err := row.toProto()
		if err != nil {
			return err
		}
		m.Actor = ""
		if err := out.Add("consentVersion", byID[row.ReferralID].name(), m); err != nil {
			return err
		}
	}
	for _, row := range ofThese(concerns, byID, func(r *concernRow) uuid.UUID { return r.ReferralID }) {
		m := row.toProto()
		note, err := s.open(byID[row.ReferralID], concernNoteField, row.OutcomeNote)
		if err != nil {
			return err
		}
		m.OutcomeNote, m.AcknowledgedBy, m.ClosedBy = note, "", ""
		if err := out.Add("referralConcern", byID[row.ReferralID].name(), m); err != nil {
			return err
		}
	}
	for _, row := range ofThese(made, byID, func(r *recommendationRow) uuid.UUID { return r.ReferralID }) {
		m, err := row.toProto(byID[row.ReferralID])
		if err != nil {
			return err
		}
		if err := out.Add("recommendation", byID[row.ReferralID].name(), m); err != nil {
			return err
		}
	}
	for _, row := range ofThese(shown, byID, func(r *shownRow) uuid.UUID { return r.ReferralID }) {
		m, err := row.toProto(byID[row.ReferralID])
		if err != nil {
			return err
		}
		m.Actor = ""
		if err := out.Add("disclosure", byID[row.ReferralID].name(), m); err != nil {
			return err
		}
	}
	return nil
}

// eraseProcess queues that what was written about an erased person goes, and that nobody is told of her any more. To whom she was shown
// stays, as it names her referral alone.
func (s *server) eraseProcess(ctx context.Context, tx pgx.Tx, c *change) error {
	r := c.row
	c.batch.Queue(`DELETE FROM messages WHERE referral_id = $1`, r.ID)
	c.batch.Queue(`DELETE FROM consent_versions WHERE referral_id = $1`, r.ID)
	c.batch.Queue(`DELETE FROM recommendations WHERE referral_id = $1`, r.ID)
	c.batch.Queue(`UPDATE referrals SET unread_referrer = 0 WHERE id = $1`, r.ID)
	c.batch.Queue(`DELETE FROM member_wishes WHERE member_id = $1`, r.MemberID)
	r.UnreadReceiver, r.MemberID = 0, nil
	mail.Withdraw(c.batch, r.name(), c.now)
	mail.Withdraw(c.batch, unreadBy(r.ID, r.OrgID), c.now)
	open, err := lockConcern(ctx, tx, auth.TenantFrom(ctx), r.ID)
	if err != nil || open == nil {
		return err
	}
	open.OutcomeNote = nil
	if open.State == referralv1.ReferralConcern_CLOSED {
		c.batch.Queue(`UPDATE concerns SET outcome_note = NULL WHERE referral_id = $1`, r.ID)
		return nil
	}
	open.State, open.Outcome, open.CloseTime = referralv1.ReferralConcern_CLOSED, referralv1.ReferralConcern_PERSON_ERASED, &c.now
	open.ClosedBy, open.DueTime, open.TellTime = service, nil, nil
	return open.write(ctx, c.batch, "closed", c.now)
}
