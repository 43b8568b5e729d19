package referral

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// answerToEnd is how long the referrer has to say what becomes of an unanswered referral whose consent has ended.
const answerToEnd = 3 * day

// consentRow is a row of consent_versions.
type consentRow struct {
	ReferralID uuid.UUID
	Number     int32
	OrgID      uuid.UUID
	Consent    []byte
	CreateTime time.Time
	EndTime    time.Time
	Actor      string
}

const consentColumns = `referral_id, number, org_id, consent, create_time, end_time, actor`

// lapsed tells whether a SENT referral waits for an answer that nobody can give: its consent has ended.
func (r *row) lapsed(now time.Time) (bool, error) {
	if r.State != sent || r.Awaiting != receiver {
		return false, nil
	}
	c, err := r.consent()
	return err == nil && consentEnded(c, now), err
}

// askReferrer makes it the referrer's turn to say what becomes of a SENT referral whose consent has ended.
func (r *row) askReferrer(now time.Time) {
	due := now.Add(answerToEnd)
	if r.Deadline != nil && r.Deadline.Before(due) {
		due = *r.Deadline
	}
	r.Awaiting, r.DueTime, r.OverdueTime = referrer, &due, nil
	r.plan(now)
}

// consentExpired does what follows when the consent ends before anybody has answered.
func (s *server) consentExpired(ctx context.Context, tx pgx.Tx, c *change) error {
	c.row.askReferrer(c.now)
	back, err := c.takenBack(ctx, tx, nil)
	if err != nil {
		return err
	}
	if err := c.announce(noteConsentExpired, entry{by: system, tells: back}); err != nil {
		return err
	}
	if owner := c.row.OwnerOrgID; owner != nil {
		if err := s.notify(ctx, tx, c.row, noticeLapsed, *owner); err != nil {
			return err
		}
	}
	return s.notify(ctx, tx, c.row, noticeRenew, c.row.OrgID)
}

// sweepConsents tells the groups that people were placed in of the consents that have ended by their own time. One of which it cannot
// does not keep the others from it; the error tells of it.
func (s *server) sweepConsents(ctx context.Context) error {
	var broken []error
	var after uuid.UUID
	for {
		now := s.clock.Now()
		var over []uuid.UUID
		if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
			// As text for the index, which knows whole seconds, and as a time.
			over, err = ids(ctx, tx, `SELECT id FROM referrals
				WHERE accept_time IS NOT NULL AND NOT consent_over AND NOT consent ? 'withdrawTime' AND id > @after
					AND (consent ->> 'expireTime') COLLATE "C" < @soon AND (consent ->> 'expireTime')::timestamptz <= @now
				ORDER BY id LIMIT @n`,
				pgx.NamedArgs{"after": after, "now": now, "soon": now.Add(time.Second).UTC().Format(time.RFC3339), "n": atOnce})
			return err
		}); err != nil {
			return errors.Join(append(broken, fmt.Errorf("find consents that have ended: %w", err))...)
		}
		for _, id := range over {
			if err := s.endConsent(ctx, id); err != nil {
				broken = append(broken, fmt.Errorf("%s: %w", aip.Name("referrals", id), err))
			}
			after = id
		}
		if len(over) < atOnce || ctx.Err() != nil {
			return errors.Join(broken...)
		}
	}
}

// endConsent tells of the end of the consent of a person who was placed, unless the consent is another by now.
func (s *server) endConsent(ctx context.Context, id uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, auth.TenantFrom(ctx), id)
		if err != nil || r == nil || r.ConsentOver || r.AcceptTime == nil {
			return err
		}
		c := s.newChange(r, told(service))
		if m, err := r.consent(); err != nil || m.GetWithdrawTime() != nil || !consentEnded(m, c.now) {
			return err
		}
		r.ConsentOver = true
		back, err := c.takenBack(ctx, tx, nil)
		if err != nil {
			return err
		}
		if err := c.announce(noteConsentExpired, entry{by: system, tells: back}); err != nil {
			return err
		}
		return c.save(ctx, tx)
	})
}

// consentSince returns when a row's consent was recorded.
func (r *row) consentSince() time.Time {
	if r.ConsentTime != nil {
		return *r.ConsentTime
	}
	return r.CreateTime
}

// supersede numbers the row's consent, which has been put in place of another, and keeps that one as a version.
func (c *change) supersede(consent []byte) {
	r := c.row
	old := &consentRow{
		ReferralID: r.ID, Number: max(r.ConsentVersion, 1), OrgID: r.OrgID, Consent: consent, CreateTime: r.consentSince(), EndTime: c.now,
		Actor: r.ConsentActor,
	}
	r.ConsentVersion, r.ConsentTime, r.ConsentActor, r.ConsentOver = old.Number+1, &c.now, c.actor.name, false
	c.steps = append(c.steps, func(_ context.Context, b *pgx.Batch) error {
		b.Queue(`INSERT INTO consent_versions (`+consentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			old.ReferralID, old.Number, old.OrgID, old.Consent, old.CreateTime, old.EndTime, old.Actor)
		return nil
	})
}

// consentTo puts another consent in place of the row's, which is kept as a version.
func (c *change) consentTo(ctx context.Context, tx pgx.Tx, next *referralv1.Referral_Consent, a action, by party) error {
	r := c.row
	was, err := r.consent()
	if err != nil {
		return err
	}
	raw, err := protojson.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode consent: %w", err)
	}
	c.supersede(r.Consent)
	r.Consent, r.body.consent = raw, next
	back, err := c.takenBack(ctx, tx, was)
	if err != nil {
		return err
	}
	if err := c.announce(a, entry{by: by, tells: back}); err != nil {
		return err
	}
	c.placeAnew()
	return nil
}

// placeAnew has a placing that is under way begun anew, with what membership may be told now.
func (c *change) placeAnew() {
	id := c.row.ID
	c.steps = append(c.steps, func(_ context.Context, b *pgx.Batch) error {
		b.Queue(`UPDATE placements SET request_id = $2, create_time = $3 WHERE referral_id = $1 AND kind = 'PLACE'`, id, aip.NewID(), c.now)
		return nil
	})
}

// writeConsent queues what [updateReferral] leaves.
func writeConsent(b *pgx.Batch, r *row) {
	b.Queue(`UPDATE referrals SET consent = $2 WHERE id = $1`, r.ID, r.Consent)
}

// tellOwner tells the owner by e-mail that the consent is another.
func (s *server) tellOwner(ctx context.Context, tx pgx.Tx, r *row) error {
	if r.OwnerOrgID == nil {
		return nil
	}
	return s.notify(ctx, tx, r, noticeConsent, *r.OwnerOrgID)
}

// mayAccept refuses to accept, claim or assign a referral when its consent has ended: taken back, or its time is over.
func (s *server) mayAccept(r *row) error {
	c, err := r.consent()
	if err != nil {
		return err
	}
	if consentEnded(c, s.clock.Now()) {
		return fault.Precondition("CONSENT_ENDED", r.name(), "the person's consent has ended: the referrer can record a new one, or cancel the referral")
	}
	return nil
}

func (c *consentRow) toProto() (*referralv1.ConsentVersion, error) {
	m := new(referralv1.Referral_Consent)
	if err := protojson.Unmarshal(c.Consent, m); err != nil {
		return nil, fmt.Errorf("%s: consent: %w", aip.Name("referrals", c.ReferralID), err)
	}
	return &referralv1.ConsentVersion{
		Name: consentName(c.ReferralID, c.Number), Consent: m, CreateTime: timestamp(&c.CreateTime), EndTime: timestamp(&c.EndTime), Actor: c.Actor,
	}, nil
}

func consentName(referral uuid.UUID, number int32) string {
	return fmt.Sprintf("%s/consentVersions/%d", aip.Name("referrals", referral), cmp.Or(number, 1))
}
