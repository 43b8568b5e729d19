package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
)

// GetEscalation implements SafetyService.
func (s *server) GetEscalation(ctx context.Context, req *membershipv1.GetEscalationRequest) (*membershipv1.Escalation, error) {
	concern, err := s.concern(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	if concern.MemberID == nil || concern.ReferralID == nil {
		return nil, fault.NotFound(req.GetName()) // nobody is to be referred, or no more
	}
	var parent *uuid.UUID
	var member *memberRow
	tenant := pgx.NamedArgs{"id": *concern.MemberID, "all": true, "org": uuid.Nil}
	b := s.db.Batch(ctx)
	b.Queue(`SELECT referral_id FROM memberships WHERE id = $1`, concern.MembershipID).QueryRow(func(row pgx.Row) error { return row.Scan(&parent) })
	b.Queue(selectMember, tenant).Query(one(&member))
	audit.Queue(ctx, b, aip.Name("members", *concern.MemberID))
	err = s.db.Send(ctx, b)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, fmt.Errorf("find whom the concern is about: %w", err)
	}
	m, err := member.toFullProto(s.keys)
	if err != nil {
		return nil, err
	}
	return &membershipv1.Escalation{SafetyConcern: concern.toProto(), Member: m, ParentReferral: optionalName("referrals", parent)}, nil
}
