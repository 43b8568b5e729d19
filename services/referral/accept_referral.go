package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// AcceptReferral implements ReferralService: the intent is written down, membership seats the person, and one transaction
// writes what came of it. Whoever dies in between is followed by a job.
func (s *server) AcceptReferral(ctx context.Context, req *referralv1.AcceptReferralRequest) (*referralv1.Referral, error) {
	id, err := aip.ParseName("name", "referrals", req.GetName())
	if err != nil {
		return nil, err
	}
	if req.GetFillerSystem() != "" && req.GetFillerNumber() == "" {
		return nil, fault.Invalid(fault.Field("filler_system", "goes with a filler_number, which is missing"))
	}
	tenant := auth.TenantFrom(ctx)
	var r *row
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		r, err = find(ctx, tx, tenant, id)
		return err
	}); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fault.NotFound(req.GetName())
	}
	if _, err := check(req.GetName(), r.State, accept, r.parties(tenant)); err != nil {
		return s.acceptedBefore(ctx, req, id, err)
	}
	if err := s.mayAccept(r); err != nil {
		return nil, err
	}
	group, err := s.placingGroup(ctx, req, r)
	if err != nil {
		return nil, err
	}
	p, err := s.intend(ctx, req, id, group)
	if err != nil {
		return s.acceptedBefore(ctx, req, id, err)
	}
	var answer *referralv1.Referral
	_, err = s.place(ctx, r, p, func(ctx context.Context, tx pgx.Tx, c *change) (err error) {
		answer, err = c.answer(ctx, tx, viewFor(tenant, c.row))
		return err
	})
	return answer, err
}

// acceptedBefore answers a call with a request_id that cannot accept any more because the job has ended, in the meantime, what the same
// caller had begun: with the referral as it is now. Otherwise it returns the refusal.
func (s *server) acceptedBefore(ctx context.Context, req *referralv1.AcceptReferralRequest, id uuid.UUID, refusal error) (answer *referralv1.Referral, err error) {
	if req.GetRequestId() == "" {
		return nil, refusal
	}
	tenant, a := auth.TenantFrom(ctx), actorFrom(ctx)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if r == nil || r.AcceptTime == nil || ended(r.State) || req.GetGroup() != "" && req.GetGroup() != optionalName("groups", r.GroupID) ||
			req.GetFillerNumber() != r.FillerNumber {
			return refusal
		}
		var own bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM referral_events WHERE referral_id = @id AND action = @accept AND actor = @actor
			AND actor_org_id IS NOT DISTINCT FROM @org)`,
			pgx.NamedArgs{"id": id, "accept": int32(accept), "actor": a.name, "org": a.org}).Scan(&own); err != nil {
			return fmt.Errorf("find who accepted: %w", err)
		}
		if !own {
			return refusal
		}
		c := s.newChange(r, a)
		answer, err = c.answer(ctx, tx, viewFor(tenant, r))
		return err
	})
	return answer, err
}

// placingGroup returns the group that is to take the person: one of the owner's.
func (s *server) placingGroup(ctx context.Context, req *referralv1.AcceptReferralRequest, r *row) (uuid.UUID, error) {
	id := r.RequestedGroupID
	if req.GetGroup() != "" {
		named, err := aip.ParseName("group", "groups", req.GetGroup())
		if err != nil {
			return uuid.Nil, err
		}
		id = &named
	}
	if id == nil {
		return uuid.Nil, fault.Invalid(fault.Field("group", "is needed: the referral asks for no group by name"))
	}
	name := aip.Name("groups", *id)
	owner := optionalName("organizations", r.OwnerOrgID)
	g, err := s.groups.GetGroup(auth.System(ctx, service), &groupsv1.GetGroupRequest{Name: name})
	switch {
	case status.Code(err) == codes.NotFound || err == nil && g.GetOrganization() != owner: // alike: another's draft is nobody's business
		return uuid.Nil, fault.Invalid(fault.Field("group", "%s is no group of %s, which owns the referral", name, owner))
	case err != nil:
		return uuid.Nil, fmt.Errorf("get group: %w", err)
	}
	return *id, nil
}

// intend writes down that the person is to be placed in the group, or finds that it has been written down before.
func (s *server) intend(ctx context.Context, req *referralv1.AcceptReferralRequest, id, group uuid.UUID) (p *placementRow, err error) {
	tenant := auth.TenantFrom(ctx)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if r == nil {
			return fault.NotFound(req.GetName())
		}
		if _, err := check(req.GetName(), r.State, accept, r.parties(tenant)); err != nil {
			return err
		}
		if err := s.mayAccept(r); err != nil {
			return err
		}
		if p, err = findPlacement(ctx, tx, id); err != nil {
			return err
		}
		if p != nil && p.Kind == release {
			return fault.Precondition("PLACEMENT_UNDER_WAY", req.GetName(), "the seat that the person had before is just being given back: accept again in a minute")
		}
		if p != nil {
			if *p.GroupID != group {
				return fault.Precondition("PLACEMENT_UNDER_WAY", req.GetName(), "the person is just being placed in %s: wait for what comes of it", optionalName("groups", p.GroupID))
			}
			return nil
		}
		if err := aip.CheckETag(req.GetEtag(), r.Revision); err != nil {
			return err
		}
		a, now := actorFrom(ctx), s.clock.Now()
		p = &placementRow{
			ReferralID: id, Kind: place, RequestID: aip.NewID(), GroupID: &group, FillerNumber: req.GetFillerNumber(), FillerSystem: req.GetFillerSystem(),
			Actor: a.name, ActorOrgID: a.org, CreateTime: now, RetryTime: now.Add(retryFirst),
		}
		if p.Note, err = s.seal(r, placeNoteField, req.GetNote()); err != nil {
			return err
		}
		b := new(pgx.Batch)
		insertPlacement(b, p)
		return sendBatch(ctx, tx, b)
	})
	return p, err
}
