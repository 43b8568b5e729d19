package referral

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
)

// wishEvents follows what the people whom referrals have placed do not want: to be contacted, or that their hospital is told more.
func (s *server) wishEvents() events.Subscription {
	return events.Subscription{Name: "referral-wishes", Source: "membership", Handlers: map[string]events.Handler{
		"care.cairn.membership.member.created.v1": s.memberChanged,
		"care.cairn.membership.member.updated.v1": s.memberChanged,
	}}
}

// wishes are what somebody does not want.
type wishes struct{ doNotContact, reportsStopped bool }

func (s *server) memberChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m membershipv1.MemberChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	member, err := poisoned("member", "members", m.GetMember())
	if err != nil {
		return nil, err
	}
	w := wishes{doNotContact: m.GetDoNotContact(), reportsStopped: m.GetReportsWithdrawn()}
	return func(ctx context.Context, tx pgx.Tx) error { return s.takeWishes(ctx, tx, member, w, e.Revision) }, nil
}

// takeWishes keeps what somebody does not want, and has her open referrals follow it. Of those who want everything nothing is kept.
func (s *server) takeWishes(ctx context.Context, tx pgx.Tx, member uuid.UUID, w wishes, revision int64) error {
	if err := lockKey(ctx, tx, "members", member); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO member_wishes (member_id, revision, do_not_contact, reports_stopped)
		SELECT @member, @revision, @contact, @reports
		WHERE @contact OR @reports OR EXISTS (SELECT FROM member_wishes WHERE member_id = @member)
		ON CONFLICT (member_id) DO UPDATE SET revision = excluded.revision, do_not_contact = excluded.do_not_contact,
			reports_stopped = excluded.reports_stopped WHERE member_wishes.revision < excluded.revision`,
		pgx.NamedArgs{"member": member, "revision": revision, "contact": w.doNotContact, "reports": w.reportsStopped})
	if err != nil {
		return fmt.Errorf("keep wishes: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil // stale, or nothing to keep
	}
	hers, err := ids(ctx, tx, `SELECT id FROM referrals WHERE member_id = @member ORDER BY id`, pgx.NamedArgs{"member": member})
	if err != nil {
		return fmt.Errorf("find referrals of a member: %w", err)
	}
	for _, id := range hers {
		r, err := lock(ctx, tx, auth.TenantFrom(ctx), id)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		c := s.newChange(r, told("membership"))
		if err := s.heed(ctx, tx, c, w); err != nil {
			return err
		}
		if err := c.save(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// wishesOf returns what a member does not want, as far as membership has told.
func wishesOf(ctx context.Context, tx pgx.Tx, member uuid.UUID) (w wishes, err error) {
	if err := lockKey(ctx, tx, "members", member); err != nil {
		return w, err
	}
	err = tx.QueryRow(ctx, `SELECT do_not_contact, reports_stopped FROM member_wishes WHERE member_id = $1`, member).Scan(&w.doNotContact, &w.reportsStopped)
	if errors.Is(err, pgx.ErrNoRows) {
		return w, nil
	}
	return w, err
}

// heed has a referral follow what its person does not want.
func (s *server) heed(ctx context.Context, tx pgx.Tx, c *change, w wishes) error {
	r := c.row
	if r.ErasedRevision > 0 {
		return nil
	}
	if w.doNotContact {
		p, err := s.subject(r)
		if err != nil {
			return err
		}
		if !p.GetDoNotContact() {
			if err := c.contact(system, func(p *referralv1.Referral_Subject) { p.DoNotContact = true }); err != nil {
				return err
			}
			writeSubject(c.batch, r)
		}
	}
	if w.reportsStopped == r.ReportsStopped || ended(r.State) {
		return nil
	}
	r.ReportsStopped = w.reportsStopped
	if w.reportsStopped {
		return c.announce(noteReportsStopped, entry{by: system})
	}
	if err := c.announce(noteReportsResumed, entry{by: system}); err != nil {
		return err
	}
	if err := s.settleBookings(ctx, tx, r.ID); err != nil {
		return err
	}
	return s.follow(ctx, tx, c)
}

// reports are the steps by which a receiver tells what became of somebody.
func reports(a action) bool {
	switch a {
	case schedule, recordNoShow, recordSessionOff, recordEngagement:
		return true
	}
	return false
}

// mayReport refuses to tell the referrer more of somebody who does not want it.
func mayReport(r *row, a action) error {
	if r.ReportsStopped && reports(a) {
		return fault.Precondition("REPORTS_STOPPED", r.name(), "the person does not want the referrer to be told more: complete the referral with the outcome UNKNOWN")
	}
	return nil
}

// mayReportOutcome refuses an outcome that says more than that there is none.
func mayReportOutcome(r *row, o *referralv1.Referral_Outcome) error {
	if !r.ReportsStopped || o.GetHelped() == referralv1.Referral_Outcome_UNKNOWN && o.GetNote() == "" && o.DistressAfter == nil {
		return nil
	}
	return fault.Precondition("REPORTS_STOPPED", r.name(), "the person does not want the referrer to be told more: the outcome must be UNKNOWN, without note and distress_after")
}
