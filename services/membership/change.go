package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// change is one change of one membership, asked for by a caller.
type change struct {
	name string // of the membership
	etag string // the caller's; empty: unchecked

	// takesSeats says that the change may free or take a seat or a place on the waitlist.
	takesSeats bool
	// decide looks at the locked row, sets what the caller says and returns what is to happen. g is locked too if the change
	// takesSeats, and nil otherwise.
	decide func(r *membershipRow, g *groupRow) (action, error)
}

// apply makes a change: the membership, the seats and those who move up, events, audit and the kept answer, at once.
func (s *server) apply(ctx context.Context, c change) (*membershipv1.Membership, error) {
	id, err := aip.ParseName("name", "memberships", c.name)
	if err != nil {
		return nil, err
	}
	var answer *membershipv1.Membership
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		tenant, now := auth.TenantFrom(ctx), s.clock.Now()
		var row *membershipRow
		var group *groupRow
		lock := new(pgx.Batch)
		if c.takesSeats {
			lockGroupOf(lock, tenant, id).Query(atMostOne(&group))
		}
		lockMembership(lock, tenant, id).Query(one(&row))
		if err := send(ctx, tx, lock); err != nil {
			return fmt.Errorf("lock membership: %w", err)
		}
		if err := aip.CheckETag(c.etag, row.Revision); err != nil {
			return err
		}
		b := new(pgx.Batch)
		if err := s.applyTo(ctx, tx, b, row, group, c.decide, now); err != nil {
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
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(c.name)
	}
	return answer, err
}

// applyTo makes a change to a locked row, and to its group's row if that is locked, and queues the writes and events.
func (s *server) applyTo(ctx context.Context, tx pgx.Tx, b *pgx.Batch, row *membershipRow, group *groupRow, decide func(*membershipRow, *groupRow) (action, error), now time.Time) error {
	from := row.share()
	does, err := decide(row, group)
	if err != nil {
		return err
	}
	if !row.do(does, now) {
		return illegal(row, does)
	}
	row.WaitlistPosition = 0
	seatsChanged := group != nil && group.count(from, row.share())
	if row.State == waitlisted {
		group.LastTicket++
		row.Ticket, row.WaitlistPosition = group.LastTicket, group.Waiting
	}
	updateMembership(b, row)
	if err := queueMembershipChanged(ctx, b, row, does); err != nil {
		return err
	}
	if !seatsChanged {
		return nil
	}
	if err := promote(ctx, tx, b, group, now); err != nil {
		return err
	}
	return saveSeats(ctx, b, group)
}

func illegal(row *membershipRow, does action) error {
	return fault.Precondition("ILLEGAL_TRANSITION", row.name(), "a membership that is %s cannot become %s", row.State, does)
}
