package membership

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// Changes of one group's seats exclude each other. Each in a transaction of its own would wait for the commits of all before
// it, so those that come while one is under way are made together in the next: in the order in which they came, each with an
// answer or a refusal of its own.

const (
	atOnce      = 64               // changes in one transaction
	lineTimeout = 20 * time.Second // of one transaction
)

// lineKey is what changes have in common that may be made together.
type lineKey struct {
	group  uuid.UUID
	tenant auth.Tenant
}

// caller is a change that stands in line.
type caller struct {
	ctx    context.Context
	change change
	id     uuid.UUID // of the membership

	answer *membershipv1.Membership
	err    error
	done   chan struct{}
}

// lines are the changes of all groups that wait for their turn. A group is in it while somebody works on its line.
type lines struct {
	mu sync.Mutex
	of map[lineKey][]*caller
}

// enter puts a caller in line and tells whether nobody works on it yet.
func (l *lines) enter(key lineKey, c *caller) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, worked := l.of[key]
	if l.of == nil {
		l.of = map[lineKey][]*caller{}
	}
	l.of[key] = append(line, c)
	return !worked
}

// next takes the callers whose turn it is; none ends the work on the line.
func (l *lines) next(key lineKey) []*caller {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.of[key]
	if len(line) == 0 {
		delete(l.of, key)
		return nil
	}
	n := min(len(line), atOnce)
	l.of[key] = line[n:]
	return line[:n]
}

// applyInLine makes a change that touches the numbers of the group.
func (s *server) applyInLine(ctx context.Context, c change, id, group uuid.UUID) (*membershipv1.Membership, error) {
	key := lineKey{group: group, tenant: auth.TenantFrom(ctx)}
	me := &caller{ctx: ctx, change: c, id: id, done: make(chan struct{})}
	if s.lines.enter(key, me) {
		go s.serve(key)
	}
	select {
	case <-me.done:
		return me.answer, me.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve works on a line until nobody stands in it.
func (s *server) serve(key lineKey) {
	for callers := s.lines.next(key); callers != nil; callers = s.lines.next(key) {
		if err := s.together(key, callers); err != nil {
			for _, c := range callers {
				if len(callers) > 1 { // one of them spoils it for the others
					err = s.together(key, []*caller{c})
				}
				if err != nil {
					c.err = err
				}
			}
		}
		for _, c := range callers {
			if c.err != nil {
				c.answer = nil
			}
			close(c.done)
		}
	}
}

// together makes the changes of callers in one transaction. The error is why none of them is made.
func (s *server) together(key lineKey, callers []*caller) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(callers[0].ctx), lineTimeout)
	defer cancel()
	ids := make([]uuid.UUID, len(callers))
	for i, c := range callers {
		ids[i], c.answer, c.err = c.id, nil, nil
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		w, err := s.lockAll(ctx, tx, key, ids)
		if err != nil {
			return err
		}
		for _, c := range callers {
			row := w.rows[c.id]
			switch {
			case c.ctx.Err() != nil: // nobody waits for the answer any more
				c.err = c.ctx.Err()
				continue
			case row == nil:
				c.err = fault.NotFound(c.change.name)
				continue
			}
			if c.answer, c.err, err = s.applyOne(c.ctx, w, row, c.change); err != nil {
				return err
			}
		}
		return w.send(ctx)
	})
}

// lockAll locks a group and memberships of it. Those who have qualified for a free seat since move up before.
func (s *server) lockAll(ctx context.Context, tx pgx.Tx, key lineKey, ids []uuid.UUID) (*work, error) {
	w := &work{tx: tx, b: new(pgx.Batch), now: s.clock.Now()}
	var list []*membershipRow
	read := func(b *pgx.Batch) {
		b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE x.id = ANY(@ids) AND x.group_id = @group AND (@all OR x.org_id = @org)
			ORDER BY x.id FOR NO KEY UPDATE OF x`,
			pgx.NamedArgs{"ids": ids, "group": key.group, "all": key.tenant.All, "org": key.tenant.Org}).Query(all(&list))
	}
	b := new(pgx.Batch)
	b.Queue(selectGroup+` WHERE group_id = @group AND (@all OR org_id = @org) `+lockToTake,
		pgx.NamedArgs{"group": key.group, "all": key.tenant.All, "org": key.tenant.Org}).Query(atMostOne(&w.g))
	read(b)
	if err := send(ctx, tx, b); err != nil {
		return nil, fmt.Errorf("lock memberships: %w", err)
	}
	if w.g == nil { // another tenant's
		return w, nil
	}
	if w.g.promotable() > 0 {
		if err := s.promote(ctx, w); err != nil {
			return nil, err
		}
		if err := w.flush(ctx); err != nil {
			return nil, err
		}
		b := new(pgx.Batch)
		read(b)
		if err := send(ctx, tx, b); err != nil {
			return nil, fmt.Errorf("lock memberships: %w", err)
		}
	}
	w.rows = make(map[uuid.UUID]*membershipRow, len(list))
	for _, r := range list {
		w.rows[r.ID] = r
	}
	return w, nil
}
