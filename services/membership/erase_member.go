package membership

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/erasure"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// erasing are the services that erase what they hold about a person.
var erasing = [...]string{"groups", service, "partners", "referral", "scheduling"}

// EraseMember implements PrivacyService. What is held here goes at once, with the key; the seats that she holds are freed next, by a
// job, and the other services are told.
//
// The member's row is locked first, against everything that would add to her: whoever comes later finds nobody.
func (s *server) EraseMember(ctx context.Context, req *membershipv1.EraseMemberRequest) (*membershipv1.Erasure, error) {
	id, err := aip.ParseName("name", "members", req.GetName())
	if err != nil {
		return nil, err
	}
	if _, self := auth.SelfFrom(ctx); self && !isSelf(ctx, id) {
		return nil, fault.NotFound(req.GetName())
	}
	var answer *membershipv1.Erasure
	var key []byte
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		m, err := lockToErase(ctx, tx, id)
		if err != nil {
			return err
		}
		if m == nil {
			return fault.NotFound(req.GetName())
		}
		row, err := findErasure(ctx, tx, `e.member_id = @id`, id)
		if err != nil {
			return err
		}
		b := new(pgx.Batch)
		if row == nil {
			if err := aip.CheckETag(req.GetEtag(), m.Revision); err != nil {
				return err
			}
			if row, err = s.eraseHere(ctx, tx, b, m); err != nil {
				return err
			}
			key = m.DataKey
		}
		answer = row.toProto()
		audit.Queue(ctx, b, req.GetName())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	if err == nil && key != nil {
		s.keys.Forget(key)
	}
	return answer, err
}

// toErase is what an erasure needs of a member, erased or not.
type toErase struct {
	ID       uuid.UUID
	OrgID    uuid.UUID
	Revision int64
	DataKey  []byte
}

// lockToErase returns a member of the tenant, locked against everything, also what only refers to her; nil if there is none.
func lockToErase(ctx context.Context, tx pgx.Tx, id uuid.UUID) (*toErase, error) {
	tenant := auth.TenantFrom(ctx)
	rows, err := tx.Query(ctx, `SELECT id, org_id, revision, data_key FROM members WHERE id = @id AND (@all OR org_id = @org) FOR UPDATE`,
		pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org})
	if err != nil {
		return nil, fmt.Errorf("lock member: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[toErase])
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// eraseHere queues that everything held here about a member goes, and that the other services are told; it returns the erasure.
func (s *server) eraseHere(ctx context.Context, tx pgx.Tx, b *pgx.Batch, m *toErase) (*erasureRow, error) {
	now := s.clock.Now()
	asked := &membershipv1.ErasureRequested{
		Erasure: aip.Name("erasures", aip.NewID()), Member: aip.Name("members", m.ID), Organization: aip.Name("organizations", m.OrgID),
	}
	var err error
	if asked.Memberships, asked.Referrals, err = holdings(ctx, tx, m.ID); err != nil {
		return nil, err
	}
	records, err := s.eraseConcerns(ctx, tx, b, m.ID, now)
	if err != nil {
		return nil, err
	}
	for _, sql := range forgetMember {
		tag, err := tx.Exec(ctx, sql, pgx.NamedArgs{"member": m.ID, "now": now})
		if err != nil {
			return nil, fmt.Errorf("erase %s: %w", asked.GetMember(), err)
		}
		records += tag.RowsAffected()
	}
	erasure.Forget(b, asked, s.clock)
	row := &erasureRow{MemberID: m.ID, OrgID: m.OrgID, Revision: 1, State: membershipv1.Erasure_RUNNING, Records: records, RetryTime: &now, CreateTime: now}
	if row.ID, err = aip.ParseName("erasure", "erasures", asked.GetErasure()); err != nil {
		return nil, err
	}
	for _, name := range erasing {
		row.Parts = append(row.Parts, partRow{Service: name})
	}
	insertErasure(b, row)
	return row, events.Queue(ctx, b, events.Event{Type: erasure.Requested, Subject: row.name(), Revision: row.Revision, Data: asked})
}

// forgetMember are the statements that empty or delete what is held about @member. What is left of her row and of her memberships
// names and describes nobody: it keeps the counts right.
var forgetMember = [...]string{
	`UPDATE members SET alias = '', role = 0, birth_year = 0, languages = '{}', area_locality = '', area_region = '', area_country = '',
		cancer_types = '{}', preferred_channel = 0, do_not_contact = true, details = '{}', mail_settings = '{}', self_declared = '{}', data_key = '', personal = '',
		update_time = @now, erase_time = @now, revision = revision + 1
	WHERE id = @member`,
	`DELETE FROM member_identifiers WHERE member_id = @member`,
	`UPDATE memberships SET notes = NULL, exception = false, screening_outcome = 0, screening_time = NULL WHERE member_id = @member`,
	`UPDATE peer_matches SET reasons = NULL
	WHERE mentee_id IN (SELECT id FROM memberships WHERE member_id = @member) OR supporter_id IN (SELECT id FROM memberships WHERE member_id = @member)`,
	`DELETE FROM feedback WHERE member_id = @member`,
}

// holdings returns every membership that a member ever had, and every referral that placed her or was opened for her.
func holdings(ctx context.Context, tx pgx.Tx, member uuid.UUID) (memberships, referrals []string, err error) {
	rows, err := tx.Query(ctx, `SELECT 'memberships/' || id, 'referrals/' || referral_id FROM memberships WHERE member_id = @member
		UNION ALL SELECT NULL, 'referrals/' || referral_id FROM safety_concerns WHERE member_id = @member AND referral_id IS NOT NULL
		ORDER BY 1, 2`, pgx.NamedArgs{"member": member})
	if err != nil {
		return nil, nil, fmt.Errorf("find what a member has: %w", err)
	}
	type held struct{ Membership, Referral *string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[held])
	if err != nil {
		return nil, nil, fmt.Errorf("find what a member has: %w", err)
	}
	for _, h := range all {
		if h.Membership != nil {
			memberships = append(memberships, *h.Membership)
		}
		if h.Referral != nil {
			referrals = append(referrals, *h.Referral)
		}
	}
	slices.Sort(referrals)
	return memberships, slices.Compact(referrals), nil
}

// eraseConcerns takes a member out of the concerns about her and those that she raised. One about her that is open is closed: there
// is nobody left to help. What she wrote of others stays until it has been acted on.
func (s *server) eraseConcerns(ctx context.Context, tx pgx.Tx, b *pgx.Batch, member uuid.UUID, now time.Time) (int64, error) {
	rows, err := tx.Query(ctx, `SELECT `+concernColumns+` FROM safety_concerns c WHERE c.member_id = @member OR c.raised_by_member = @member ORDER BY c.id FOR UPDATE`,
		pgx.NamedArgs{"member": member})
	if err != nil {
		return 0, fmt.Errorf("lock concerns: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[concernRow])
	if err != nil {
		return 0, fmt.Errorf("lock concerns: %w", err)
	}
	for _, c := range all {
		about, open := c.MemberID != nil && *c.MemberID == member, c.State != concernClosed
		if c.RaisedByMember != nil && *c.RaisedByMember == member {
			c.RaisedBy, c.RaisedByMember, c.WordsEnd = "", nil, true
		}
		if about {
			c.MemberID, c.MembershipID, c.WordsEnd = nil, nil, true
		}
		switch {
		case about && open:
			c.close(membershipv1.SafetyConcern_PERSON_ERASED, service, now)
			if err := queueConcernChanged(ctx, b, c, "closed"); err != nil {
				return 0, err
			}
		case !open:
			c.forgetWords()
			c.touch(now)
		default:
			c.touch(now)
		}
		updateConcern(b, c)
		audit.Queue(ctx, b, c.name())
	}
	return int64(len(all)), nil
}
