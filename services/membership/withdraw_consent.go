package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/fault"
)

// WithdrawConsent implements MembershipService.
func (s *server) WithdrawConsent(ctx context.Context, req *membershipv1.WithdrawConsentRequest) (*membershipv1.Member, error) {
	return s.changeMember(ctx, "name", req.GetName(), req.GetEtag(), func(m *membershipv1.Member) error {
		c := standing(m, req.GetKind())
		if c == nil {
			return fault.Precondition("NO_SUCH_CONSENT", req.GetName(), "no consent of kind %s stands", req.GetKind())
		}
		c.WithdrawnTime = timestamppb.New(s.clock.Now())
		return nil
	}, func(ctx context.Context, tx pgx.Tx, r *memberRow) error {
		if req.GetKind() == membershipv1.Member_KEEP_DATA {
			return s.endAll(ctx, tx, r)
		}
		return nil
	})
}

// endAll ends every open membership of a member who may not be kept any more, one group after the other.
func (s *server) endAll(ctx context.Context, tx pgx.Tx, m *memberRow) error {
	type open struct{ ID, GroupID uuid.UUID }
	rows, err := tx.Query(ctx, `SELECT id, group_id FROM memberships WHERE member_id = $1 AND state NOT IN (6, 7) ORDER BY group_id`, m.ID)
	if err != nil {
		return fmt.Errorf("find memberships: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[open])
	if err != nil {
		return fmt.Errorf("find memberships: %w", err)
	}
	for _, o := range all {
		if err := s.close(ctx, tx, o.GroupID, o.ID, membershipv1.Membership_CONSENT_WITHDRAWN); err != nil {
			return err
		}
	}
	return nil
}
