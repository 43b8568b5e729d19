package referral

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// again is the referral in whose place another is made; the zero value: none.
type again struct {
	previous *row
	note     string
}

func (a again) id() *uuid.UUID {
	if a.previous == nil {
		return nil
	}
	return &a.previous.ID
}

// write locks the one before, if there is one, writes of it that the person was referred again, and with that the new referral that made
// makes.
func (a again) write(ctx context.Context, s *server, tx pgx.Tx, made *change) error {
	if a.previous == nil {
		return sendBatch(ctx, tx, made.batch)
	}
	r, err := lock(ctx, tx, auth.TenantFrom(ctx), a.previous.ID)
	if err != nil {
		return err
	}
	if err := mayReferAgain(a.previous.name(), r, auth.TenantFrom(ctx)); err != nil {
		return err
	}
	if r.Revision != a.previous.Revision {
		return fault.Aborted("CHANGED_MEANWHILE", "%s has just been changed: read it again and repeat the call", r.name())
	}
	c := s.newChange(r, made.actor)
	c.now, c.batch = made.now, made.batch
	r.NextID = &made.row.ID
	// The referrer alone is told: who had her before does not see where she went.
	tells := func(m *referralv1.ReferralChanged) { m.OtherReferral, m.OwnerOrganization = made.row.name(), "" }
	if err := c.announce(noteReferredAgain, entry{by: referrer, tells: tells}); err != nil {
		return err
	}
	if err := c.flush(ctx, updateReferral); err != nil {
		return err
	}
	return sendBatch(ctx, tx, c.batch)
}

// ReferAgain implements ReferralProcessService: the new referral is made as CreateReferral makes one.
func (s *server) ReferAgain(ctx context.Context, req *referralv1.ReferAgainRequest) (*referralv1.Referral, error) {
	id, err := aip.ParseName("name", "referrals", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	var before *row
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		before, err = find(ctx, tx, tenant, id)
		return err
	}); err != nil {
		return nil, err
	}
	if err := mayReferAgain(req.GetName(), before, tenant); err != nil {
		return nil, err
	}
	m, err := s.referredAgain(req, before)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	bad := invalid("", m, now)
	if !req.GetDraft() && m.GetPatient() == "" {
		bad = append(bad, unsendable("", m, now)...)
	}
	if len(bad) > 0 {
		return nil, fault.Invalid(bad...)
	}
	return s.createReferral(ctx, &referralv1.CreateReferralRequest{Referral: m, Draft: req.GetDraft()}, before.OrgID, now,
		again{previous: before, note: req.GetNote()})
}

// mayReferAgain refuses what cannot be referred again, and those who cannot do it.
func mayReferAgain(name string, r *row, t auth.Tenant) error {
	switch {
	case r == nil:
		return fault.NotFound(name)
	case !t.All && t.Org != r.OrgID:
		return fault.Denied("WRONG_PARTY", "only the referrer refers again; your organization is the receiver of %s", name)
	case r.NextID != nil:
		return fault.Precondition("REFERRED_AGAIN", name, "the person has been referred again: %s", optionalName("referrals", r.NextID))
	case r.ErasedRevision > 0:
		return fault.Precondition("PERSON_ERASED", name, "the person's data were erased: nothing is left to refer")
	case r.State == rejected || r.State == failed || r.State == cancelled:
		return nil
	}
	return fault.Precondition("ILLEGAL_TRANSITION", name, "referAgain is for a referral that is REJECTED, FAILED or CANCELLED, not %s; one that is SENT can be assigned to somebody else", r.State)
}

// referredAgain is the new referral: what the referrer wrote before, and what it changes now.
func (s *server) referredAgain(req *referralv1.ReferAgainRequest, r *row) (*referralv1.Referral, error) {
	old, err := s.toProto(r, whole)
	if err != nil {
		return nil, err
	}
	m := &referralv1.Referral{
		Organization: old.GetOrganization(), Author: old.GetAuthor(), PlacerNumber: old.GetPlacerNumber(), PlacerSystem: old.GetPlacerSystem(),
		Patient: old.GetPatient(), ReasonCodes: old.GetReasonCodes(), Needs: old.GetNeeds(), Distress: old.Distress,
		SelfHarmRisk: old.GetSelfHarmRisk(), Urgency: cmp.Or(req.GetUrgency(), old.GetUrgency()), Consent: req.GetConsent(),
		RequestedGroup: req.GetRequestedGroup(), OwnerOrganization: req.GetOwnerOrganization(), Deadline: req.GetDeadline(),
		AuthorTime: req.GetAuthorTime(),
	}
	if m.GetPatient() == "" { // not linked to anybody yet
		m.Subject = proto.CloneOf(old.GetSubject())
	}
	if req.GetPlacerNumber() != "" || req.GetPlacerSystem() != "" {
		m.PlacerNumber, m.PlacerSystem = req.GetPlacerNumber(), req.GetPlacerSystem()
	}
	if m.GetConsent() == nil {
		if why := s.lapsed(old.GetConsent()); why != "" {
			return nil, fault.Precondition("CONSENT_ENDED", r.name(), "%s: ask her, and send the new consent with the call", why)
		}
		m.Consent = old.GetConsent()
	}
	return m, nil
}

// lapsed says why a consent cannot be carried over to another referral, "" if it can.
func (s *server) lapsed(c *referralv1.Referral_Consent) string {
	now := s.clock.Now()
	day := func(t *timestamppb.Timestamp) string { return t.AsTime().Format("2006-01-02") }
	switch {
	case c.GetWithdrawTime() != nil:
		return fmt.Sprintf("the person took back her consent on %s", day(c.GetWithdrawTime()))
	case c.GetExpireTime() != nil && !c.GetExpireTime().AsTime().After(now):
		return fmt.Sprintf("the person's consent ended on %s", day(c.GetExpireTime()))
	case c.GetExpireTime() == nil && len(c.GetShare()) > 0:
		return "the person's consent ended with the referral"
	}
	return ""
}
