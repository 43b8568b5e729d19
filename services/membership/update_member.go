package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/mail"
)

// mutableMember lists the fields of a member that UpdateMember may change.
func mutableMember() []string {
	return []string{
		"alias", "role", "birth_year", "languages", "area", "cancer_types", "suitable_times", "preferred_channel",
		"do_not_contact", "legal_name", "email", "phone", "contact_note", "time_zone", "quiet_hours", "muted_messages",
		"treatments", "phase", "interests",
	}
}

// UpdateMember implements MembershipService.
func (s *server) UpdateMember(ctx context.Context, req *membershipv1.UpdateMemberRequest) (*membershipv1.Member, error) {
	var said []string
	return s.changeMember(ctx, "member.name", req.GetMember().GetName(), req.GetMember().GetEtag(), func(m *membershipv1.Member) error {
		role, born := m.GetRole(), m.GetBirthYear()
		paths, err := aip.Masked(req.GetUpdateMask(), m, req.GetMember(), mutableMember()...)
		if err != nil {
			return err
		}
		_, self := auth.SelfFrom(ctx)
		if slices.Contains(paths, "role") && (!self || role != m.GetRole()) {
			said = append(said, "role")
		}
		if slices.Contains(paths, "birth_year") && (!self || born != m.GetBirthYear()) {
			said = append(said, "birth_year")
		}
		return s.checkMember("member.", m)
	}, func(ctx context.Context, tx pgx.Tx, row *memberRow) error { return declare(ctx, tx, row, said) })
}

// declare notes who says the fields of a member by which groups let people in: she herself, or those who keep her data, who
// confirm it.
func declare(ctx context.Context, tx pgx.Tx, row *memberRow, fields []string) error {
	if len(fields) == 0 {
		return nil
	}
	sql := `UPDATE members SET self_declared = ARRAY(SELECT f FROM unnest(self_declared) AS f WHERE f <> ALL(@fields::text[])) WHERE id = @id`
	if _, self := auth.SelfFrom(ctx); self {
		sql = `UPDATE members SET self_declared = ARRAY(SELECT DISTINCT unnest(self_declared || @fields::text[])) WHERE id = @id`
	}
	if _, err := tx.Exec(ctx, sql, pgx.NamedArgs{"id": row.ID, "fields": fields}); err != nil {
		return fmt.Errorf("note who says it: %w", err)
	}
	return nil
}

// changeMember makes a change to one member of the tenant, in one transaction with its event, audit and kept answer. field
// is the request field that holds her name, also what follows in the transaction.
func (s *server) changeMember(ctx context.Context, field, name, etag string, edit func(*membershipv1.Member) error, also ...func(context.Context, pgx.Tx, *memberRow) error) (*membershipv1.Member, error) {
	id, err := aip.ParseName(field, "members", name)
	if err != nil {
		return nil, err
	}
	if !mayTouch(ctx, id) {
		return nil, fault.NotFound(name)
	}
	var answer *membershipv1.Member
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := lockMember(ctx, tx, auth.TenantFrom(ctx), id)
		if err != nil {
			return fmt.Errorf("lock member: %w", err)
		}
		if err := aip.CheckETag(etag, row.Revision); err != nil {
			return err
		}
		b := new(pgx.Batch)
		if answer, err = s.rewriteMember(ctx, b, row, edit); err != nil {
			return err
		}
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		for _, do := range also {
			if err := do(ctx, tx, row); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(name)
	}
	return answer, err
}

// rewriteMember edits a locked member and queues the writes.
func (s *server) rewriteMember(ctx context.Context, b *pgx.Batch, row *memberRow, edit func(*membershipv1.Member) error) (*membershipv1.Member, error) {
	m, err := row.toFullProto(s.keys)
	if err != nil {
		return nil, err
	}
	if err := edit(m); err != nil {
		return nil, err
	}
	key, err := s.keys.OpenDataKey(row.DataKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", row.name(), err)
	}
	row.Revision++
	row.UpdateTime = s.clock.Now()
	if err := row.set(m, key); err != nil {
		return nil, err
	}
	updateMember(b, row)
	mail.Stop(b, stopsOf(m, row.Revision), row.UpdateTime)
	if err := queueMemberChanged(ctx, b, row, "updated"); err != nil {
		return nil, err
	}
	audit.Queue(ctx, b, row.name())
	return row.toFullProto(s.keys)
}

// stopsOf returns what a member wants no e-mail of; who has no address wants none to the one that she had.
func stopsOf(m *membershipv1.Member, revision int64) mail.Stops {
	stops := mail.Stops{
		Subject: m.GetName(), Revision: revision,
		All: m.GetDoNotContact() || m.GetEmail() == "" || standing(m, membershipv1.Member_RECEIVE_MESSAGES) == nil,
	}
	for _, kind := range m.GetMutedMessages() {
		stops.Kinds = append(stops.Kinds, kind.String())
	}
	return stops
}
