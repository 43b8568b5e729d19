package referral

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

// clockStep is what the clock does next to a referral in which somebody has to act.
type clockStep int32

const (
	stepRemind clockStep = iota // some time before the due time, whoever has to act is reminded
	stepMiss                    // at the due time it is found missed
	stepPass                    // a while later it goes to somebody else, or the referrer is told
	stepTell                    // the referrer is told again, every week
)

const (
	remindAtMost  = 2 * day         // before the due time
	remindAtLeast = 2 * time.Hour   // who has less than this is not reminded before
	passAfter     = 2 * day         // an overdue referral that is not SENT
	tellEvery     = 7 * day         // the referrer
	giveUpAfter   = 90 * day        // of nobody's answering
	putOff        = 5 * time.Minute // what could not be done because a peer was out of reach
	findFor       = time.Hour       // that long the next organization is looked for
)

// patience is how long an owner is waited for after it has missed the due time of a SENT referral.
func patience(u referralv1.Referral_Urgency) time.Duration {
	switch u {
	case referralv1.Referral_STAT:
		return time.Hour
	case referralv1.Referral_ASAP:
		return 4 * time.Hour
	case referralv1.Referral_URGENT:
		return 12 * time.Hour
	}
	return day
}

// plan sets what the clock does next, for a due time that is new.
func (r *row) plan(now time.Time) {
	r.Step, r.StepTime, r.StepDue = stepRemind, nil, r.DueTime
	if r.DueTime == nil {
		return
	}
	at := *r.DueTime
	if given := at.Sub(now); given > remindAtLeast {
		at = at.Add(-min(given/4, remindAtMost))
	} else {
		r.Step = stepMiss
	}
	r.StepTime = &at
}

// planAgain sets anew when the step comes that is next.
func (r *row) planAgain(now time.Time) {
	switch {
	case r.DueTime == nil || r.Step == stepRemind:
		r.plan(now)
	case r.Step == stepMiss:
		r.later(stepMiss, *r.DueTime)
	case r.Step == stepPass && r.OverdueTime != nil:
		r.later(stepPass, r.OverdueTime.Add(patience(referralv1.Referral_Urgency(r.Urgency))))
	default:
		r.later(r.Step, now.Add(tellEvery))
	}
}

// untilConsentEnds has the clock look at a referral that waits for an answer when its consent ends, if that comes before the next step.
func (r *row) untilConsentEnds() error {
	if r.State != sent || r.Awaiting != receiver || r.StepTime == nil {
		return nil
	}
	c, err := r.consent()
	if err != nil || c.GetExpireTime() == nil {
		return err
	}
	// Not before it: the database keeps microseconds.
	if at := c.GetExpireTime().AsTime().Add(time.Microsecond - 1).Truncate(time.Microsecond); at.Before(*r.StepTime) {
		r.StepTime = &at
	}
	return nil
}

// passTime is when a SENT referral under a consent goes to somebody else, nil if that is not to come.
func (r *row) passTime(c *referralv1.Referral_Consent) *time.Time {
	if r.State != sent || r.DueTime == nil || r.Awaiting != receiver || r.Step > stepPass {
		return nil
	}
	at := r.DueTime.Add(patience(referralv1.Referral_Urgency(r.Urgency)))
	if r.Step == stepPass && r.StepTime != nil {
		at = *r.StepTime
	}
	if r.Deadline != nil && !r.Deadline.After(at) {
		return nil // by then it has failed
	}
	if consentEnded(c, at) {
		return nil // by then the referrer has to act
	}
	return &at
}

// expired tells whether a SENT referral, or a draft, is given up, and why.
func (r *row) expired(now time.Time) (why string, yes bool) {
	switch {
	case r.State == draft && !r.CreateTime.Add(giveUpAfter).After(now):
		return "The draft was not sent within 90 days.", true
	case r.State != sent:
	case r.Deadline != nil && !r.Deadline.After(now):
		return "Nobody accepted the referral before its deadline.", true
	case r.SendTime != nil && !r.SendTime.Add(giveUpAfter).After(now):
		return "Nobody accepted the referral within 90 days.", true
	}
	return "", false
}

// later puts the next step off; one that would come after the referral's deadline comes at it.
func (r *row) later(step clockStep, at time.Time) {
	if r.State == sent && r.Deadline != nil && r.Deadline.Before(at) {
		at = *r.Deadline
	}
	if give := r.CreateTime.Add(giveUpAfter); r.State == draft && give.Before(at) {
		at = give
	}
	r.Step, r.StepTime, r.StepDue = step, &at, r.DueTime
}

// sweepDue does what the clock has to do to referrals: reminds, finds due times missed, passes on what nobody answers, tells the
// referrer, asks the referrer where the consent has ended, and fails what nobody took by its deadline. One to which it cannot be done
// does not keep the others from it; the error tells of it. What is passed on comes last, because peers are asked to whom: those tried
// longest ago first.
func (s *server) sweepDue(ctx context.Context) error {
	unanswered, err := s.tickAll(ctx)
	broken := []error{err}
	slices.SortFunc(unanswered, func(a, b *row) int { return a.StepTime.Compare(*b.StepTime) })
	for _, r := range unanswered {
		if ctx.Err() != nil {
			break // the next run goes on
		}
		if err := s.passOn(ctx, r); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", r.name(), err))
		}
	}
	return errors.Join(broken...)
}

// tickAll does what the clock has to do that needs no peer, and returns what is to be passed on.
func (s *server) tickAll(ctx context.Context) (unanswered []*row, err error) {
	var broken []error
	var after uuid.UUID
	for {
		var late []uuid.UUID
		// One whose step was not planned, or for another due time, was written by a version of Cairn that knew no steps.
		if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
			late, err = ids(ctx, tx, `SELECT id FROM referrals r
				WHERE (step_time <= @now OR due_time <= @now AND overdue_time IS NULL OR due_time <= @now AND step_time IS NULL) AND id > @after
					AND NOT EXISTS (SELECT FROM placements p WHERE p.referral_id = r.id AND p.create_time > @stuck) ORDER BY id LIMIT @n`,
				pgx.NamedArgs{"now": s.clock.Now(), "after": after, "n": atOnce, "stuck": s.clock.Now().Add(-stuckAfter)})
			return err
		}); err != nil {
			return unanswered, errors.Join(append(broken, fmt.Errorf("find referrals that are due: %w", err))...)
		}
		for _, id := range late {
			r, err := s.tick(ctx, id)
			if err != nil {
				broken = append(broken, fmt.Errorf("%s: %w", aip.Name("referrals", id), err))
			}
			if r != nil {
				unanswered = append(unanswered, r)
			}
			after = id
		}
		if len(late) < atOnce || ctx.Err() != nil {
			return unanswered, errors.Join(broken...)
		}
	}
}

// tick does what the clock has to do to one referral now. It returns a referral that nobody answers, which is to be passed on: outside
// of the transaction that finds it so, because others have to be asked to whom.
func (s *server) tick(ctx context.Context, id uuid.UUID) (unanswered *row, err error) {
	ctx, cancel := context.WithTimeout(ctx, oneFor)
	defer cancel()
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		c, stuck, err := s.due(ctx, tx, id)
		if err != nil || c == nil {
			return err
		}
		if stuck && c.row.State == sent {
			if err := s.stepWhileStuck(ctx, tx, c); err != nil {
				return err
			}
			return c.save(ctx, tx)
		}
		if c.row.State == sent && c.row.Awaiting == receiver && c.row.Step == stepPass {
			_, over := c.row.expired(c.now)
			lapsed, err := c.row.lapsed(c.now)
			if err != nil {
				return err
			}
			if !over && !lapsed {
				unanswered = c.row
				return nil
			}
		}
		if err := s.step(ctx, tx, c); err != nil {
			return err
		}
		return c.save(ctx, tx)
	})
	return unanswered, err
}

// due locks a referral to which the clock has something to do; nil if somebody acted meanwhile, or an acceptance is under way. stuck tells
// that one is, and does not come to an end.
func (s *server) due(ctx context.Context, tx pgx.Tx, id uuid.UUID) (c *change, stuck bool, err error) {
	r, err := lock(ctx, tx, auth.TenantFrom(ctx), id)
	if err != nil || r == nil {
		return nil, false, err
	}
	c = s.newChange(r, told(service))
	if r.DueTime == nil && r.StepTime == nil {
		return nil, false, nil
	}
	if r.DueTime == nil || r.StepTime == nil || r.StepDue == nil || !r.StepDue.Equal(*r.DueTime) {
		r.plan(c.now)
		if r.DueTime != nil && r.OverdueTime != nil { // who has to act was told so
			r.later(stepPass, c.now)
		}
		if r.StepTime == nil || r.StepTime.After(c.now) {
			return nil, false, c.save(ctx, tx)
		}
	}
	if r.StepTime.After(c.now) {
		return nil, false, nil
	}
	under, err := findPlacement(ctx, tx, id)
	if err != nil || under != nil && !under.stuck(c.now) {
		return nil, false, err
	}
	return c, under != nil, nil
}

// step takes the clock's next step.
func (s *server) step(ctx context.Context, tx pgx.Tx, c *change) error {
	r := c.row
	if why, over := r.expired(c.now); over {
		return s.giveUp(ctx, tx, c, why)
	}
	if lapsed, err := r.lapsed(c.now); err != nil {
		return err
	} else if lapsed {
		return s.consentExpired(ctx, tx, c)
	}
	return s.urge(ctx, tx, c)
}

// stepWhileStuck is step for a SENT referral whose placing does not come to an end: until it does, the referral is not given to anybody
// else, nor given up, but who has to act is told all the same.
func (s *server) stepWhileStuck(ctx context.Context, tx pgx.Tx, c *change) error {
	r, was := c.row, c.row.Step
	lapsed, err := r.lapsed(c.now)
	if err != nil {
		return err
	}
	if lapsed {
		err = s.consentExpired(ctx, tx, c)
	} else {
		err = s.urge(ctx, tx, c)
	}
	if was == stepPass && r.Awaiting == receiver {
		r.Step = stepPass // for when the placing has come to nothing
	}
	if at := c.now.Add(tellEvery); !r.StepTime.After(c.now) { // it would be given up now
		r.StepTime = &at
	}
	return err
}

// urge reminds who has to act, finds the due time missed, or tells the referrer.
func (s *server) urge(ctx context.Context, tx pgx.Tx, c *change) error {
	r := c.row
	switch {
	case r.Step == stepRemind && r.DueTime.After(c.now):
		r.later(stepMiss, *r.DueTime)
		if err := c.announce(noteReminded, entry{by: system}); err != nil {
			return err
		}
		return s.tellWhoActs(ctx, tx, c, noticeSoon)
	case r.Step <= stepMiss:
		r.OverdueTime = &c.now
		wait := passAfter
		if r.State == sent {
			wait = patience(referralv1.Referral_Urgency(r.Urgency))
		}
		r.later(stepPass, c.now.Add(wait))
		if err := c.announce(noteOverdue, entry{by: system}); err != nil {
			return err
		}
		return s.tellWhoActs(ctx, tx, c, noticeLate)
	}
	if r.State == cancelRequested && r.FirstAttendedTime == nil && r.Step == stepPass {
		return s.cancelUnanswered(ctx, tx, c)
	}
	return s.tellReferrer(ctx, tx, c)
}

// cancelUnanswered confirms a cancellation that the receiver has not answered, of somebody who never came.
func (s *server) cancelUnanswered(ctx context.Context, tx pgx.Tx, c *change) error {
	const why = "The receiver has not answered the request to cancel."
	if err := c.take(transition{from: cancelRequested, action: confirmCancel, to: cancelled}, entry{by: system, note: why}); err != nil {
		return err
	}
	if err := c.because(why); err != nil {
		return err
	}
	return giveBack(ctx, tx, c)
}

// tellReferrer tells the referrer that nobody acts, and does so again in a week.
func (s *server) tellReferrer(ctx context.Context, tx pgx.Tx, c *change) error {
	c.row.later(stepTell, c.now.Add(tellEvery))
	if err := c.announce(noteUnanswered, entry{by: system}); err != nil {
		return err
	}
	text := noticeNobody
	if c.row.Awaiting == referrer { // it is its own turn
		text = noticeLate
	}
	if err := s.notify(ctx, tx, c.row, text, c.row.OrgID); err != nil {
		return err
	}
	if c.row.Awaiting == receiver && c.row.OwnerOrgID != nil {
		return s.notify(ctx, tx, c.row, noticeLate, *c.row.OwnerOrgID)
	}
	return nil
}

// giveUp ends a referral that nobody took, or a draft that nobody sent, in time.
func (s *server) giveUp(ctx context.Context, tx pgx.Tx, c *change, why string) error {
	to, _ := next(c.row.State, expire, system)
	if err := c.take(transition{from: c.row.State, action: expire, to: to}, entry{by: system}); err != nil {
		return err
	}
	if err := c.because(why); err != nil {
		return err
	}
	// A late copy of an accepting may have got a seat and died before it wrote so.
	if err := giveBack(ctx, tx, c); err != nil {
		return err
	}
	return s.notify(ctx, tx, c.row, noticeEnded, c.row.OrgID)
}
