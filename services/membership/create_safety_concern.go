package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CreateSafetyConcern implements SafetyService.
func (s *server) CreateSafetyConcern(ctx context.Context, req *membershipv1.CreateSafetyConcernRequest) (*membershipv1.SafetyConcern, error) {
	m := req.GetSafetyConcern()
	group, err := aip.ParseName("safety_concern.group", "groups", m.GetGroup())
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(m.GetDescription()) == "" {
		return nil, fault.Invalid(fault.Field("safety_concern.description", "is needed: what happened? Only those who act on it read it"))
	}
	if m.GetAboutFacilitator() && m.GetMembership() != "" {
		return nil, fault.Invalid(fault.Field("safety_concern.membership", "cannot be told of a concern about a facilitator: raise two"))
	}
	known, err := s.groupNow(ctx, group)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	severity := severityOf(m.GetKind(), m.GetSeverity())
	due := now.Add(respondWithin[severity])
	row := &concernRow{
		ID: aip.NewID(), OrgID: known.OrgID, GroupID: group, Revision: 1, Kind: int32(m.GetKind()), Severity: severity, State: concernOpen,
		AboutLead: m.GetAboutFacilitator(), DueTime: &due, CreateTime: now, UpdateTime: now,
	}
	s.tellSoon(row)
	if row.DataKey, _, err = s.keys.NewDataKey(); err != nil {
		return nil, err
	}
	if err := row.write(s.keys, m.GetDescription(), ""); err != nil {
		return nil, err
	}
	var answer *membershipv1.SafetyConcern
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		if row.RaisedBy, row.RaisedByMember, err = raiser(ctx, tx, group); err != nil {
			return err
		}
		if err := concerning(ctx, tx, row, m.GetMembership()); err != nil {
			return err
		}
		there, err := findLeads(ctx, tx, group)
		if err != nil {
			return err
		}
		row.Actors = []int32{int32(firstActor(severity, row.AboutLead, there))}
		if severity == membershipv1.SafetyConcern_URGENT {
			row.openReferral()
		}
		if answer, err = row.toFullProto(s.keys); err != nil {
			return err
		}
		b := new(pgx.Batch)
		insertConcern(b, row)
		if err := queueConcernChanged(ctx, b, row, "raised"); err != nil {
			return err
		}
		audit.Queue(ctx, b, row.name())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	return answer, err
}

// raiser returns who raises a concern, and her id if she does so as a member. Whoever calls for herself must be in the group.
func raiser(ctx context.Context, tx pgx.Tx, group uuid.UUID) (string, *uuid.UUID, error) {
	args, err := bounds(ctx)
	if err != nil {
		return "", nil, err
	}
	if args["self"] == false {
		return auth.PrincipalFrom(ctx).Subject, nil, nil
	}
	args["group"] = group
	var leads bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM group_leads l WHERE l.group_id = @group AND l.facilitator_id = @self_lead)`, args).Scan(&leads); err != nil {
		return "", nil, fmt.Errorf("find who raises the concern: %w", err)
	}
	self, _ := auth.SelfFrom(ctx)
	if leads {
		return self.Facilitator, nil, nil
	}
	// The lock keeps her erasure waiting until the concern is there to be erased.
	var member uuid.UUID
	err = tx.QueryRow(ctx, `SELECT m.id FROM members m WHERE m.id = @self_member AND (@all OR m.org_id = @org) AND m.erase_time IS NULL
			AND EXISTS (SELECT FROM memberships x WHERE x.member_id = m.id AND x.group_id = @group AND x.state IN (3, 4, 5))
		FOR KEY SHARE`, args).Scan(&member)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil, fault.NotFound(aip.Name("groups", group))
	}
	if err != nil {
		return "", nil, fmt.Errorf("find who raises the concern: %w", err)
	}
	return self.Member, &member, nil
}

// concerning sets whom a new concern is about: somebody with a membership in its group.
func concerning(ctx context.Context, tx pgx.Tx, row *concernRow, name string) error {
	if name == "" {
		return nil
	}
	id, err := aip.ParseName("safety_concern.membership", "memberships", name)
	if err != nil {
		return err
	}
	var member uuid.UUID
	err = tx.QueryRow(ctx, `SELECT m.id FROM memberships x JOIN members m ON m.id = x.member_id
		WHERE x.id = @id AND x.group_id = @group AND x.org_id = @org AND m.erase_time IS NULL FOR KEY SHARE OF m`,
		pgx.NamedArgs{"id": id, "group": row.GroupID, "org": row.OrgID}).Scan(&member)
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.NotFound(name)
	}
	if err != nil {
		return fmt.Errorf("find membership: %w", err)
	}
	row.MembershipID, row.MemberID = &id, &member
	return nil
}

// openReferral has the referral service open an escalation referral for whom the concern is about, once it is told of the change.
func (r *concernRow) openReferral() {
	if r.ReferralID == nil && r.MemberID != nil {
		id := aip.NewID()
		r.ReferralID = &id
	}
}
