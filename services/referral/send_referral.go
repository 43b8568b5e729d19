package referral

import (
	"context"

	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// SendReferral implements ReferralService.
func (s *server) SendReferral(ctx context.Context, req *referralv1.SendReferralRequest) (*referralv1.Referral, error) {
	id, err := aip.ParseName("name", "referrals", req.GetName())
	if err != nil {
		return nil, err
	}
	// The peers are asked about the draft as it is now; the transaction goes on only if it is still that.
	tenant := auth.TenantFrom(ctx)
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
	var to *addressee
	if seen.State == draft {
		if to, err = s.ready(ctx, seen); err != nil {
			return nil, err
		}
	}
	return s.apply(ctx, step{name: req.GetName(), etag: req.GetEtag(), action: send, note: req.GetNote(), with: func(c *change) error {
		if c.row.Revision != seen.Revision {
			return fault.Aborted("CHANGED_MEANWHILE", "%s has just been changed: read it again and repeat the call", req.GetName())
		}
		c.row.OwnerOrgID = to.org
		return nil
	}, after: func(ctx context.Context, tx pgx.Tx, c *change) error {
		// The draft may have been written before a later risk of self-harm was raised.
		if err := c.raiseAgain(ctx, tx, c.row.danger()); err != nil {
			return err
		}
		return s.tellAsked(ctx, tx, c.row)
	}})
}

// ready checks that a draft has all that a receiver needs, and finds out who that is.
func (s *server) ready(ctx context.Context, r *row) (*addressee, error) {
	m, err := s.toProto(r, whole)
	if err != nil {
		return nil, err
	}
	if lacks := unsendable("", m, s.clock.Now()); len(lacks) > 0 {
		violations := make([]*errdetails.PreconditionFailure_Violation, len(lacks))
		for i, l := range lacks {
			violations[i] = &errdetails.PreconditionFailure_Violation{Type: "DRAFT_INCOMPLETE", Subject: r.name(), Description: l.GetField() + " " + l.GetDescription()}
		}
		return nil, fault.Preconditions("DRAFT_INCOMPLETE", violations...)
	}
	return s.address(ctx, "", r)
}
