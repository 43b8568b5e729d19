package referral

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// change is what one transaction does to one locked referral: steps of the machine, entries of its timeline, events.
type change struct {
	s     *server
	row   *row
	now   time.Time
	actor actor
	since int64 // the row's revision before

	batch *pgx.Batch // all writes; the row's own comes first
	steps []func(context.Context, *pgx.Batch) error
}

// actor is who does something, as the timeline names it.
type actor struct {
	name string // "apiClients/…", a user's subject, a service's name
	org  *uuid.UUID
}

func actorFrom(ctx context.Context) actor {
	p := auth.PrincipalFrom(ctx)
	a := actor{name: p.Subject}
	if id := p.OrganizationID(); id != uuid.Nil {
		a.org = &id
	}
	return a
}

// told is the actor of what another service has told.
func told(service string) actor { return actor{name: service} }

// entry is what a step or a note adds to the timeline beside what the machine knows.
type entry struct {
	by      party
	note    string
	session *uuid.UUID
	tells   func(*referralv1.ReferralChanged) // what else the event says; nil: nothing
}

func (s *server) newChange(r *row, a actor) *change {
	return &change{s: s, row: r, now: s.clock.Now(), actor: a, since: r.Revision, batch: new(pgx.Batch)}
}

// take takes a step that the table has: the new state, who acts next and until when, the timeline and the event.
func (c *change) take(t transition, e entry) error {
	r := c.row
	if t.from != t.to {
		r.StateReason = nil
	}
	r.State = t.to
	switch t.to {
	case sent:
		if r.SendTime == nil {
			r.SendTime = &c.now
		}
	case accepted:
		if r.AcceptTime == nil {
			r.AcceptTime = &c.now
		}
	case sessionCancelled:
		r.FirstSessionID, r.FirstSessionTime = nil, nil
	}
	r.Awaiting, r.DueTime = dueAfter(r.State, c.now, referralv1.Referral_Urgency(r.Urgency), r.Deadline, r.FirstSessionTime)
	r.OverdueTime = nil
	r.plan(c.now)
	if err := c.log(t, e); err != nil {
		return err
	}
	return c.tell(t, e.tells)
}

// takeAll takes the steps that check or route have found; the last one is the entry's own, those before lead to it.
func (c *change) takeAll(steps []transition, e entry) error {
	for i, t := range steps {
		own := entry{by: t.by[0], session: e.session}
		if i == len(steps)-1 {
			own = e
		}
		if err := c.take(t, own); err != nil {
			return err
		}
	}
	return nil
}

// announce adds to the timeline without moving the referral, and tells of it.
func (c *change) announce(a action, e entry) error {
	if err := c.note(a, e); err != nil {
		return err
	}
	return c.tell(transition{from: c.row.State, action: a, to: c.row.State}, e.tells)
}

// note adds to the timeline without moving the referral.
func (c *change) note(a action, e entry) error {
	return c.log(transition{from: c.row.State, action: a, to: c.row.State}, e)
}

func (c *change) log(t transition, e entry) error {
	r := c.row
	r.Revision++
	r.UpdateTime = c.now
	sealed, err := c.s.seal(r, eventNoteField(r.Revision), e.note)
	if err != nil {
		return err
	}
	row := &eventRow{
		ReferralID: r.ID, Number: r.Revision, OrgID: r.OrgID, CreateTime: c.now, Action: t.action, Party: e.by,
		Actor: c.actor.name, ActorOrgID: c.actor.org, FromState: t.from, ToState: t.to, Note: sealed, SessionID: e.session,
	}
	c.steps = append(c.steps, func(_ context.Context, b *pgx.Batch) error {
		insertEvent(b, row)
		return nil
	})
	return nil
}

// tell queues the event of a step just logged; more, if set, adds to what it says.
func (c *change) tell(t transition, more func(*referralv1.ReferralChanged)) error {
	r := c.row
	group, owner := r.GroupID, r.OwnerOrgID
	if group == nil {
		group = r.RequestedGroupID
	}
	if r.SendTime == nil { // a draft is nobody's business but the referrer's
		group, owner = nil, nil
	}
	data := &referralv1.ReferralChanged{
		Referral: r.name(), FromState: t.from, State: t.to, Organization: aip.Name("organizations", r.OrgID),
		OwnerOrganization: optionalName("organizations", owner), Group: optionalName("groups", group),
		Membership: optionalName("memberships", r.MembershipID), Awaiting: r.Awaiting, DueTime: timestamp(r.DueTime),
		ChangeTime: timestamp(&c.now), ConsentVersion: r.ConsentVersion,
	}
	if more != nil {
		more(data)
	}
	e := events.Event{Type: eventType(t), Subject: r.name(), Revision: r.Revision, Data: data}
	c.steps = append(c.steps, func(ctx context.Context, b *pgx.Batch) error { return events.Queue(ctx, b, e) })
	return nil
}

// because sets why the referral stands where it does.
func (c *change) because(reason string) (err error) {
	c.row.StateReason, err = c.s.seal(c.row, stateReasonField, reason)
	return err
}

// flush queues everything on the change's batch: the row first, then what tells of it.
func (c *change) flush(ctx context.Context, write func(*pgx.Batch, *row)) error {
	if err := c.row.untilConsentEnds(); err != nil {
		return err
	}
	write(c.batch, c.row)
	if c.row.Revision != c.since {
		if err := c.s.insertVersion(c.batch, c.row); err != nil {
			return err
		}
	}
	for _, step := range c.steps {
		if err := step(ctx, c.batch); err != nil {
			return err
		}
	}
	audit.Queue(ctx, c.batch, c.row.name())
	return nil
}

// save writes the change in its transaction. One without steps is only something learned, which nobody is told of.
func (c *change) save(ctx context.Context, tx pgx.Tx) error {
	if len(c.steps) == 0 {
		if err := c.row.untilConsentEnds(); err != nil {
			return err
		}
		updateReferral(c.batch, c.row)
	} else if err := c.flush(ctx, updateReferral); err != nil {
		return err
	}
	if err := sendBatch(ctx, tx, c.batch); err != nil {
		return fmt.Errorf("write referral: %w", err)
	}
	return nil
}

// answer saves the change and the answer to the caller.
func (c *change) answer(ctx context.Context, tx pgx.Tx, v view) (*referralv1.Referral, error) {
	m, err := c.s.toProto(c.row, v)
	if err != nil {
		return nil, err
	}
	if err := c.flush(ctx, updateReferral); err != nil {
		return nil, err
	}
	if v == consented {
		c.s.discloseRows(ctx, c.batch, c.row)
	}
	if err := idem.Save(ctx, c.batch, m); err != nil {
		return nil, err
	}
	if err := sendBatch(ctx, tx, c.batch); err != nil {
		return nil, fmt.Errorf("write referral: %w", err)
	}
	return m, nil
}

// parties returns which sides of the referral the tenant stands on. Internal apps act for either.
func (r *row) parties(t auth.Tenant) []party {
	var p []party
	if t.All || t.Org == r.OrgID {
		p = append(p, referrer)
	}
	if r.OwnerOrgID != nil && (t.All || t.Org == *r.OwnerOrgID) {
		p = append(p, receiver)
	}
	return p
}

// step is one caller's step on one referral.
type step struct {
	name   string
	etag   string
	action action
	note   string
	// session is the one that the step is about; nil: none.
	session *uuid.UUID

	// before, if set, runs before the row is locked: see lockKey.
	before func(ctx context.Context, tx pgx.Tx) error
	// with, if set, changes the row before the step is taken, and may refuse it.
	with func(c *change) error
	// after, if set, is what follows in the same transaction.
	after func(ctx context.Context, tx pgx.Tx, c *change) error
}

// apply takes a caller's step: state, timeline, event, audit and kept answer, at once.
func (s *server) apply(ctx context.Context, st step) (*referralv1.Referral, error) {
	id, err := aip.ParseName("name", "referrals", st.name)
	if err != nil {
		return nil, err
	}
	var answer *referralv1.Referral
	tenant := auth.TenantFrom(ctx)
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		if st.before != nil {
			if err := st.before(ctx, tx); err != nil {
				return err
			}
		}
		r, err := lock(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if r == nil {
			return fault.NotFound(st.name)
		}
		steps, err := check(st.name, r.State, st.action, r.parties(tenant))
		if err != nil {
			return err
		}
		if err := aip.CheckETag(st.etag, r.Revision); err != nil {
			return err
		}
		if err := mayReport(r, st.action); err != nil {
			return err
		}
		c := s.newChange(r, actorFrom(ctx))
		if st.with != nil {
			if err := st.with(c); err != nil {
				return err
			}
		}
		last := steps[len(steps)-1]
		if err := c.takeAll(steps, entry{by: last.by[0], note: st.note, session: st.session}); err != nil {
			return err
		}
		if st.after != nil {
			if err := st.after(ctx, tx, c); err != nil {
				return err
			}
		}
		answer, err = c.answer(ctx, tx, viewFor(tenant, r))
		return err
	})
	return answer, err
}
