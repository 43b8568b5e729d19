package membership

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/membership/pairing"
)

const (
	proposalDuration = 14 * 24 * time.Hour // both accept within
	usualMentees     = 3
)

// supporter is a peer supporter of a group as she stands to a mentee.
type supporter struct {
	*membershipRow
	member *membershipv1.Member // without her personal fields
	limit  int32                // of mentees at once
	open   int32                // matches that count towards it
	tried  bool                 // with this mentee
	ready  bool                 // trained
	fit    pairing.Fit
	pairs  bool // they have a language in common, or have not said which they speak
}

// suitable tells whether the supporter may be proposed by the system.
func (p *supporter) suitable() bool { return p.ready && p.pairs && !p.tried && p.open < p.limit }

// supporters returns the active peer supporters of the mentee's group, best first.
func supporters(ctx context.Context, tx pgx.Tx, ks *crypt.Keyset, mentee *membershipRow, now time.Time) ([]*supporter, error) {
	const inGroup = ` x.group_id = @group AND x.role = 2 AND x.state = 4 AND x.member_id <> @self`
	args := pgx.NamedArgs{"group": mentee.GroupID, "self": mentee.MemberID, "mentee": mentee.ID}
	type load struct {
		SupporterID uuid.UUID
		Open        int32
		Tried       bool
	}
	var rows []*membershipRow
	var loads []*load
	var members []*memberRow
	b := new(pgx.Batch)
	b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE`+inGroup, args).Query(all(&rows))
	b.Queue(`SELECT supporter_id, count(*) FILTER (WHERE state IN (1, 2)) AS open, bool_or(mentee_id = @mentee) AS tried
		FROM peer_matches WHERE group_id = @group GROUP BY supporter_id`, args).Query(all(&loads))
	b.Queue(`SELECT `+memberColumns+` FROM members WHERE id = @self OR id IN (SELECT x.member_id FROM memberships x WHERE`+inGroup+`)`, args).Query(all(&members))
	if err := send(ctx, tx, b); err != nil {
		return nil, fmt.Errorf("find supporters: %w", err)
	}
	people := make(map[uuid.UUID]*membershipv1.Member, len(members))
	for _, m := range members {
		person, err := m.toProto()
		if err != nil {
			return nil, err
		}
		people[m.ID] = person
	}
	found := make([]*supporter, len(rows))
	for i, r := range rows {
		notes, err := r.openNotes(ks)
		if err != nil {
			return nil, err
		}
		p := &supporter{membershipRow: r, member: people[r.MemberID], limit: cmp.Or(notes.GetMenteeLimit(), usualMentees), ready: trained(notes.GetTrainings(), now)}
		if j := slices.IndexFunc(loads, func(l *load) bool { return l.SupporterID == r.ID }); j >= 0 {
			p.open, p.tried = loads[j].Open, loads[j].Tried
		}
		p.fit, p.pairs = pairing.Score(people[mentee.MemberID], p.member, now.Year())
		found[i] = p
	}
	// Of two who suit alike, she who has more room.
	slices.SortFunc(found, func(a, b *supporter) int {
		return cmp.Or(cmp.Compare(b.fit.Score, a.fit.Score), cmp.Compare(b.limit-b.open, a.limit-a.open), slices.Compare(a.ID[:], b.ID[:]))
	})
	return found, nil
}

// choose returns the supporter that was asked for, or the best if none was, or why there is none.
func choose(list []*supporter, mentee *membershipRow, asked uuid.UUID) (*supporter, error) {
	if asked == uuid.Nil {
		if i := slices.IndexFunc(list, (*supporter).suitable); i >= 0 {
			return list[i], nil
		}
		return nil, fault.Precondition("NO_SUPPORTER", mentee.name(),
			"the group has no trained peer supporter with room for another mentee and a language in common who was not tried before")
	}
	name := aip.Name("memberships", asked)
	i := slices.IndexFunc(list, func(p *supporter) bool { return p.ID == asked })
	switch {
	case i < 0:
		return nil, fault.Precondition("NOT_A_SUPPORTER", name, "this is no active peer supporter of the mentee's group")
	case !list[i].ready:
		return nil, fault.Precondition("NOT_A_SUPPORTER", name, "no training that still counts is recorded for this peer supporter: ChangeMembershipRole records it")
	case list[i].open >= list[i].limit:
		return nil, fault.Precondition("SUPPORTER_FULL", name, "this peer supporter takes %d mentees at once, and has them", list[i].limit)
	case !list[i].pairs:
		return nil, fault.Precondition("NO_COMMON_LANGUAGE", name, "the two have no language in common")
	}
	return list[i], nil
}

// trained tells whether any of the training counts today.
func trained(list []*membershipv1.PeerTraining, now time.Time) bool {
	today := now.UTC().Format(time.DateOnly)
	return slices.ContainsFunc(list, func(t *membershipv1.PeerTraining) bool {
		return t.GetExpireDate() == nil || dateText(t.GetExpireDate()) >= today
	})
}

// dateText returns a date as 2026-03-01.
func dateText(d *date.Date) string {
	return fmt.Sprintf("%04d-%02d-%02d", d.GetYear(), d.GetMonth(), d.GetDay())
}
