package referral

import (
	"context"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// UpdateReferral implements ReferralService.
func (s *server) UpdateReferral(ctx context.Context, req *referralv1.UpdateReferralRequest) (*referralv1.Referral, error) {
	name := req.GetReferral().GetName()
	id, err := aip.ParseName("referral.name", "referrals", name)
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	var to *sending
	if req.GetSend() {
		if to, err = s.sendingTo(ctx, tenant, id, req); err != nil {
			return nil, err
		}
	}
	var answer *referralv1.Referral
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, tenant, id)
		switch {
		case err != nil:
			return err
		case r == nil:
			return fault.NotFound(name)
		case tenant.Org != r.OrgID && !tenant.All:
			return fault.Denied("WRONG_PARTY", "only the referrer changes what a referral says")
		case r.State != draft:
			return fault.Precondition("NOT_A_DRAFT", name, "a referral that is %s stays as it was sent: cancel it and send another", r.State)
		}
		if err := aip.CheckETag(req.GetReferral().GetEtag(), r.Revision); err != nil {
			return err
		}
		if to != nil && to.revision != r.Revision {
			return fault.Aborted("CHANGED_MEANWHILE", "%s has just been changed: read it again and repeat the call", name)
		}
		m, err := s.toProto(r, whole)
		if err != nil {
			return err
		}
		was := proto.CloneOf(m)
		if _, err := aip.Masked(req.GetUpdateMask(), m, req.GetReferral(), changeable()...); err != nil {
			return err
		}
		changed := !proto.Equal(was, m)
		if bad := invalid("referral.", m, s.clock.Now()); len(bad) > 0 {
			return fault.Invalid(bad...)
		}
		w, err := s.whoNow(ctx, tx, r, was, m)
		if err != nil {
			return err
		}
		before := r.Consent
		if err := s.fill(r, m); err != nil {
			return err
		}
		r.link(w)
		c := s.newChange(r, actorFrom(ctx))
		if !proto.Equal(r.body.consent, was.GetConsent()) {
			c.supersede(before)
		}
		if to == nil || changed {
			if err := c.note(noteUpdated, entry{by: referrer}); err != nil {
				return err
			}
		}
		if to != nil {
			if err := c.sendTo(to.org, tenant, m); err != nil {
				return err
			}
		}
		if err := c.raise(); err != nil {
			return err
		}
		if answer, err = s.toProto(r, viewFor(tenant, r)); err != nil {
			return err
		}
		if err := c.flush(ctx, func(b *pgx.Batch, r *row) {
			s.writePerson(b, w)
			updateDraft(b, r)
			updateReferral(b, r)
		}); err != nil {
			return err
		}
		if err := idem.Save(ctx, c.batch, answer); err != nil {
			return err
		}
		return sendBatch(ctx, tx, c.batch)
	})
	if personChanged(err) {
		return nil, fault.Aborted("CHANGED_MEANWHILE", "the person's record has just been changed: repeat the call")
	}
	return answer, err
}

// changeable are the fields of a draft that its referrer can change.
func changeable() []string {
	return []string{
		"author", "placer_number", "placer_system", "subject", "reason_codes", "needs", "distress", "self_harm_risk", "urgency", "consent",
		"requested_group", "owner_organization", "deadline", "patient", "author_time",
	}
}
