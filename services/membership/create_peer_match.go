package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// CreatePeerMatch implements PeerMatchesService.
func (s *server) CreatePeerMatch(ctx context.Context, req *membershipv1.CreatePeerMatchRequest) (*membershipv1.PeerMatch, error) {
	mentee, err := aip.ParseName("mentee", "memberships", req.GetMentee())
	if err != nil {
		return nil, err
	}
	var asked uuid.UUID
	if req.GetSupporter() != "" {
		if asked, err = aip.ParseName("supporter", "memberships", req.GetSupporter()); err != nil {
			return nil, err
		}
		if asked == mentee {
			return nil, fault.Invalid(fault.Field("supporter", "is the mentee herself"))
		}
	}
	var answer *membershipv1.PeerMatch
	err = s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		answer, err = s.propose(ctx, tx, mentee, asked)
		return err
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, fault.NotFound(req.GetMentee())
	case pg.Constraint(err) == "peer_matches_open":
		return nil, alreadyMatched(req.GetMentee())
	}
	return answer, err
}

// propose makes a match of a mentee with the supporter that was asked for, or the best if none was.
func (s *server) propose(ctx context.Context, tx pgx.Tx, menteeID, asked uuid.UUID) (*membershipv1.PeerMatch, error) {
	now := s.clock.Now()
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"], args["asked"] = menteeID, asked
	// The lock keeps other proposals in the group, and the ends of its memberships, waiting: loads and roles stand still.
	var group *groupRow
	var mentee *membershipRow
	visible := false
	lock := new(pgx.Batch)
	lock.Queue(selectGroup+` WHERE group_id = (SELECT x.group_id FROM memberships x WHERE x.id = @id AND `+hers+`) `+lockToTake, args).Query(one(&group))
	lock.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE x.id = @id AND `+hers, args).Query(one(&mentee))
	lock.Queue(`SELECT EXISTS (SELECT FROM memberships x WHERE x.id = @asked AND `+hers+`)`, args).QueryRow(func(row pgx.Row) error { return row.Scan(&visible) })
	if err := send(ctx, tx, lock); err != nil {
		return nil, fmt.Errorf("lock group: %w", err)
	}
	own := isSelf(ctx, mentee.MemberID)
	switch {
	case own && asked != uuid.Nil:
		return nil, fault.Invalid(fault.Field("supporter", "leave it empty: who suits you best is proposed"))
	case asked != uuid.Nil && !visible:
		return nil, fault.NotFound(aip.Name("memberships", asked))
	case mentee.State != active:
		return nil, notActive(mentee)
	}
	b := new(pgx.Batch)
	if _, err := closeMatches(ctx, tx, b, `p.state = 1 AND p.group_id = @group AND p.expire_time <= @now`,
		pgx.NamedArgs{"group": group.GroupID}, membershipv1.PeerMatch_NOT_ANSWERED, now); err != nil {
		return nil, err
	}
	var matched bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM peer_matches WHERE mentee_id = @id AND state IN (1, 2))`,
		pgx.NamedArgs{"id": menteeID}).Scan(&matched); err != nil {
		return nil, fmt.Errorf("find match: %w", err)
	}
	if matched {
		return nil, alreadyMatched(mentee.name())
	}
	list, err := supporters(ctx, tx, s.keys, mentee, now)
	if err != nil {
		return nil, err
	}
	best, err := choose(list, mentee, asked)
	if err != nil {
		return nil, err
	}
	row := newMatch(mentee, best, now)
	if own {
		row.MenteeAcceptTime = &now
	}
	if err := row.seal(s.keys, best.fit.Criteria); err != nil {
		return nil, err
	}
	answer, err := row.toFullProto(ctx, s.keys)
	if err != nil {
		return nil, err
	}
	insertMatch(b, row)
	if err := queueMatchChanged(ctx, b, row, "proposed"); err != nil {
		return nil, err
	}
	if err := s.tellMatch(ctx, tx, b, row, "match_proposed", now); err != nil {
		return nil, err
	}
	audit.Queue(ctx, b, row.name())
	if err := idem.Save(ctx, b, answer); err != nil {
		return nil, err
	}
	return answer, send(ctx, tx, b)
}

// newMatch returns the row of a new proposal, without what made it.
func newMatch(mentee *membershipRow, p *supporter, now time.Time) *matchRow {
	return &matchRow{
		ID: aip.NewID(), OrgID: mentee.OrgID, GroupID: mentee.GroupID, MenteeID: mentee.ID, SupporterID: p.ID, Revision: 1,
		State: matchProposed, Score: p.fit.Score, ExpireTime: now.Add(proposalDuration), CreateTime: now, UpdateTime: now,
		MenteeMember: mentee.MemberID, MenteeAlias: mentee.Alias, MenteeKey: mentee.DataKey,
		SupporterMember: p.MemberID, SupporterAlias: p.Alias,
	}
}

func alreadyMatched(mentee string) error {
	return fault.Precondition("ALREADY_MATCHED", mentee, "the mentee has a match in this group that is neither ended nor declined")
}
