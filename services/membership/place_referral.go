package membership

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// attempts is how often a placement is tried when others record the same person at the same time.
const attempts = 3

// placement is one PlaceReferral call, with its names read.
type placement struct {
	referral uuid.UUID
	group    *groupRow
	subject  *membershipv1.Member
	known    []identifierIndex
	override string
	concern  membershipv1.SafetyConcern_Kind
}

// PlaceReferral implements MembershipService.
func (s *server) PlaceReferral(ctx context.Context, req *membershipv1.PlaceReferralRequest) (*membershipv1.Membership, error) {
	referral, err := aip.ParseName("referral", "referrals", req.GetReferral())
	if err != nil {
		return nil, err
	}
	groupID, err := aip.ParseName("group", "groups", req.GetGroup())
	if err != nil {
		return nil, err
	}
	p := placement{referral: referral, override: req.GetOverrideReason(), concern: req.GetOpenConcern()}
	p.subject = proto.CloneOf(req.GetSubject().GetMember())
	p.subject.Alias = cmp.Or(strings.TrimSpace(p.subject.GetAlias()), "New member")
	// That the hospital learns what comes of a referral goes with being referred; she can take it back.
	p.subject.Consents = append(p.subject.Consents, &membershipv1.Member_Consent{Kind: membershipv1.Member_REPORT_TO_REFERRER, Version: "referral"})
	s.grantAll(p.subject)
	if err := s.checkMember("subject.member.", p.subject); err != nil {
		return nil, err
	}
	if answer, err := s.placedAlready(ctx, referral, groupID); answer != nil || err != nil {
		return answer, err
	}
	if p.group, err = s.groupNow(ctx, groupID); err != nil {
		return nil, err
	}
	if err := notAccepting(p.group); err != nil {
		return nil, err
	}
	if p.group.closed() { // no need to wait for those who are just taking the last seats
		return nil, groupFull(p.group)
	}
	p.known = s.digests(p.group.OrgID, req.GetSubject().GetIdentifiers())

	for attempt := 1; ; attempt++ {
		answer, err := s.place(ctx, p)
		switch pg.Constraint(err) {
		case "member_identifiers_pkey": // somebody has just recorded the same person: find her
			if attempt < attempts {
				continue
			}
		case "memberships_open":
			return nil, alreadyMember(groupID)
		}
		return answer, err
	}
}

func (s *server) place(ctx context.Context, p placement) (answer *membershipv1.Membership, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		now := s.clock.Now()
		done, err := lockPlacement(ctx, tx, p.referral)
		if err != nil {
			return err
		}
		if done.ReleaseTime != nil {
			return released(p.referral)
		}
		b := new(pgx.Batch)
		var row *membershipRow
		if done.MembershipID != nil { // the other copy of this call was faster
			row, err = s.placedIn(ctx, tx, *done.MembershipID, p.referral, p.group.GroupID)
		}
		if err == nil && row == nil {
			row, err = s.seatSubject(ctx, tx, b, p, now)
		}
		if err != nil {
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
	return answer, err
}

// seatSubject finds or makes the member and gives her a seat or a place on the waitlist.
func (s *server) seatSubject(ctx context.Context, tx pgx.Tx, b *pgx.Batch, p placement, now time.Time) (*membershipRow, error) {
	member, err := findMember(ctx, tx, p.group.OrgID, p.known)
	switch {
	case err != nil:
		return nil, fmt.Errorf("find member: %w", err)
	case member == nil:
		if member, err = newMember(s.keys, p.group.OrgID, p.subject, now); err != nil {
			return nil, err
		}
		insertMember(b, member)
		if err := identifyMember(b, s.keys, member, p.known, true); err != nil {
			return nil, err
		}
		if err := queueMemberChanged(ctx, b, member, "created"); err != nil {
			return nil, err
		}
		audit.Queue(ctx, b, member.name())
	default:
		if err := s.referred(ctx, b, member, p.subject); err != nil {
			return nil, err
		}
		if err := identifyMember(b, s.keys, member, p.known, false); err != nil {
			return nil, err
		}
	}

	if err := mayBeKept(member); err != nil {
		return nil, err
	}
	w, err := s.lockWork(ctx, tx, p.group.GroupID)
	if err != nil {
		return nil, err
	}
	does, err := decideAdmission(w.g)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(p.override) == "" {
		if err := s.eligible(w.g, membershipv1.Member_Role(member.Role), member.BirthYear); err != nil {
			return nil, err
		}
	}
	row, err := s.newMembership(w.g, member, membershipv1.Membership_PARTICIPANT, &p.referral, does, p.override)
	if err != nil {
		return nil, err
	}
	// What the subject's record queued comes before what refers to it.
	b.QueuedQueries, w.b.QueuedQueries = append(b.QueuedQueries, w.b.QueuedQueries...), nil
	w.b = b
	if err := s.insert(ctx, w, row, does); err != nil {
		return nil, err
	}
	savePlacement(w.b, p.referral, row)
	if err := s.takeOver(ctx, tx, w.b, p, row, now); err != nil {
		return nil, err
	}
	return row, saveSeats(ctx, w.b, w.g)
}

// referred brings the record of somebody who was there already up to what goes with being referred: that she must not be contacted, and
// that the hospital may be told, unless she has ever said something about that.
func (s *server) referred(ctx context.Context, b *pgx.Batch, r *memberRow, subject *membershipv1.Member) error {
	m, err := r.toProto()
	if err != nil {
		return err
	}
	said := slices.ContainsFunc(m.GetConsents(), func(c *membershipv1.Member_Consent) bool {
		return c.GetKind() == membershipv1.Member_REPORT_TO_REFERRER
	})
	quiet := subject.GetDoNotContact() && !r.DoNotContact
	if said && !quiet || len(r.DataKey) == 0 {
		return nil
	}
	_, err = s.rewriteMember(ctx, b, r, func(m *membershipv1.Member) error {
		m.DoNotContact = m.GetDoNotContact() || quiet
		if !said && len(m.GetConsents()) < maxConsents {
			m.Consents = append(m.Consents, &membershipv1.Member_Consent{
				Kind: membershipv1.Member_REPORT_TO_REFERRER, Version: "referral", GrantedTime: timestamppb.New(s.clock.Now()),
			})
		}
		return nil
	})
	return err
}

// placedAlready answers a call for a referral that has been placed or released before; nil if neither.
func (s *server) placedAlready(ctx context.Context, referral, group uuid.UUID) (answer *membershipv1.Membership, err error) {
	var done *placementRow
	b := s.db.Batch(ctx)
	b.Queue(selectPlacement, pgx.NamedArgs{"referral": referral}).Query(atMostOne(&done))
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find placement: %w", err)
	}
	switch {
	case done == nil:
		return nil, nil
	case done.ReleaseTime != nil:
		return nil, released(referral)
	case done.MembershipID == nil: // it was given back before there was anything to give back
		return nil, nil
	}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := s.placedIn(ctx, tx, *done.MembershipID, referral, group)
		if err != nil || row == nil {
			return err
		}
		if answer, err = row.toFullProto(s.keys); err != nil {
			return err
		}
		b := new(pgx.Batch)
		audit.Queue(ctx, b, row.name())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	return answer, err
}

// placedIn returns the membership that a referral has been given, if it is in the group that is asked for now; nil if it was given back
// for the referral to be placed again.
func (s *server) placedIn(ctx context.Context, tx pgx.Tx, id, referral, group uuid.UUID) (*membershipRow, error) {
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = id
	rows, err := tx.Query(ctx, selectMembership, args)
	if err != nil {
		return nil, fmt.Errorf("find membership: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[membershipRow])
	if err != nil {
		return nil, fmt.Errorf("find membership: %w", err)
	}
	if !isOpen(row.State) && row.EndReason == int32(membershipv1.Membership_REFERRAL_RELEASED) {
		return nil, nil
	}
	if row.GroupID != group {
		return nil, fault.Precondition("REFERRAL_PLACED", aip.Name("referrals", referral), "the referral has been placed in %s", aip.Name("groups", row.GroupID))
	}
	return row, nil
}

func released(referral uuid.UUID) error {
	return fault.Precondition("REFERRAL_RELEASED", aip.Name("referrals", referral), "the referral has been released: nothing is placed for it any more")
}

// identifierIndex is a blind index of an identifier.
type identifierIndex struct {
	digest []byte
	of     *membershipv1.ReferralSubject_Identifier
}

// digests returns the blind indexes, within an organization, of the identifiers by which others have referred a person, by every key that
// is known: what one hospital calls her says nothing of whom another means. One of which it is not known who refers by it has none.
func (s *server) digests(org uuid.UUID, identifiers []*membershipv1.ReferralSubject_Identifier) []identifierIndex {
	var all []identifierIndex
	for _, id := range identifiers {
		if id.GetOrganization() == "" {
			continue
		}
		purpose := "member identifier " + org.String() + " of " + id.GetOrganization() + " " + crypt.IdentifierSystem(id.GetSystem())
		for _, digest := range s.keys.BlindIndexes(purpose, crypt.IdentifierValue(id.GetValue())) {
			all = append(all, identifierIndex{digest, id})
		}
	}
	// In one order, for two who record the same person at once not to wait for each other.
	slices.SortStableFunc(all, func(a, b identifierIndex) int { return bytes.Compare(a.digest, b.digest) })
	return slices.CompactFunc(all, func(a, b identifierIndex) bool { return bytes.Equal(a.digest, b.digest) })
}

// placementRow is a row of referral_placements.
type placementRow struct {
	MembershipID *uuid.UUID
	ReleaseTime  *time.Time
}

const selectPlacement = `SELECT membership_id, release_time FROM referral_placements WHERE referral_id = @referral`

// lockPlacement returns what became of a referral, locked until the transaction ends; it makes the row if there is none.
func lockPlacement(ctx context.Context, tx pgx.Tx, referral uuid.UUID) (*placementRow, error) {
	var row *placementRow
	b := new(pgx.Batch)
	b.Queue(`INSERT INTO referral_placements (referral_id) VALUES (@referral) ON CONFLICT DO NOTHING`, pgx.NamedArgs{"referral": referral})
	b.Queue(selectPlacement+` FOR UPDATE`, pgx.NamedArgs{"referral": referral}).Query(one(&row))
	if err := send(ctx, tx, b); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, fmt.Errorf("placement of %s is not visible after it was inserted", aip.Name("referrals", referral))
		}
		return nil, fmt.Errorf("lock placement: %w", err)
	}
	return row, nil
}

// savePlacement queues what a referral has been given.
func savePlacement(b *pgx.Batch, referral uuid.UUID, r *membershipRow) {
	b.Queue(`UPDATE referral_placements SET org_id = @org, membership_id = @id WHERE referral_id = @referral`,
		pgx.NamedArgs{"org": r.OrgID, "id": r.ID, "referral": referral})
}
