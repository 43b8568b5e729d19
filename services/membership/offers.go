package membership

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
)

const (
	// offersUnanswered is how many offers in a row somebody may leave unanswered before her place in line is given up.
	offersUnanswered = 3

	// offersAtOnce is how many seats a transaction offers at most; serveBehind offers the rest.
	offersAtOnce = 100
)

// promote offers the free seats of a locked group to those on the waitlist who qualify, in order. Who does not qualify as the
// group and she are now keeps her place in line.
func (s *server) promote(ctx context.Context, w *work) error {
	g, behind := w.g, false
	if free := g.promotable(); free > 0 && !w.looked {
		n := min(free, offersAtOnce-w.offers)
		line, err := w.nextInLine(ctx, n)
		if err != nil {
			return err
		}
		for _, r := range line {
			if err := s.offer(ctx, w, r); err != nil {
				return err
			}
		}
		if err := s.notify(ctx, w, line, offer); err != nil {
			return err
		}
		w.offers += int32(len(line))
		w.looked = int32(len(line)) < n
		behind = !w.looked && n < free
	}
	if behind != g.Behind {
		g.Behind = behind
		updateGroup(w.b, g)
	}
	return nil
}

// nextInLine returns the first n of the waitlist who qualify, locked.
func (w *work) nextInLine(ctx context.Context, n int32) ([]*membershipRow, error) {
	if n <= 0 {
		return nil, nil
	}
	if err := w.flush(ctx); err != nil {
		return nil, err
	}
	roles, first, last := qualifying(w.g, w.now.Year())
	rows, err := w.tx.Query(ctx, `SELECT `+standingColumns+`, 0 AS waitlist_position`+fromMemberships+`
		WHERE x.group_id = @group AND x.state = 2 AND (x.exception OR m.role = ANY(@roles) AND m.birth_year BETWEEN @first AND @last)
		ORDER BY x.ticket LIMIT @n FOR NO KEY UPDATE OF x`,
		pgx.NamedArgs{"group": w.g.GroupID, "roles": roles, "first": first, "last": last, "n": n})
	if err != nil {
		return nil, fmt.Errorf("find who waits: %w", err)
	}
	line, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[membershipRow])
	if err != nil {
		return nil, fmt.Errorf("find who waits: %w", err)
	}
	return line, nil
}

// offer holds a free seat for somebody on the waitlist.
func (s *server) offer(ctx context.Context, w *work, r *membershipRow) error {
	from := r.share()
	if !r.do(offer, w.now) {
		return illegal(r, offer)
	}
	expires := w.now.Add(time.Duration(w.g.OfferSeconds) * time.Second)
	r.OfferExpireTime, r.WaitlistPosition = &expires, 0
	w.g.count(from, r.share())
	w.seatsChanged = true
	updateMembership(w.b, r)
	if err := queueMembershipChanged(ctx, w.b, r, offer); err != nil {
		return err
	}
	audit.Queue(ctx, w.b, r.name())
	if asked := w.rows[r.ID]; asked != nil {
		*asked = *r
	}
	return nil
}

// serveWaitlist offers the free seats of a group to those who wait, some in each transaction.
func (s *server) serveWaitlist(ctx context.Context, group uuid.UUID) error {
	for behind := true; behind; {
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			w, err := s.lockWork(ctx, tx, group)
			if err != nil {
				return err
			}
			behind = w.g.Behind
			return w.send(ctx)
		}); err != nil {
			return err
		}
	}
	return nil
}

// serveBehind goes on where a transaction has offered all the seats that it may.
func (s *server) serveBehind(ctx context.Context) error {
	return s.sweepGroups(ctx, "serve waitlist", `behind`, s.serveWaitlist)
}

// expireOffers passes on the offers whose time is over. One that cannot be does not keep the others from it.
func (s *server) expireOffers(ctx context.Context) error {
	type due struct{ ID, GroupID uuid.UUID }
	return s.sweep(ctx, "expire offer", func(tx pgx.Tx, skip []uuid.UUID) ([]item, error) {
		rows, err := tx.Query(ctx, `SELECT id, group_id FROM memberships WHERE state = 8 AND offer_expire_time <= @now AND NOT id = ANY(@skip)
			ORDER BY offer_expire_time, id LIMIT @n`, pgx.NamedArgs{"now": s.clock.Now(), "skip": skip, "n": sweepAtOnce})
		if err != nil {
			return nil, err
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByName[due])
		if err != nil {
			return nil, err
		}
		items := make([]item, len(found))
		for i, d := range found {
			items[i] = item{id: d.ID, do: func(ctx context.Context) error { return s.expireOffer(ctx, d.GroupID, d.ID) }}
		}
		return items, nil
	})
}

// expireOffer passes one offer on: she goes behind all who wait, or off the waitlist if she has left too many unanswered.
func (s *server) expireOffer(ctx context.Context, group, id uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		w, err := s.lockWork(ctx, tx, group)
		if err != nil {
			return err
		}
		row, err := s.lockInWork(ctx, w, id)
		if err != nil {
			return err
		}
		if row.State == offered && !row.OfferExpireTime.After(w.now) {
			audit.Queue(ctx, w.b, row.name())
			refused, err := s.applyTo(ctx, w, row, func(r *membershipRow, _ *groupRow) (action, error) {
				if r.OffersUnanswered++; r.OffersUnanswered < offersUnanswered {
					return wait, nil
				}
				r.EndReason = int32(membershipv1.Membership_OFFERS_UNANSWERED)
				return end, nil
			})
			if err != nil || refused != nil {
				return fmt.Errorf("expire: %w", cmp.Or(err, refused))
			}
		}
		return w.send(ctx)
	})
}

// takeOffer is what becomes of a membership whose offered seat is accepted now.
func takeOffer(r *membershipRow, now time.Time) (action, error) {
	switch {
	case r.State != offered:
		return "", fault.Precondition("ILLEGAL_TRANSITION", r.name(), "there is no offer to accept: the membership is %s", r.State)
	case !now.Before(*r.OfferExpireTime):
		becomes := "she will be at the end of the waitlist again"
		if r.OffersUnanswered+1 >= offersUnanswered {
			becomes = fmt.Sprintf("it was the last of %d offers that she left unanswered, and her request will be ended", offersUnanswered)
		}
		return "", fault.Precondition("OFFER_EXPIRED", r.name(), "the seat was held until %s, and is about to go to the next: %s", r.OfferExpireTime.UTC().Format(time.RFC3339), becomes)
	}
	r.OffersUnanswered = 0
	if r.ActivateTime != nil { // she comes back
		return endLeave, nil
	}
	return seat, nil
}
