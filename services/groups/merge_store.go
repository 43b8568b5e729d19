package groups

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/pg"
	dup "cairn.care/services/groups/duplicate"
)

// merges are the groups of a change that were merged with others, and those that the change shows in. A merged group stays a row
// of its own (merged_into hides it), and what its survivor says itself is kept beside what it shows (group_own); so each goes on by
// itself as if there were no merge, and after each change the survivors above are made anew. That is why a split loses nothing.
//
// Whoever changes the content of groups does it like this, in the transaction in which the groups are locked:
//
//	m, err := openMerges(ctx, tx, now, ids)  // of the groups about to be changed
//	for each group:
//		if !m.has(id) { …as ever; continue }
//		own := m.own(id)                     // what it says itself: set in that what the feed tells anew (mergeTold)
//		m.set(key, own)                      // with the group's new state and delete_time; merged_into stays
//	changed, err := m.queue(ctx, b, h)       // writes these rows (revision and update_time too) and all that show them
//
// with h the history of the run, to which it adds; changed are the groups to name in the event group.synced. Without h it queues
// single revisions and events. A group that the feed removes (delete_time) stops to fill its survivor; a survivor that a
// feed removes sets free what was merged into it.
type merges struct {
	now   time.Time
	nodes map[uuid.UUID]*merged
	freed []uuid.UUID // groups set free, since their survivor is gone
}

// merged is a group that takes part in a merge.
type merged struct {
	key      groupKey
	was      groupKey        // as it was loaded
	before   *groupsv1.Group // as it was loaded: what it shows
	shown    *groupsv1.Group
	own      *groupsv1.Group
	kept     []string // fields of own that are never filled
	children []child  // first merged first
	from     map[string]int
	stored   bool   // group_own has its row
	whole    bool   // children are all that were merged into it; else they are not known
	beside   bool   // its row is written by whoever changes it
	change   string // "merged" or "split" if that is what happens to it
}

// child is a group that was merged into another.
type child struct {
	id    uuid.UUID
	taken []string // fields shown of it by choice
	was   int      // how many were taken when it was loaded
}

// openMerges loads and locks what is merged with the groups; the caller has locked these. It needs the rows of all tenants where
// groups of different organizations are merged (a service's own context); in a tenant's context it sees what the tenant may.
func openMerges(ctx context.Context, tx pg.Querier, now time.Time, ids []uuid.UUID) (*merges, error) {
	m := &merges{now: now, nodes: map[uuid.UUID]*merged{}}
	// Upwards: the survivors in which the groups show, locked in the order of ids.
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE up AS (
			SELECT g.id, g.merged_into FROM groups g
			WHERE g.id = ANY(@ids) AND (g.merged_into IS NOT NULL OR EXISTS (SELECT FROM group_own o WHERE o.group_id = g.id))
			UNION
			SELECT g.id, g.merged_into FROM up JOIN groups g ON g.id = up.merged_into
		)
		SELECT g.id FROM groups g WHERE g.id IN (SELECT id FROM up) ORDER BY g.id FOR UPDATE`, pgx.NamedArgs{"ids": ids})
	if err != nil {
		return nil, fmt.Errorf("lock merged groups: %w", err)
	}
	up, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("lock merged groups: %w", err)
	}
	if len(up) == 0 {
		return m, nil
	}
	return m, m.load(ctx, tx, up)
}

// load reads locked groups and what was merged into them.
func (m *merges) load(ctx context.Context, tx pg.Querier, ids []uuid.UUID) error {
	rows, err := tx.Query(ctx, `
		SELECT `+groupColumns+`, o.body, o.kept
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON p.group_id = g.id
		LEFT JOIN group_own o ON o.group_id = g.id
		WHERE g.id = ANY(@ids) OR g.merged_into = ANY(@ids)
		ORDER BY g.id`, pgx.NamedArgs{"ids": ids})
	if err != nil {
		return fmt.Errorf("read merged groups: %w", err)
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		var r groupRow
		var own []byte
		n := &merged{}
		if err := r.scan(withMore{row, []any{&own, &n.kept}}); err != nil {
			return struct{}{}, err
		}
		if err := n.decode(&r, own); err != nil {
			return struct{}{}, err
		}
		m.nodes[n.key.ID] = n
		return struct{}{}, nil
	})
	if err != nil {
		return fmt.Errorf("read merged groups: %w", err)
	}
	for _, id := range ids {
		if n, ok := m.nodes[id]; ok {
			n.whole = true
		}
	}
	return m.link(ctx, tx, ids)
}

// link reads what was merged into the groups. Pairs tell it, not the groups: one of another organization may not be visible.
func (m *merges) link(ctx context.Context, tx pg.Querier, survivors []uuid.UUID) error {
	rows, err := tx.Query(ctx, `
		SELECT survivor, CASE survivor WHEN first_id THEN second_id ELSE first_id END, taken_fields FROM duplicates
		WHERE state = @merged AND (first_id = ANY(@survivors) AND survivor = first_id OR second_id = ANY(@survivors) AND survivor = second_id)
		ORDER BY decide_time, id`, pgx.NamedArgs{"survivors": survivors, "merged": groupsv1.Duplicate_MERGED})
	if err != nil {
		return fmt.Errorf("read merged pairs: %w", err)
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		var survivor uuid.UUID
		var c child
		err = row.Scan(&survivor, &c.id, &c.taken)
		c.was = len(c.taken)
		if n, ok := m.nodes[survivor]; ok {
			n.children = append(n.children, c)
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("read merged pairs: %w", err)
	}
	return nil
}

// decode sets the node to a row.
func (n *merged) decode(r *groupRow, own []byte) error {
	g, err := r.toProto(r.UpdateTime)
	if err != nil {
		return err
	}
	n.key, n.was = r.groupKey, r.groupKey
	n.before, n.shown = g, written(g)
	n.own = n.shown
	if own != nil {
		n.stored, n.own = true, &groupsv1.Group{}
		if err := proto.Unmarshal(own, n.own); err != nil {
			return fmt.Errorf("decode own part of group %s: %w", r.ID, err)
		}
	}
	return nil
}

// has reports whether the group was merged into another, or another into it.
func (m *merges) has(id uuid.UUID) bool {
	n, ok := m.nodes[id]
	return ok && (n.key.MergedInto != nil || n.stored || len(n.children) > 0)
}

// own returns a copy of what the group says itself.
func (m *merges) own(id uuid.UUID) *groupsv1.Group { return proto.CloneOf(m.nodes[id].own) }

// set changes what a group says itself, and its state.
func (m *merges) set(k *groupKey, own *groupsv1.Group) {
	n := m.nodes[k.ID]
	n.key.State, n.key.PauseReason, n.key.DeleteTime = k.State, k.PauseReason, k.DeleteTime
	n.own = written(own)
	if n.key.DeleteTime != nil && n.was.DeleteTime == nil {
		m.freeAll(n)
	}
	m.refresh(n)
}

// leave sets free what was merged into a group that goes by hand, and returns what it shows then.
func (m *merges) leave(id uuid.UUID) *groupsv1.Group {
	n := m.nodes[id]
	n.beside = true
	m.freeAll(n)
	m.refresh(n)
	return proto.CloneOf(n.shown)
}

func (m *merges) freeAll(n *merged) {
	for _, c := range n.children {
		m.free(c.id)
	}
}

// edit carries what was changed by hand of what a survivor shows over to what it says itself, and returns what it shows then. What
// is changed by hand, emptied too, is never filled again.
func (m *merges) edit(id uuid.UUID, before, after *groupsv1.Group) *groupsv1.Group {
	n := m.nodes[id]
	n.beside = true
	edited := dup.Edited(written(before), written(after))
	n.own = proto.CloneOf(n.own)
	dup.Copy(n.own, after, edited)
	for _, path := range edited {
		if !slices.Contains(n.kept, path) {
			n.kept = append(n.kept, path)
		}
		for i := range n.children {
			n.children[i].taken = slices.DeleteFunc(slices.Clone(n.children[i].taken), func(p string) bool { return p == path })
		}
	}
	m.refresh(n)
	return proto.CloneOf(n.shown)
}

// join merges one group into another, and free undoes it. Both are loaded, and neither shows in others.
func (m *merges) join(other, survivor uuid.UUID, taken []string) {
	n, s := m.nodes[other], m.nodes[survivor]
	n.key.MergedInto, n.key.MergeTime = &s.key.ID, &m.now
	s.children = append(s.children, child{other, taken, 0})
	n.change, s.change = "merged", "merged"
	m.refresh(s)
}

func (m *merges) free(other uuid.UUID) {
	n := m.nodes[other]
	s, ok := m.nodes[*n.key.MergedInto]
	n.key.MergedInto, n.key.MergeTime = nil, nil
	n.change = "split"
	m.freed = append(m.freed, other)
	if ok {
		s.change = "split"
		s.children = slices.DeleteFunc(slices.Clone(s.children), func(c child) bool { return c.id == other })
		m.refresh(s)
	}
}

// refresh makes anew what a group shows, and the groups above that show it.
func (m *merges) refresh(n *merged) {
	for n != nil {
		n.shown, n.from = dup.Combine(n.own, n.kept, m.parts(n))
		if n.key.MergedInto == nil {
			return
		}
		n = m.nodes[*n.key.MergedInto]
	}
}

// parts returns what fills a group: of its own organization what has not been deleted, of another's what would be public.
func (m *merges) parts(n *merged) []dup.Part {
	var out []dup.Part
	for _, c := range n.children {
		o, ok := m.nodes[c.id]
		if !ok { // of another organization, and not public any more
			out = append(out, dup.Part{})
			continue
		}
		p := dup.Part{Group: o.shown, Taken: c.taken}
		public := o.key.State == int32(groupsv1.Group_PUBLISHED) || o.key.State == int32(groupsv1.Group_PAUSED)
		switch {
		case o.key.DeleteTime != nil, o.key.OrgID != n.key.OrgID && !public:
			p = dup.Part{}
		case o.key.OrgID != n.key.OrgID:
			p.Group, _ = split(o.shown)
		}
		out = append(out, p)
	}
	return out
}

// queue queues the rows of all groups that have changed. With a history it adds to that one; else each group gets its own event.
func (m *merges) queue(ctx context.Context, b *pgx.Batch, h *history) (changed []uuid.UUID, err error) {
	for _, id := range slices.SortedFunc(maps.Keys(m.nodes), func(x, y uuid.UUID) int { return bytes.Compare(x[:], y[:]) }) {
		n := m.nodes[id]
		if err := n.queueOwn(b); err != nil {
			return nil, err
		}
		if n.beside || !n.changed() {
			continue
		}
		changed = append(changed, id)
		n.key.Revision, n.key.UpdateTime = n.was.Revision+1, m.now
		g := proto.CloneOf(n.shown)
		n.key.into(g)
		if err := queueUpdateGroup(b, &n.key, g); err != nil {
			return nil, err
		}
		revisions := h
		if h == nil {
			revisions = newHistory(ctx, uuid.Nil)
		}
		if err := revisions.add(&n.key, changeOf(n.happened()), n.before, g); err != nil {
			return nil, err
		}
		if h == nil {
			revisions.queue(b)
			if err := events.Queue(ctx, b, groupEvent(&n.key, g, n.event())); err != nil {
				return nil, err
			}
		}
	}
	m.queueChoices(b)
	return changed, nil
}

// changed reports whether the public or the owner sees anything else of the group than before.
func (n *merged) changed() bool {
	k, was := &n.key, &n.was
	return !proto.Equal(written(n.before), n.shown) || k.State != was.State || k.PauseReason != was.PauseReason ||
		(k.DeleteTime == nil) != (was.DeleteTime == nil) || (k.MergedInto == nil) != (was.MergedInto == nil)
}

// happened returns what a revision says that was done to the group.
func (n *merged) happened() string {
	if n.change != "" {
		return n.change
	}
	return n.event()
}

// event returns what others are told that was done to the group: to be merged is for them to be deleted.
func (n *merged) event() string {
	gone := func(k *groupKey) bool { return k.DeleteTime != nil || k.MergedInto != nil }
	switch {
	case gone(&n.key) && !gone(&n.was):
		return "deleted"
	case !gone(&n.key) && gone(&n.was):
		return "undeleted"
	case n.key.State == n.was.State:
		return "updated"
	case n.key.State == int32(groupsv1.Group_PUBLISHED):
		return "published"
	case n.key.State == int32(groupsv1.Group_PAUSED):
		return "paused"
	}
	return "updated"
}

// queueOwn queues the row of what a survivor says itself. That of a group whose children are not known stays.
func (n *merged) queueOwn(b *pgx.Batch) error {
	if !n.whole {
		return nil
	}
	if len(n.children) == 0 {
		if n.stored {
			b.Queue(`DELETE FROM group_own WHERE group_id = @id`, pgx.NamedArgs{"id": n.key.ID})
		}
		return nil
	}
	body, err := proto.Marshal(n.own)
	if err != nil {
		return fmt.Errorf("encode own part of group %s: %w", n.key.ID, err)
	}
	b.Queue(`
		INSERT INTO group_own (group_id, org_id, body, kept) VALUES (@id, @org, @body, @kept)
		ON CONFLICT (group_id) DO UPDATE SET body = excluded.body, kept = excluded.kept
		WHERE (group_own.body, group_own.kept) IS DISTINCT FROM (excluded.body, excluded.kept)`,
		pgx.NamedArgs{"id": n.key.ID, "org": n.key.OrgID, "body": body, "kept": orEmpty(n.kept)})
	return nil
}

// queueChoices queues what has become of the pairs: fields that are not taken any more since they were edited by hand, and the
// pairs of groups that were set free, which are proposed again.
func (m *merges) queueChoices(b *pgx.Batch) {
	for _, n := range m.nodes {
		for _, c := range n.children {
			if len(c.taken) < c.was {
				b.Queue(`
					UPDATE duplicates SET taken_fields = @taken, revision = revision + 1, update_time = @now
					WHERE survivor = @survivor AND @other IN (first_id, second_id)`,
					pgx.NamedArgs{"survivor": n.key.ID, "other": c.id, "taken": orEmpty(c.taken), "now": m.now})
			}
		}
	}
	if len(m.freed) > 0 {
		b.Queue(`
			UPDATE duplicates SET state = @proposed, survivor = NULL, taken_fields = '{}', decided_by = '', decide_time = NULL, unsettled = false,
				revision = revision + 1, update_time = @now
			WHERE state = @merged AND (first_id = ANY(@freed) AND survivor = second_id OR second_id = ANY(@freed) AND survivor = first_id)`,
			pgx.NamedArgs{
				"freed": m.freed, "now": m.now, "proposed": groupsv1.Duplicate_PROPOSED, "merged": groupsv1.Duplicate_MERGED,
			})
	}
}

// changeMerged returns what a locked group shows after a change by hand, if others were merged into it. What it says itself is queued,
// and when it is deleted or archived the others, which are set free.
func (s *server) changeMerged(ctx context.Context, tx pg.Querier, b *pgx.Batch, r *groupRow, before, after *groupsv1.Group, event string) (*groupsv1.Group, error) {
	gone := event == "deleted" || event == "archived"
	if event != "updated" && !gone {
		return after, nil
	}
	m, err := openMerges(ctx, tx, s.clock.Now(), []uuid.UUID{r.ID})
	if err != nil || !m.has(r.ID) {
		return after, err
	}
	var shown *groupsv1.Group
	if gone {
		shown = m.leave(r.ID)
	} else {
		shown = m.edit(r.ID, before, after)
	}
	shown.Availability = after.GetAvailability()
	r.into(shown)
	_, err = m.queue(ctx, b, nil)
	return shown, err
}
