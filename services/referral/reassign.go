package referral

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
)

// considered is how many recommended groups are looked at for an organization that has not had the referral.
const considered = 50

// offer is to whom a referral goes next; the zero offer is to whoever claims it.
type offer struct {
	group, org *uuid.UUID
}

// passOn gives a referral that nobody has answered to the next recommended organization; where there is none, or it cannot be found out
// for an hour, to whoever claims it; and where that is so already, it tells the referrer.
func (s *server) passOn(ctx context.Context, seen *row) error {
	asking, cancel := context.WithTimeout(ctx, oneFor)
	defer cancel()
	to, err := s.nextOwner(asking, seen)
	if err != nil && seen.nobodyFound() { // she has waited long enough for our peers
		s.log.WarnContext(ctx, "a referral goes on to whoever claims it: the next organization could not be found", "referral", seen.name(), "error", err)
	} else if err != nil {
		return fmt.Errorf("find the next organization: %w", errors.Join(err, s.putOff(ctx, seen)))
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		c, stuck, err := s.due(ctx, tx, seen.ID)
		if err != nil || c == nil || stuck || c.row.Revision != seen.Revision {
			return err
		}
		if lapsed, err := c.row.lapsed(c.now); err != nil || lapsed {
			return err // the next look asks the referrer
		}
		if to.org == nil && c.row.OwnerOrgID == nil {
			if err := s.tellReferrer(ctx, tx, c); err != nil {
				return err
			}
			return c.save(ctx, tx)
		}
		if err := s.hand(ctx, tx, c, to, entry{by: system}); err != nil {
			return err
		}
		if err := s.notify(ctx, tx, c.row, noticeMoved, c.row.OrgID); err != nil {
			return err
		}
		return c.save(ctx, tx)
	})
}

// nobodyFound tells whether it has been tried for an hour to find the next organization. The first try does not count, however late.
func (r *row) nobodyFound() bool {
	if r.OverdueTime == nil {
		return false
	}
	first := r.OverdueTime.Add(patience(referralv1.Referral_Urgency(r.Urgency)))
	return !r.StepTime.Before(first.Add(findFor))
}

// putOff has a referral passed on later than those whose peers are in reach.
func (s *server) putOff(ctx context.Context, seen *row) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), oneFor) // the run may have ended for want of time
	defer cancel()
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE referrals SET step_time = @at WHERE id = @id AND revision = @revision`,
			pgx.NamedArgs{"at": s.clock.Now().Add(putOff), "id": seen.ID, "revision": seen.Revision})
		return err
	})
}

// nextOwner returns the best recommended group of an organization that has not had the referral, and that she named if she named any.
func (s *server) nextOwner(ctx context.Context, r *row) (offer, error) {
	consent, err := r.consent()
	if err != nil {
		return offer{}, err
	}
	looked := map[string]bool{aip.Name("organizations", r.OrgID): true, optionalName("organizations", r.OwnerOrgID): true}
	for _, id := range r.PastOwnerIDs {
		looked[aip.Name("organizations", id)] = true
	}
	// They are left out of the search, because one that has many groups would fill it.
	found, err := s.recommend(ctx, &referralv1.RecommendGroupsRequest{Referral: r.name(), MaxResults: considered}, func(org string) bool {
		return looked[org] || len(consent.GetRecipients()) > 0 && !slices.Contains(consent.GetRecipients(), org)
	})
	if err != nil {
		return offer{}, fmt.Errorf("recommend groups: %w", err)
	}
	for _, rec := range found.GetRecommendations() {
		org, err := aip.ParseName("organization", "organizations", rec.GetGroup().GetOrganization())
		if err != nil {
			return offer{}, fmt.Errorf("owner of %s: %w", rec.GetGroup().GetName(), err)
		}
		if looked[rec.GetGroup().GetOrganization()] {
			continue
		}
		looked[rec.GetGroup().GetOrganization()] = true
		kind, err := s.organizationKind(ctx, org)
		if status.Code(err) == codes.NotFound {
			continue
		}
		if err != nil {
			return offer{}, err
		}
		if !helps(kind) {
			continue
		}
		group, err := aip.ParseName("group", "groups", rec.GetGroup().GetName())
		if err != nil {
			return offer{}, err
		}
		return offer{group: &group, org: &org}, nil
	}
	return offer{}, nil
}

// hand gives a SENT referral to somebody else. Who had it sees it no more, from the end of the transaction on.
func (s *server) hand(ctx context.Context, tx pgx.Tx, c *change, to offer, e entry) error {
	r := c.row
	before := r.OwnerOrgID
	if before != nil && !slices.Contains(r.PastOwnerIDs, *before) {
		r.PastOwnerIDs = append(slices.Clone(r.PastOwnerIDs), *before)
	}
	r.OwnerOrgID, r.RequestedGroupID, r.UnreadReceiver = to.org, to.group, 0
	step := transition{from: sent, action: reassign, to: sent}
	if to.org == nil {
		step.action = unassign
	}
	if err := c.take(step, e); err != nil {
		return err
	}
	if before != nil {
		c.tellTakenAway(*before)
		if err := s.notify(ctx, tx, r, noticeTaken, *before); err != nil {
			return err
		}
	}
	if to.org != nil {
		return s.notify(ctx, tx, r, noticeNew, *to.org)
	}
	return nil
}

// tellTakenAway queues the event for who had the referral, which does not see those of the referral any more, nor where it went.
func (c *change) tellTakenAway(before uuid.UUID) {
	e := events.Event{
		Type: "care.cairn.referral.referral.taken_away.v1", Subject: c.row.name(), Revision: c.row.Revision,
		Data: &referralv1.ReferralTakenAway{Referral: c.row.name(), Organization: aip.Name("organizations", before), ChangeTime: timestamp(&c.now)},
	}
	c.steps = append(c.steps, func(ctx context.Context, b *pgx.Batch) error { return events.Queue(ctx, b, e) })
}

// AssignReferral implements ReferralProcessService.
func (s *server) AssignReferral(ctx context.Context, req *referralv1.AssignReferralRequest) (*referralv1.Referral, error) {
	id, err := aip.ParseName("name", "referrals", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	// The peers are asked about the referral as it is now; the transaction goes on only if it is still that.
	var seen *row
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		seen, err = find(ctx, tx, tenant, id)
		return err
	}); err != nil {
		return nil, err
	}
	if seen == nil {
		return nil, fault.NotFound(req.GetName())
	}
	does := reassign
	if req.GetRequestedGroup() == "" && req.GetOwnerOrganization() == "" {
		does = unassign
	}
	if _, err := check(req.GetName(), seen.State, does, seen.parties(tenant)); err != nil {
		return nil, err
	}
	if err := s.mayAccept(seen); err != nil {
		return nil, err
	}
	to, err := s.offered(ctx, req)
	if err != nil {
		return nil, err
	}
	if sameID(seen.OwnerOrgID, to.org) && sameID(seen.RequestedGroupID, to.group) {
		return nil, fault.Precondition("ALREADY_OWNED", req.GetName(), "the referral is there already: name another organization or group")
	}
	return s.reassigned(ctx, req, seen, does, to)
}

// offered returns to whom the referrer wants to give a referral.
func (s *server) offered(ctx context.Context, req *referralv1.AssignReferralRequest) (to offer, err error) {
	asked := new(row)
	if asked.RequestedGroupID, err = optionalID("requested_group", "groups", req.GetRequestedGroup()); err != nil {
		return to, err
	}
	if asked.OwnerOrgID, err = optionalID("owner_organization", "organizations", req.GetOwnerOrganization()); err != nil {
		return to, err
	}
	addressed, err := s.address(ctx, "", asked)
	if err != nil {
		return to, err
	}
	return offer{group: asked.RequestedGroupID, org: addressed.org}, nil
}

func (s *server) reassigned(ctx context.Context, req *referralv1.AssignReferralRequest, seen *row, does action, to offer) (answer *referralv1.Referral, err error) {
	tenant := auth.TenantFrom(ctx)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, tenant, seen.ID)
		if err != nil {
			return err
		}
		if r == nil {
			return fault.NotFound(req.GetName())
		}
		if _, err := check(req.GetName(), r.State, does, r.parties(tenant)); err != nil {
			return err
		}
		if err := aip.CheckETag(req.GetEtag(), r.Revision); err != nil {
			return err
		}
		if r.Revision != seen.Revision {
			return fault.Aborted("CHANGED_MEANWHILE", "%s has just been changed: read it again and repeat the call", req.GetName())
		}
		if err := s.mayAccept(r); err != nil {
			return err
		}
		under, err := findPlacement(ctx, tx, r.ID)
		if err != nil {
			return err
		}
		if under != nil {
			return fault.Precondition("PLACEMENT_UNDER_WAY", req.GetName(), "the owner is just accepting the referral: read it again in a minute")
		}
		c := s.newChange(r, actorFrom(ctx))
		if err := s.hand(ctx, tx, c, to, entry{by: referrer, note: req.GetNote()}); err != nil {
			return err
		}
		answer, err = c.answer(ctx, tx, viewFor(tenant, r))
		return err
	})
	return answer, err
}

func sameID(a, b *uuid.UUID) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}
