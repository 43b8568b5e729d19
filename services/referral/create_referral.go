package referral

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CreateReferral implements ReferralService: after the peers have been asked, row, timeline, event, audit and kept answer
// in one round trip, and that person's record with it, if she is new.
func (s *server) CreateReferral(ctx context.Context, req *referralv1.CreateReferralRequest) (*referralv1.Referral, error) {
	const prefix = "referral."
	m, now := req.GetReferral(), s.clock.Now()
	bad := invalid(prefix, m, now)
	if !req.GetDraft() && m.GetPatient() == "" {
		bad = append(bad, unsendable(prefix, m, now)...)
	}
	if len(bad) > 0 {
		return nil, fault.Invalid(bad...)
	}
	org, err := s.referringOrganization(ctx, prefix, m)
	if err != nil {
		return nil, err
	}
	return s.createReferral(ctx, req, org, now, again{})
}

// mostAttempts is how often a person is looked for whose record others make or change at the same time.
const mostAttempts = 8

// createReferral makes a referral of an organization, in the place of another if after says so.
func (s *server) createReferral(ctx context.Context, req *referralv1.CreateReferralRequest, org uuid.UUID, now time.Time, after again) (*referralv1.Referral, error) {
	for attempt := 1; ; attempt++ {
		answer, err := s.tryCreate(ctx, req, org, now, after)
		switch {
		case !personChanged(err):
			return answer, err
		case attempt == mostAttempts:
			return nil, fault.Aborted("CHANGED_MEANWHILE", "the person's record is being changed by others: repeat the call")
		}
		// Somebody has just made or changed the record of the same person: she is found, as she is now, in a moment.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(rand.N(time.Duration(attempt) * 10 * time.Millisecond)): //nolint:gosec // jitter
		}
	}
}

func (s *server) tryCreate(ctx context.Context, req *referralv1.CreateReferralRequest, org uuid.UUID, now time.Time, after again) (*referralv1.Referral, error) {
	const prefix = "referral."
	m := proto.CloneOf(req.GetReferral()) // it is written into: another attempt begins with what was asked
	r := &row{ID: aip.NewID(), OrgID: org, CreateTime: now, UpdateTime: now}
	r.PreviousID = after.id()
	var err error
	if r.RequestedGroupID, err = optionalID(prefix+"requested_group", "groups", m.GetRequestedGroup()); err != nil {
		return nil, err
	}
	if r.OwnerOrgID, err = optionalID(prefix+"owner_organization", "organizations", m.GetOwnerOrganization()); err != nil {
		return nil, err
	}
	// The person is looked for while the peers are asked.
	var w *whom
	var unknown error
	var looked sync.WaitGroup
	looked.Go(func() { w, unknown = s.whoIs(ctx, nil, prefix, r, m, req.GetKnownPatient()) })
	to := &addressee{org: r.OwnerOrgID}
	if !req.GetDraft() {
		to, err = s.address(ctx, prefix, r)
	}
	looked.Wait()
	if err := cmp.Or(unknown, err); err != nil {
		return nil, err
	}
	if !req.GetDraft() {
		if bad := unsendable(prefix, m, now); len(bad) > 0 {
			return nil, fault.Invalid(bad...)
		}
	}
	if r.DataKey, _, err = s.keys.NewDataKey(); err != nil {
		return nil, err
	}
	if err := s.fill(r, m); err != nil {
		return nil, err
	}
	r.link(w)
	t := transition{action: created, to: draft}
	if !req.GetDraft() {
		r.OwnerOrgID = to.org
		t = transition{from: draft, action: send, to: sent}
	}
	c := s.newChange(r, actorFrom(ctx))
	c.now = now
	if err := c.take(t, entry{by: referrer, note: after.note}); err != nil {
		return nil, err
	}
	if err := c.raise(); err != nil {
		return nil, err
	}
	answer, err := s.toProto(r, whole)
	if err != nil {
		return nil, err
	}
	// Others of hers are changed before it, or the organization that is asked is told by e-mail: a batch alone does neither.
	more := after.previous != nil || w != nil && w.hushed || s.mail.On() && r.State == sent && r.OwnerOrgID != nil
	if !more {
		c.batch = s.db.Batch(ctx)
		s.writePerson(c.batch, w)
	}
	if err := c.flush(ctx, insertReferral); err != nil {
		return nil, err
	}
	if err := idem.Save(ctx, c.batch, answer); err != nil {
		return nil, err
	}
	if more {
		return answer, s.db.Tx(ctx, func(tx pgx.Tx) error {
			if err := s.tellPerson(ctx, tx, w, uuid.Nil, c.actor); err != nil {
				return err
			}
			if err := after.write(ctx, s, tx, c); err != nil {
				return err
			}
			return s.tellAsked(ctx, tx, r)
		})
	}
	if err := s.db.Send(ctx, c.batch); err != nil {
		return nil, fmt.Errorf("insert referral: %w", err)
	}
	return answer, nil
}

// referringOrganization returns for whom the caller refers: its own organization, or any that an internal app names.
func (s *server) referringOrganization(ctx context.Context, prefix string, m *referralv1.Referral) (uuid.UUID, error) {
	t := auth.TenantFrom(ctx)
	if m.GetOrganization() == "" {
		if t.Org == uuid.Nil {
			return uuid.Nil, fault.Invalid(fault.Field(prefix+"organization", "is needed: the caller belongs to no organization"))
		}
		return t.Org, nil
	}
	id, err := aip.ParseName(prefix+"organization", "organizations", m.GetOrganization())
	switch {
	case err != nil:
		return uuid.Nil, err
	case id == t.Org:
		return id, nil
	case !t.All:
		return uuid.Nil, fault.Invalid(fault.Field(prefix+"organization", "is not your organization: leave it out"))
	}
	if _, err := s.organization(ctx, id); err != nil {
		return uuid.Nil, err
	}
	return id, nil
}
