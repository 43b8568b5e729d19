package membership

import (
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

	// lookAhead is how many of the waitlist are looked at together.
	lookAhead = 100
)

// promote offers the free seats of a locked group to those on the waitlist who qualify, in order. Who does not qualify as the
// group and she are now keeps her place in line.
func (s *server) promote(ctx context.Context, w *work) error {
	g := w.g
	after := int64(-frontOffset - 1)
	for free := g.promotable(); free > 0; {
		if err := w.flush(ctx); err != nil {
			return err
		}
		rows, err := w.tx.Query(ctx, `SELECT `+membershipColumns+fromMemberships+`
			WHERE x.group_id = @group AND x.state = 2 AND x.ticket > @after ORDER BY x.ticket LIMIT @n FOR NO KEY UPDATE OF x`,
			pgx.NamedArgs{"group": g.GroupID, "after": after, "n": lookAhead})
		if err != nil {
			return fmt.Errorf("find who waits: %w", err)
		}
		line, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[membershipRow])
		if err != nil {
			return fmt.Errorf("find who waits: %w", err)
		}
		for _, r := range line {
			after = r.Ticket
			if free == 0 {
				break
			}
			if !r.Exception && len(ineligible(g, r.MemberRole, r.BirthYear, w.now.Year())) > 0 {
				continue
			}
			if err := s.offer(ctx, w, r); err != nil {
				return err
			}
			free--
		}
		if len(line) < lookAhead {
			break
		}
	}
	return nil
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
	return s.notify(ctx, w, r, offer)
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
				return fmt.Errorf("expire: %w", firstOf(err, refused))
			}
		}
		return w.send(ctx)
	})
}

// takeOffer is what becomes of a membership whose offered seat is accepted now.
func takeOffer(r *membershipRow, now time.Time) (action, error) {
	switch {
	case r.State != offered:
		return "", illegal(r, seat)
	case !now.Before(*r.OfferExpireTime):
		return "", fault.Precondition("OFFER_EXPIRED", r.name(), "the seat was held until %s, and goes to the next now: she is on the waitlist again", r.OfferExpireTime.UTC().Format(time.RFC3339))
	}
	r.OffersUnanswered = 0
	if r.ActivateTime != nil { // she comes back
		return endLeave, nil
	}
	return seat, nil
}
