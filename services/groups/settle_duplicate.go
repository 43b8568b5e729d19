package groups

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// surelyAlike is the score from which a feed with the rule MERGE merges, unless it says another.
const surelyAlike = 0.95

// settleOne merges a pair if the rule of a feed says so and nothing stands against it; else the pair stays proposed.
func (s *duplicateServer) settleOne(ctx context.Context, id uuid.UUID) error {
	everybody := auth.Tenant{All: true}
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		p, err := selectPair(ctx, tx, everybody, id, "")
		if err != nil {
			return err
		}
		if p.state() != groupsv1.Duplicate_PROPOSED || p.FirstOrg != p.SecondOrg {
			return errNoRule
		}
		feed, err := ruledBy(ctx, tx, p)
		if err != nil {
			return err
		}
		survivor, err := likelySurvivor(ctx, tx, p)
		if err != nil {
			return err
		}
		_, err = s.merge(ctx, tx, everybody, id, survivor, &groupsv1.MergeDuplicateRequest{Etag: aip.ETag(p.Revision)}, aip.Name("feeds", feed))
		return err
	})
	if f, ok := errors.AsType[*fault.Error](err); ok {
		switch f.Code {
		case codes.Aborted: // changed meanwhile: looked at again
			return nil
		case codes.NotFound, codes.FailedPrecondition:
			err = errNoRule
		}
	}
	if !errors.Is(err, errNoRule) {
		return err
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE duplicates SET unsettled = false WHERE id = $1`, id)
		return err
	})
}

// errNoRule says that a person decides.
var errNoRule = errors.New("no feed's rule merges the pair")

// ruledBy returns the feed that says to merge the pair: one of those that list its groups, but do not list both.
func ruledBy(ctx context.Context, tx pgx.Tx, p *pairRow) (uuid.UUID, error) {
	rows, err := tx.Query(ctx, `
		SELECT f.id, f.body, count(DISTINCT i.group_id) FROM feed_items i JOIN feeds f ON f.id = i.feed_id
		WHERE i.group_id IN (@first, @second) AND i.state = 1
		GROUP BY f.id ORDER BY f.id`, pgx.NamedArgs{"first": p.FirstID, "second": p.SecondID})
	if err != nil {
		return uuid.Nil, fmt.Errorf("read feeds of pair: %w", err)
	}
	type feed struct {
		ID     uuid.UUID
		Body   []byte
		Groups int
	}
	feeds, err := pgx.CollectRows(rows, pgx.RowToStructByPos[feed])
	if err != nil {
		return uuid.Nil, fmt.Errorf("read feeds of pair: %w", err)
	}
	for _, f := range feeds {
		var body groupsv1.Feed
		if err := proto.Unmarshal(f.Body, &body); err != nil {
			return uuid.Nil, fmt.Errorf("decode feed %s: %w", f.ID, err)
		}
		if f.Groups > 1 { // it tells them apart
			return uuid.Nil, errNoRule
		}
		least := body.GetMerging().GetMinScore()
		if least == 0 {
			least = surelyAlike
		}
		if body.GetMerging().GetRule() == groupsv1.Feed_Merging_MERGE && p.Score >= least {
			return f.ID, nil
		}
	}
	return uuid.Nil, errNoRule
}

// likelySurvivor returns the group of a pair that goes on when nobody says which: the one that people can join, then the one
// with members, then the one that no feed has made, then the older.
func likelySurvivor(ctx context.Context, tx pgx.Tx, p *pairRow) (id uuid.UUID, err error) {
	err = tx.QueryRow(ctx, `
		SELECT g.id FROM groups g JOIN availability a ON a.group_id = g.id
		WHERE g.id IN (@first, @second)
		ORDER BY CASE g.state WHEN 2 THEN 0 WHEN 3 THEN 1 ELSE 2 END, (a.taken > 0 OR a.waitlist_length > 0) DESC, g.listed, g.id
		LIMIT 1`, pgx.NamedArgs{"first": p.FirstID, "second": p.SecondID}).Scan(&id)
	if err != nil {
		return id, fmt.Errorf("choose survivor: %w", err)
	}
	return id, nil
}
