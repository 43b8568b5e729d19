package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
	tenant := auth.TenantFrom(ctx)
	if _, self := auth.SelfFrom(ctx); self {
		if !isSelf(ctx, memberID) {
			return nil, fault.NotFound(req.GetMember())
		}
		if bad := notHers(req); bad != nil {
			return nil, fault.Invalid(bad...)
		}
	}
	if req.GetRole() > membershipv1.Membership_PARTICIPANT {
		return nil, fault.Precondition("ROLE_NEEDS_TRAINING", req.GetMember(), "%s needs training and time in the group: let her join as PARTICIPANT, and give her the role with :changeRole", req.GetRole())
	}
	known, err := s.groupNow(ctx, groupID)
	if err != nil {
		return nil, err
	}
	lock := lockToRequest // keeps the group from being archived before this request is there to be ended with it
	if known.Automatic {
		lock = lockToTake
	}
	var answer *membershipv1.Membership
	var made uuid.UUID
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		// Nothing about her changes before the membership is there to be ended with it: no consent is withdrawn, no data erased.
		// She is locked before the group, as by all who lock both.
		rows, err := tx.Query(ctx, selectMember+` FOR SHARE`, pgx.NamedArgs{"id": memberID, "all": tenant.All, "org": tenant.Org})
		if err != nil {
			return fmt.Errorf("find member: %w", err)
		}
		member, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[memberRow])
		if errors.Is(err, pgx.ErrNoRows) || err == nil && member.OrgID != known.OrgID {
			return fault.NotFound(req.GetMember()) // not a member of the organization that owns the group
		}
		if err != nil {
			return fmt.Errorf("find member: %w", err)
		}
		g, err := findGroup(ctx, tx, groupID, lock)
		if err != nil {
			return fmt.Errorf("lock group: %w", err)
		}
		if g == nil {
			return fault.NotFound(known.name())
		}
		if err := notAccepting(g); err != nil {
			return err
		}
		if err := mayBeKept(member); err != nil {
			return err
		}
		exception := strings.TrimSpace(req.GetOverrideReason()) != ""
		if !exception {
			if err := s.eligible(g, membershipv1.Member_Role(member.Role), member.BirthYear); err != nil {
				return err
			}
		}
		w := &work{tx: tx, b: new(pgx.Batch), g: g, now: s.clock.Now()}
		asking := &membershipRow{MemberRole: membershipv1.Member_Role(member.Role), BirthYear: member.BirthYear, Exception: exception, SelfDeclared: len(member.SelfDeclared) > 0}
		does := request
		if lock == lockToTake {
			if err := s.promote(ctx, w); err != nil {
				return err
			}
			if by, ok := s.admitsByItself(g, asking); ok {
				does = by
			} else if g.Automatic && g.closed() {
				return groupFull(g)
			}
		}
		row, err := s.newMembership(g, member, req.GetRole(), nil, does, req.GetOverrideReason())
		if err != nil {
			return err
		}
		if err := s.insert(ctx, w, row, does); err != nil {
			return err
		}
		if answer, err = row.toFullProto(s.keys); err != nil {
			return err
		}
		made = row.ID
		audit.Queue(ctx, w.b, row.name())
		if err := idem.Save(ctx, w.b, answer); err != nil {
			return err
		}
		return w.send(ctx)
	})
	if err == nil {
		s.places.keep(made, groupID)
	}
	if pg.Constraint(err) == "memberships_open" {
		return nil, alreadyMember(groupID)
	}
	return answer, err
}

// insert queues a new membership with its first action, and counts it.
func (s *server) insert(ctx context.Context, w *work, row *membershipRow, does action) error {
	if w.g.count(share{}, row.share()) {
		w.seatsChanged = true
	}
	if err := w.queue(ctx, row, 0); err != nil {
		return err
	}
	insertMembership(w.b, row)
	if row.Exception {
		auditException(ctx, w.b, row)
	}
	if err := queueMembershipChanged(ctx, w.b, row, does); err != nil {
		return err
	}
	return s.notify(ctx, w, []*membershipRow{row}, does)
}

// notHers returns what a member who asks for herself may not say.
func notHers(req *membershipv1.CreateMembershipRequest) (bad []*fault.Violation) {
	if req.GetRole() > membershipv1.Membership_PARTICIPANT {
		bad = append(bad, fault.Field("role", "only your organization gives this role: leave it out, or say PARTICIPANT"))
	}
	if req.GetOverrideReason() != "" {
		bad = append(bad, fault.Field("override_reason", "only your organization makes an exception: ask it to"))
	}
	return bad
}

// mayBeKept returns why a member cannot be placed: she has withdrawn the consent to keep her data.
func mayBeKept(r *memberRow) error {
	m, err := r.toProto()
	if err != nil {
		return err
	}
	given := slices.ContainsFunc(m.GetConsents(), func(c *membershipv1.Member_Consent) bool { return c.GetKind() == membershipv1.Member_KEEP_DATA })
	if given && standing(m, membershipv1.Member_KEEP_DATA) == nil {
		return fault.Precondition("CONSENT_WITHDRAWN", r.name(), "the member has withdrawn the consent to keep her data: she must grant KEEP_DATA again first")
	}
	return nil
}

// newMembership returns the row of a new membership after its first action; where the action is to wait, the ticket is
// still to be set.
func (s *server) newMembership(g *groupRow, m *memberRow, role membershipv1.Membership_Role, referral *uuid.UUID, first action, override string) (*membershipRow, error) {
	now := s.clock.Now()
	row := &membershipRow{
		ID: aip.NewID(), OrgID: g.OrgID, GroupID: g.GroupID, MemberID: m.ID, ReferralID: referral,
		Role:       int32(cmp.Or(role, membershipv1.Membership_PARTICIPANT)),
		CreateTime: now, Alias: m.Alias, DataKey: m.DataKey, MemberRole: membershipv1.Member_Role(m.Role), BirthYear: m.BirthYear,
		Exception: strings.TrimSpace(override) != "", SelfDeclared: len(m.SelfDeclared) > 0,
	}
	if !row.do(first, now) {
		return nil, illegal(row, first)
	}
	return row, row.note(s.keys, &membershipv1.Membership{OverrideReason: override})
}

// eligible returns why a member is outside the group's audience or strict age limits, nil if she is inside.
func (s *server) eligible(g *groupRow, role membershipv1.Member_Role, birthYear int32) error {
	why := ineligible(g, role, birthYear, s.clock.Now().Year())
	if len(why) == 0 {
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
