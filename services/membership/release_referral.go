package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/idem"
)

// ReleaseReferral implements MembershipService.
func (s *server) ReleaseReferral(ctx context.Context, req *membershipv1.ReleaseReferralRequest) (*membershipv1.ReleaseReferralResponse, error) {
	referral, err := aip.ParseName("referral", "referrals", req.GetReferral())
	if err != nil {
		return nil, err
	}
	answer := new(membershipv1.ReleaseReferralResponse)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		done, err := lockPlacement(ctx, tx, referral)
		if err != nil {
			return err
		}
		b := new(pgx.Batch)
		if done.MembershipID != nil {
			answer.Membership = aip.Name("memberships", *done.MembershipID)
		}
		if done.MembershipID != nil && done.ReleaseTime == nil {
			if err := s.release(ctx, tx, b, *done.MembershipID); err != nil {
				return err
			}
		}
		if done.ReleaseTime == nil {
			b.Queue(`UPDATE referral_placements SET release_time = @now WHERE referral_id = @referral`,
				pgx.NamedArgs{"now": s.clock.Now(), "referral": referral})
		}
		audit.Queue(ctx, b, aip.Name("referrals", referral))
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// release ends a membership, unless it is closed already.
func (s *server) release(ctx context.Context, tx pgx.Tx, b *pgx.Batch, id uuid.UUID) error {
	tenant := auth.TenantFrom(ctx)
	var row *membershipRow
	var group *groupRow
	lock := new(pgx.Batch)
	lockGroupOf(lock, tenant, id).Query(atMostOne(&group))
	lockMembership(lock, tenant, id).Query(one(&row))
	if err := send(ctx, tx, lock); err != nil {
		return fmt.Errorf("lock membership: %w", err)
	}
	if !isOpen(row.State) {
		return nil
	}
	audit.Queue(ctx, b, row.name())
	return s.applyTo(ctx, tx, b, row, group, func(r *membershipRow, _ *groupRow) (action, error) {
		r.EndReason = int32(membershipv1.Membership_REFERRAL_RELEASED)
		return end, nil
	}, s.clock.Now())
}
