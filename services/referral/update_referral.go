package referral

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
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
	for attempt := 1; ; attempt++ {
		answer, err := s.tryUpdate(ctx, id, req)
		switch moved := errors.Is(err, errMoved) || personChanged(err); {
		case moved && attempt < mostAttempts: // others have just changed the draft, or the record of its person
		case moved:
			return nil, fault.Aborted("CHANGED_MEANWHILE", "%s or its person's record is just being changed by others: repeat the call", name)
		default:
			return answer, err
		}
	}
}

func (s *server) tryUpdate(ctx context.Context, id uuid.UUID, req *referralv1.UpdateReferralRequest) (answer *referralv1.Referral, err error) {
	name, tenant := req.GetReferral().GetName(), auth.TenantFrom(ctx)
	var to *sending
	if req.GetSend() {
		if to, err = s.sendingTo(ctx, tenant, id, req); err != nil {
			return nil, err
		}
	}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM referrals r JOIN patients p ON p.id = r.patient_id WHERE r.id = $1 FOR NO KEY UPDATE OF p`, id); err != nil {
			return fmt.Errorf("lock patient: %w", err)
		}
		r, err := find(ctx, tx, tenant, id)
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
			return errMoved
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
		if r, err = s.lockAfterPerson(ctx, tx, r, w, actorFrom(ctx)); err != nil {
			return err
		}
		before, inDanger := r.Consent, r.danger()
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
		if err := c.raiseAgain(ctx, tx, inDanger); err != nil {
			return err
		}
		if answer, err = s.toProto(r, viewFor(tenant, r)); err != nil {
			return err
		}
		if err := c.flush(ctx, func(b *pgx.Batch, r *row) {
			updateDraft(b, r)
			updateReferral(b, r)
		}); err != nil {
			return err
		}
		if err := idem.Save(ctx, c.batch, answer); err != nil {
			return err
		}
		if err := sendBatch(ctx, tx, c.batch); err != nil {
			return err
		}
		return s.tellAsked(ctx, tx, r)
	})
	return answer, err
}

// changeable are the fields of a draft that its referrer can change.
func changeable() []string {
	return []string{
		"author", "placer_number", "placer_system", "subject", "reason_codes", "needs", "distress", "self_harm_risk", "urgency", "consent",
		"requested_group", "owner_organization", "deadline", "patient", "author_time",
	}
}
