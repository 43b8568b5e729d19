package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
)

// FindAlternatives implements FeedbackService.
func (s *server) FindAlternatives(ctx context.Context, req *membershipv1.FindAlternativesRequest) (*membershipv1.Alternatives, error) {
	id, err := aip.ParseName("name", "memberships", req.GetName())
	if err != nil {
		return nil, err
	}
	left, err := s.leaver(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, err
	}
	return s.alternatives(ctx, left, membershipv1.Membership_EndReason(left.EndReason), req.GetLanguageCode())
}

// leaver is somebody who has left a group or is about to.
type leaver struct {
	*membershipRow
	member *membershipv1.Member // without her personal fields
	mine   []uuid.UUID          // the groups that she is in or has asked to be, and this one
}

// leaver reads whom one of the caller's memberships is of; pgx.ErrNoRows if it is none of hers.
func (s *server) leaver(ctx context.Context, membership uuid.UUID) (*leaver, error) {
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = membership
	const whose = `(SELECT x.member_id FROM memberships x WHERE x.id = @id AND ` + hers + `)`
	left := new(leaver)
	var person *memberRow
	b := s.db.Batch(ctx)
	audit.QueueIf(ctx, b, aip.Name("memberships", membership), `SELECT FROM memberships x WHERE x.id = @id AND `+hers, args)
	b.Queue(`SELECT array_agg(DISTINCT group_id) FROM memberships WHERE member_id = `+whose+` AND (id = @id OR state NOT IN (6, 7))`, args).
		QueryRow(func(row pgx.Row) error { return row.Scan(&left.mine) })
	b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE x.id = @id AND `+hers, args).Query(one(&left.membershipRow))
	b.Queue(`SELECT `+memberColumns+` FROM members WHERE id = `+whose, args).Query(one(&person))
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find membership: %w", err)
	}
	left.member, err = person.toProto()
	return left, err
}
