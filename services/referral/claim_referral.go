package referral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// admitClaimant lets the transaction see and take referrals that nobody owns (see the policies of referrals).
const admitClaimant = `SELECT set_config('app.claimant', 'on', true)`

// ClaimReferral implements ReferralService.
func (s *server) ClaimReferral(ctx context.Context, req *referralv1.ClaimReferralRequest) (*referralv1.Referral, error) {
	id, err := aip.ParseName("name", "referrals", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.claimant(ctx); err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	var answer *referralv1.Referral
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, admitClaimant); err != nil {
			return fmt.Errorf("admit claimant: %w", err)
		}
		r, err := queryRow(ctx, tx, `SELECT `+columns+` FROM referrals r
			WHERE r.id = @id AND (r.owner_org_id IS NULL AND r.state = 2 OR `+visible+`) FOR NO KEY UPDATE`,
			pgx.NamedArgs{"id": id, "all": false, "org": tenant.Org})
		if err != nil {
			return err
		}
		if r == nil {
			return fault.NotFound(req.GetName())
		}
		if err := aip.CheckETag(req.GetEtag(), r.Revision); err != nil {
			return err
		}
		if r.OwnerOrgID != nil {
			return fault.Precondition("ALREADY_OWNED", req.GetName(), "the referral has an owner already: %s", optionalName("organizations", r.OwnerOrgID))
		}
		if err := s.mayAccept(r); err != nil {
			return err
		}
		steps, err := check(req.GetName(), r.State, claim, []party{receiver})
		if err != nil {
			return err
		}
		r.OwnerOrgID = &tenant.Org
		c := s.newChange(r, actorFrom(ctx))
		if err := c.takeAll(steps, entry{by: receiver, note: req.GetNote()}); err != nil {
			return err
		}
		answer, err = c.answer(ctx, tx, viewFor(tenant, r))
		return err
	})
	return answer, err
}

// claimant refuses callers whose organization takes no referrals.
func (s *server) claimant(ctx context.Context) error {
	org := auth.PrincipalFrom(ctx).OrganizationID()
	kind, err := s.organizationKind(ctx, org)
	if err != nil {
		return err
	}
	if !helps(kind) {
		return fault.Denied("NOT_A_NONPROFIT", "only nonprofits, umbrella organizations and public authorities claim referrals; %s is a %s", aip.Name("organizations", org), enumWords(kind.String()))
	}
	return nil
}
