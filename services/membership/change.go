package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/mail"
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
	// finish adds to the answer, and queues what else belongs to the change; nil: nothing.
	finish func(w *work, r *membershipRow, answer *membershipv1.Membership) error
}

// apply makes a change: the membership, the seats and those who move up, events, audit and the kept answer, at once.
func (s *server) apply(ctx context.Context, c change) (*membershipv1.Membership, error) {
	id, err := aip.ParseName("name", "memberships", c.name)
	if err != nil {
		return nil, err
	}
	if !c.takesSeats {
		return s.applyAlone(ctx, c, id)
	}
	// Whoever calls for herself is bounded by groupOf, all others by their tenant once more when the membership is locked.
	if _, self := auth.SelfFrom(ctx); !self {
		if group, ok := s.places.group(id); ok {
			return s.applyInLine(ctx, c, id, group)
		}
	}
	g, err := s.groupOf(ctx, c.name, id)
	if err != nil {
		return nil, err
	}
	return s.applyInLine(ctx, c, id, g.GroupID)
}

// applyAlone makes a change that does not touch the numbers of the group.
func (s *server) applyAlone(ctx context.Context, c change, id uuid.UUID) (answer *membershipv1.Membership, err error) {
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = id
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectMembership+` FOR NO KEY UPDATE OF x`, args)
		if err != nil {
			return fmt.Errorf("lock membership: %w", err)
		}
		row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[membershipRow])
		if err != nil {
			return fmt.Errorf("lock membership: %w", err)
		}
		w := &work{tx: tx, b: new(pgx.Batch), now: s.clock.Now()}
		var refused error
		if answer, refused, err = s.applyOne(ctx, w, row, c); err != nil || refused != nil {
			return cmp.Or(err, refused)
		}
		return w.send(ctx)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(c.name)
	}
	return answer, err
}

// groupOf returns the group of one of the caller's memberships, as it is now.
func (s *server) groupOf(ctx context.Context, name string, membership uuid.UUID) (*groupRow, error) {
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = membership
	var g *groupRow
	b := s.db.Batch(ctx)
	b.Queue(selectGroup+` WHERE group_id = (SELECT x.group_id FROM memberships x WHERE x.id = @id AND `+hers+`)`, args).Query(atMostOne(&g))
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find group: %w", err)
	}
	if g == nil {
		return nil, fault.NotFound(name)
	}
	s.places.keep(membership, g.GroupID)
	return g, nil
}

// places remembers of which groups memberships are, for the next change of one: that never changes.
type places struct {
	mu     sync.Mutex
	groups map[uuid.UUID]uuid.UUID
}

// mostPlaces is how many are remembered before it begins anew.
const mostPlaces = 10_000

func (p *places) keep(membership, group uuid.UUID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.groups == nil || len(p.groups) >= mostPlaces {
		p.groups = map[uuid.UUID]uuid.UUID{}
	}
	p.groups[membership] = group
}

func (p *places) group(membership uuid.UUID) (uuid.UUID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	group, ok := p.groups[membership]
	return group, ok
}

// work is one transaction on memberships, of one group if its row is locked.
type work struct {
	tx  pgx.Tx
	b   *pgx.Batch // what is still to be sent
	g   *groupRow  // locked to take seats; nil if no seats are touched
	now time.Time

	rows map[uuid.UUID]*membershipRow // those that callers have asked to change; who moves up meanwhile is brought up to date in it

	offers int32 // seats that it has offered
	looked bool  // nobody qualifies for a seat of those who waited so far

	seatsChanged bool // the numbers of g are still to be saved
}

// send sends what is queued, and the group's numbers if they have changed.
func (w *work) send(ctx context.Context) error {
	if w.seatsChanged {
		if err := saveSeats(ctx, w.b, w.g); err != nil {
			return err
		}
		w.seatsChanged = false
	}
	return w.flush(ctx)
}

// flush sends what is queued, for a query that has to see it.
func (w *work) flush(ctx context.Context) error {
	if w.b.Len() == 0 {
		return nil
	}
	b := w.b
	w.b = new(pgx.Batch)
	return send(ctx, w.tx, b)
}

// applyOne makes a caller's change to a locked row. refused is why it may not be made: nothing of it is queued then.
func (s *server) applyOne(ctx context.Context, w *work, row *membershipRow, c change) (answer *membershipv1.Membership, refused, err error) {
	if len(row.DataKey) == 0 { // she is erased, and her membership is about to be ended
		return nil, fault.NotFound(c.name), nil
	}
	if err := aip.CheckETag(c.etag, row.Revision); err != nil {
		return nil, err, nil
	}
	excepted := row.Exception
	if refused, err = s.applyTo(ctx, w, row, c.decide); refused != nil || err != nil {
		return nil, refused, err
	}
	if answer, err = row.toFullProto(s.keys); err != nil {
		return nil, nil, err
	}
	if c.finish != nil {
		if err := c.finish(w, row, answer); err != nil {
			return nil, nil, err
		}
	}
	audit.Queue(ctx, w.b, row.name())
	if row.Exception && !excepted {
		auditException(ctx, w.b, row)
	}
	return answer, nil, idem.Save(ctx, w.b, answer)
}

// auditException records, beside the change, that an exception was made.
func auditException(ctx context.Context, b *pgx.Batch, row *membershipRow) {
	audit.Queue(ctx, b, row.name()+"/exception")
}

// applyTo makes a change to a locked row, and to its group's numbers if they are locked, and queues the writes and events.
// refused is why it may not be made; the row is as it was then.
func (s *server) applyTo(ctx context.Context, w *work, row *membershipRow, decide func(*membershipRow, *groupRow) (action, error)) (refused, err error) {
	was, from := *row, row.share()
	does, refused := decide(row, w.g)
	if refused == nil && !row.do(does, w.now) {
		refused = illegal(row, does)
	}
	if refused != nil {
		*row = was
		return refused, nil
	}
	seatsChanged := w.g != nil && w.g.count(from, row.share())
	if err := w.queue(ctx, row, was.State); err != nil {
		return nil, err
	}
	updateMembership(w.b, row)
	if err := queueMembershipChanged(ctx, w.b, row, does); err != nil {
		return nil, err
	}
	if !isOpen(row.State) && row.ActivateTime != nil {
		if err := leaveMatches(ctx, w.tx, w.b, []uuid.UUID{row.ID}, w.now); err != nil {
			return nil, err
		}
	}
	if s.mail.On() && (was.State == offered || !isOpen(row.State)) {
		mail.Withdraw(w.b, row.name(), w.now)
	}
	if err := s.notify(ctx, w, []*membershipRow{row}, does); err != nil {
		return nil, err
	}
	if !seatsChanged {
		return nil, nil
	}
	w.seatsChanged = true
	return nil, s.promote(ctx, w)
}

// frontOffset takes a ticket before all that are not taken so.
const frontOffset = 1 << 62

// queue gives a row that has come to the waitlist its place in the line: at the end, and before all who have not been in the
// group if she comes back from a leave. The group counts her already.
func (w *work) queue(ctx context.Context, row *membershipRow, from membershipv1.Membership_State) error {
	switch {
	case row.State != waitlisted:
		row.WaitlistPosition = 0
		return nil
	case from == waitlisted:
		return nil
	}
	w.looked = false
	w.g.LastTicket++
	row.Ticket, row.WaitlistPosition = w.g.LastTicket, w.g.Waiting
	if from != onLeave {
		return nil
	}
	row.Ticket -= frontOffset
	if err := w.flush(ctx); err != nil {
		return err
	}
	if err := w.tx.QueryRow(ctx, `SELECT 1 + count(*)::integer FROM memberships WHERE group_id = @group AND state = 2 AND ticket < @ticket`,
		pgx.NamedArgs{"group": row.GroupID, "ticket": row.Ticket}).Scan(&row.WaitlistPosition); err != nil {
		return fmt.Errorf("find place in line: %w", err)
	}
	return nil
}

func illegal(row *membershipRow, does action) error {
	return fault.Precondition("ILLEGAL_TRANSITION", row.name(), "a membership that is %s cannot become %s", row.State, does)
}

// lockWork locks a group to take seats, and lets those move up first who have qualified since.
func (s *server) lockWork(ctx context.Context, tx pgx.Tx, group uuid.UUID) (*work, error) {
	g, err := findGroup(ctx, tx, group, lockToTake)
	if err != nil {
		return nil, fmt.Errorf("lock group: %w", err)
	}
	if g == nil {
		return nil, fault.NotFound(aip.Name("groups", group))
	}
	w := &work{tx: tx, b: new(pgx.Batch), g: g, now: s.clock.Now()}
	return w, s.promote(ctx, w)
}

// lockInWork returns a membership of the work's group, locked, after those who moved up have been written.
func (s *server) lockInWork(ctx context.Context, w *work, id uuid.UUID) (*membershipRow, error) {
	if err := w.flush(ctx); err != nil {
		return nil, err
	}
	rows, err := w.tx.Query(ctx, `SELECT `+membershipColumns+fromMemberships+` WHERE x.id = @id AND x.group_id = @group FOR NO KEY UPDATE OF x`,
		pgx.NamedArgs{"id": id, "group": w.g.GroupID})
	if err != nil {
		return nil, fmt.Errorf("lock membership: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[membershipRow])
	if err != nil {
		return nil, fmt.Errorf("lock membership: %w", err)
	}
	return row, nil
}
