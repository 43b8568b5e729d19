package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/mail"
)

// matchChange is one change of one match, asked for by a caller.
type matchChange struct {
	name  string
	etag  string                       // the caller's; empty: unchecked
	party membershipv1.PeerMatch_Party // for whom the caller says that she acts
	does  string                       // for messages: "accept"

	// decide changes the locked row for the party and returns what events call it, "" if they tell nothing.
	decide func(r *matchRow, by membershipv1.PeerMatch_Party, now time.Time) (what string, err error)
}

// changeMatch makes a change with its event, audit and kept answer, at once.
func (s *server) changeMatch(ctx context.Context, c matchChange) (*membershipv1.PeerMatch, error) {
	id, err := aip.ParseName("name", "peerMatches", c.name)
	if err != nil {
		return nil, err
	}
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = id
	var answer *membershipv1.PeerMatch
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		now := s.clock.Now()
		rows, err := tx.Query(ctx, selectMatch+` FOR NO KEY UPDATE OF p`, args)
		if err != nil {
			return fmt.Errorf("lock match: %w", err)
		}
		row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[matchRow])
		if err != nil {
			return fmt.Errorf("lock match: %w", err)
		}
		if len(row.MenteeKey) == 0 || len(row.SupporterKey) == 0 { // one of the two is erased, and the match is about to be ended
			return fault.NotFound(c.name)
		}
		if err := aip.CheckETag(c.etag, row.Revision); err != nil {
			return err
		}
		by, err := row.actor(ctx, c.party)
		if err != nil {
			return err
		}
		if row.State == matchProposed && !now.Before(row.ExpireTime) {
			return illegalMatch(row, c.does, "its deadline is over")
		}
		before := *row
		what, err := c.decide(row, by, now)
		if err != nil {
			return err
		}
		b := new(pgx.Batch)
		if row.State != before.State || row.MenteeAcceptTime != before.MenteeAcceptTime || row.SupporterAcceptTime != before.SupporterAcceptTime {
			row.Revision++
			row.UpdateTime = now
			updateMatch(b, row)
		}
		if what != "" {
			if err := queueMatchChanged(ctx, b, row, what); err != nil {
				return err
			}
		}
		if row.State == matchAccepted && before.State != matchAccepted {
			if err := s.tellMatch(ctx, tx, b, row, "match_accepted", now); err != nil {
				return err
			}
		}
		if row.CloseTime != nil {
			mail.Withdraw(b, row.name(), now)
		}
		if answer, err = row.toFullProto(ctx, s.keys); err != nil {
			return err
		}
		audit.Queue(ctx, b, row.name())
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(c.name)
	}
	return answer, err
}

// actor returns for whom the caller acts: she herself, if she is one of the two, or whom she says.
func (r *matchRow) actor(ctx context.Context, said membershipv1.PeerMatch_Party) (membershipv1.PeerMatch_Party, error) {
	own := membershipv1.PeerMatch_PARTY_UNSPECIFIED
	switch {
	case isSelf(ctx, r.MenteeMember):
		own = membershipv1.PeerMatch_MENTEE
	case isSelf(ctx, r.SupporterMember):
		own = membershipv1.PeerMatch_SUPPORTER
	}
	_, bounded := auth.SelfFrom(ctx)
	switch {
	case own != 0 && said != 0 && said != own:
		return 0, fault.Invalid(fault.Field("party", "you are the %s of this match: leave it empty", strings.ToLower(own.String())))
	case own != 0:
		return own, nil
	case bounded && said != 0:
		return 0, fault.Invalid(fault.Field("party", "you lead the group, and do not act for one of the two: leave it empty"))
	}
	return said, nil
}

func illegalMatch(r *matchRow, does, why string) error {
	return fault.Precondition("ILLEGAL_TRANSITION", r.name(), "nobody can %s this match now: %s", does, why)
}
