package membership

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
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
			if err := s.release(ctx, tx, *done.MembershipID); err != nil {
				return err
			}
		}
		if done.ReleaseTime == nil && !req.GetPlaceableAgain() {
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

// release ends what a referral has placed, unless it is closed already.
func (s *server) release(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	var group uuid.UUID
	if err := tx.QueryRow(ctx, `SELECT group_id FROM memberships WHERE id = $1`, id).Scan(&group); err != nil {
		return fmt.Errorf("find membership: %w", err)
	}
	return s.close(ctx, tx, group, id, membershipv1.Membership_REFERRAL_RELEASED)
}

// close ends a membership for a reason of the system's own, unless it is closed already.
func (s *server) close(ctx context.Context, tx pgx.Tx, group, id uuid.UUID, why membershipv1.Membership_EndReason) error {
	w, err := s.lockWork(ctx, tx, group)
	if err != nil {
		return err
	}
	row, err := s.lockInWork(ctx, w, id)
	if err != nil {
		return err
	}
	if isOpen(row.State) {
		audit.Queue(ctx, w.b, row.name())
		refused, err := s.applyTo(ctx, w, row, func(r *membershipRow, _ *groupRow) (action, error) {
			r.EndReason = int32(why)
			return end, nil
		})
		if err := cmp.Or(err, refused); err != nil {
			return err
		}
	}
	return w.send(ctx)
}
