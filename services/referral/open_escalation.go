package referral

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
)

// escalationEvents follows which safety concerns ask for more help than a group gives.
func (s *server) escalationEvents() events.Subscription {
	return events.Subscription{Name: "referral-escalations", Source: "membership", Handlers: map[string]events.Handler{
		"care.cairn.membership.safety_concern.raised.v1":    s.concernChanged,
		"care.cairn.membership.safety_concern.escalated.v1": s.concernChanged,
	}}
}

// concernChanged opens the escalation referral of a concern that has one. Its name was given by membership, so that it is opened
// once however often that is told.
func (s *server) concernChanged(ctx context.Context, e *events.Received) (events.Write, error) {
	var m membershipv1.SafetyConcernChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	if m.GetReferral() == "" {
		return nil, nil
	}
	id, err := poisoned("referral", "referrals", m.GetReferral())
	if err != nil {
		return nil, err
	}
	concern, err := poisoned("safety_concern", "safetyConcerns", m.GetSafetyConcern())
	if err != nil {
		return nil, err
	}
	org, err := poisoned("organization", "organizations", m.GetOrganization())
	if err != nil {
		return nil, err
	}
	if known, err := s.opened(ctx, id); err != nil || known {
		return nil, err
	}
	asked, err := s.safety.GetEscalation(auth.System(ctx, service), &membershipv1.GetEscalationRequest{Name: m.GetSafetyConcern()})
	if status.Code(err) == codes.NotFound {
		return nil, nil // whom it was about has been erased meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("get escalation: %w", err)
	}
	r := &row{ID: id, OrgID: org, CreateTime: s.clock.Now(), ConcernID: &concern}
	if r.DataKey, _, err = s.keys.NewDataKey(); err != nil {
		return nil, err
	}
	if err := s.fill(r, escalationOf(asked)); err != nil {
		return nil, err
	}
	if r.ParentID, err = optionalID("parent", "referrals", asked.GetParentReferral()); err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx pgx.Tx) error { return s.openEscalation(ctx, tx, r) }, nil
}

// opened tells whether a referral is there, or its person has been erased.
func (s *server) opened(ctx context.Context, id uuid.UUID) (known bool, err error) {
	b := s.db.Batch(ctx)
	b.Queue(`SELECT EXISTS (SELECT FROM referrals WHERE id = $1) OR EXISTS (SELECT FROM erased_referrals WHERE referral_id = $1)`, id).
		QueryRow(func(row pgx.Row) error { return row.Scan(&known) })
	if err := s.db.Send(ctx, b); err != nil {
		return false, fmt.Errorf("find referral: %w", err)
	}
	return known, nil
}

// openEscalation writes a new escalation, unless it is there or its person has been erased meanwhile.
func (s *server) openEscalation(ctx context.Context, tx pgx.Tx, r *row) error {
	if err := lockKey(ctx, tx, "referrals", r.ID); err != nil {
		return err
	}
	var known bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM referrals WHERE id = $1) OR EXISTS (SELECT FROM erased_referrals WHERE referral_id = $1)`, r.ID).Scan(&known); err != nil {
		return fmt.Errorf("find referral: %w", err)
	}
	if known {
		return nil
	}
	p, err := s.newPatient(r.OrgID, r.body.subject, r.CreateTime)
	if err != nil {
		return err
	}
	r.PatientID = &p.ID
	c := s.newChange(r, told("membership"))
	if err := c.take(transition{from: draft, action: send, to: sent}, entry{by: referrer}); err != nil {
		return err
	}
	return errors.Join(c.flush(ctx, func(b *pgx.Batch, r *row) {
		s.insertPatient(b, p)
		insertReferral(b, r)
		b.Queue(`UPDATE referrals SET parent_id = $2, concern_id = $3 WHERE id = $1`, r.ID, r.ParentID, r.ConcernID)
	}), sendBatch(ctx, tx, c.batch))
}

// escalationOf returns the referral to group therapy of the person whom a concern is about. Whoever claims it is shown what she
// needs and nothing that names her: what more is told is for the organization of the group to agree with her.
func escalationOf(e *membershipv1.Escalation) *referralv1.Referral {
	p, c := e.GetMember(), e.GetSafetyConcern()
	name := strings.TrimSpace(p.GetLegalName())
	if name == "" {
		name = p.GetAlias()
	}
	r := &referralv1.Referral{
		Author: "Safety concern of a support group",
		Subject: &referralv1.Referral_Subject{
			GivenName: clipped(name, 120), Phone: p.GetPhone(), Email: p.GetEmail(), DoNotContact: p.GetDoNotContact(),
			ContactPreference: map[membershipv1.Member_ContactChannel]referralv1.Referral_Subject_ContactPreference{
				membershipv1.Member_EMAIL:        referralv1.Referral_Subject_EMAIL,
				membershipv1.Member_PHONE_CALL:   referralv1.Referral_Subject_CALL,
				membershipv1.Member_TEXT_MESSAGE: referralv1.Referral_Subject_TEXT_MESSAGE,
			}[p.GetPreferredChannel()],
		},
		Needs: &referralv1.Needs{
			CancerTypes: p.GetCancerTypes(), Languages: p.GetLanguages(), Country: p.GetArea().GetCountry(), Times: p.GetSuitableTimes(),
			Role: map[membershipv1.Member_Role]referralv1.Needs_Role{
				membershipv1.Member_PATIENT: referralv1.Needs_PATIENT, membershipv1.Member_SURVIVOR: referralv1.Needs_SURVIVOR,
				membershipv1.Member_CAREGIVER: referralv1.Needs_CAREGIVER, membershipv1.Member_FAMILY: referralv1.Needs_FAMILY,
				membershipv1.Member_BEREAVED: referralv1.Needs_BEREAVED,
			}[p.GetRole()],
			Kinds: []groupsv1.Group_Kind{groupsv1.Group_GROUP_THERAPY},
		},
		Urgency:      referralv1.Referral_URGENT,
		SelfHarmRisk: c.GetKind() == membershipv1.SafetyConcern_SELF_HARM_RISK,
	}
	if p.GetBirthYear() != 0 {
		r.Subject.BirthDate = &date.Date{Year: p.GetBirthYear()}
	}
	if c.GetSeverity() == membershipv1.SafetyConcern_URGENT {
		r.Urgency = referralv1.Referral_STAT
	}
	return r
}

// clipped returns at most n characters of a text.
func clipped(s string, n int) string {
	runes := []rune(s)
	return string(runes[:min(n, len(runes))])
}
