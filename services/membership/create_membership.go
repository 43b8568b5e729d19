package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// CreateMembership implements MembershipService.
func (s *server) CreateMembership(ctx context.Context, req *membershipv1.CreateMembershipRequest) (*membershipv1.Membership, error) {
	groupID, err := aip.ParseName("group", "groups", req.GetGroup())
	if err != nil {
		return nil, err
	}
	memberID, err := aip.ParseName("member", "members", req.GetMember())
	if err != nil {
		return nil, err
	}
	known, err := s.groupNow(ctx, groupID)
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	var answer *membershipv1.Membership
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		// The lock keeps the group from being archived before this request is there to be ended with it.
		g, err := findGroup(ctx, tx, groupID, lockToRequest)
		if err != nil {
			return fmt.Errorf("lock group: %w", err)
		}
		if g == nil {
			return fault.NotFound(known.name())
		}
		rows, err := tx.Query(ctx, selectMember, pgx.NamedArgs{"id": memberID, "all": tenant.All, "org": tenant.Org})
		if err != nil {
			return fmt.Errorf("find member: %w", err)
		}
		member, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[memberRow])
		if errors.Is(err, pgx.ErrNoRows) || err == nil && member.OrgID != g.OrgID {
			return fault.NotFound(req.GetMember()) // not a member of the organization that owns the group
		}
		if err != nil {
			return fmt.Errorf("find member: %w", err)
		}
		if err := notAccepting(g); err != nil {
			return err
		}
		if err := s.eligible(g, member, req.GetOverrideReason()); err != nil {
			return err
		}
		row, err := s.newMembership(g, member, req.GetRole(), nil, request, req.GetOverrideReason())
		if err != nil {
			return err
		}
		b := new(pgx.Batch)
		insertMembership(b, row)
		if err := queueMembershipChanged(ctx, b, row, request); err != nil {
			return err
		}
		if answer, err = row.toFullProto(s.keys); err != nil {
			return err
		}
		audit.Queue(ctx, b, row.name())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	if pg.Constraint(err) == "memberships_open" {
		return nil, alreadyMember(groupID)
	}
	return answer, err
}

// newMembership returns the row of a new membership after its first action; where the action is to wait, the ticket is
// still to be set.
func (s *server) newMembership(g *groupRow, m *memberRow, role membershipv1.Membership_Role, referral *uuid.UUID, first action, override string) (*membershipRow, error) {
	now := s.clock.Now()
	row := &membershipRow{
		ID: aip.NewID(), OrgID: g.OrgID, GroupID: g.GroupID, MemberID: m.ID, ReferralID: referral,
		Role:       int32(cmp.Or(role, membershipv1.Membership_PARTICIPANT)),
		CreateTime: now, Alias: m.Alias, DataKey: m.DataKey,
	}
	if !row.do(first, now) {
		return nil, illegal(row, first)
	}
	return row, row.note(s.keys, &membershipv1.Membership{OverrideReason: override})
}

// eligible returns why a member is outside the group's audience or strict age limits, nil if she is inside or an exception
// is made.
func (s *server) eligible(g *groupRow, m *memberRow, override string) error {
	why := ineligible(g, membershipv1.Member_Role(m.Role), m.BirthYear, s.clock.Now().Year())
	if len(why) == 0 || strings.TrimSpace(override) != "" {
		return nil
	}
	violations := make([]*errdetails.PreconditionFailure_Violation, len(why))
	for i, w := range why {
		violations[i] = &errdetails.PreconditionFailure_Violation{Type: "NOT_ELIGIBLE", Subject: g.name(), Description: w}
	}
	violations[len(why)-1].Description += "; to make an exception, say why in override_reason"
	return fault.Preconditions("NOT_ELIGIBLE", violations...)
}

func alreadyMember(group uuid.UUID) error {
	return fault.Precondition("ALREADY_MEMBER", aip.Name("groups", group), "the member already has a membership in this group that is neither ended nor declined")
}
