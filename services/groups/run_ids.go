package groups

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/formats"
)

// The states of a feed's item.
const (
	itemLive    int16 = iota + 1 // the feed has it
	itemRemoved                  // it has not, and the group was removed for that
	itemGone                     // it has not, and the group was gone before, or somebody else has it too
)

// item is a row of feed_items. No two items of a feed have the same group.
type item struct {
	ID      string
	Item    int32
	GroupID uuid.UUID
	State   int16
	Paused  bool
	Told    []byte
}

// matched is which groups a batch's records are of.
type matched struct {
	items   map[string]item      // what the feed has, by the record's id
	adopted map[string]uuid.UUID // groups with the record's id that the feed does not have: a client made them, or a feed that was deleted
	held    map[string]string    // the record whose group has this record's id
}

// match finds the groups of the records. A group whose owner has given it another external_id goes on with the record that has that
// id, if the record that it came from is gone; if it is not, the other is refused.
func (w *writer) match(ctx context.Context, tx pgx.Tx, records []decoded, o *outcome) (*matched, error) {
	ids, told := make([]string, len(records)), map[string]bool{}
	for i, d := range records {
		ids[i] = d.id
		told[d.id] = d.digest != nil
	}
	m := &matched{held: map[string]string{}}
	var err error
	if m.items, err = w.itemsOf(ctx, tx, ids); err != nil {
		return nil, err
	}
	if m.adopted, err = w.adoptable(ctx, tx, ids, m.items); err != nil || len(m.adopted) == 0 {
		return m, err
	}
	has, err := w.holders(ctx, tx, m.adopted)
	if err != nil {
		return nil, err
	}
	for id, group := range m.adopted {
		h, ok := has[group]
		if !ok {
			continue
		}
		delete(m.adopted, id)
		if !h.leaves && (h.State == itemLive || told[h.ID]) {
			m.held[id] = h.ID
			continue
		}
		o.items.move(h.ID, id)
		delete(m.items, h.ID)
		m.items[id] = h.item
		if w.run.DryRun {
			w.moved = append(w.moved, h.ID)
		}
	}
	return m, nil
}

// itemsOf returns what the feed has of the records.
func (w *writer) itemsOf(ctx context.Context, tx pgx.Tx, ids []string) (map[string]item, error) {
	rows, err := tx.Query(ctx, `
		SELECT external_id, item, group_id, state, paused, body FROM feed_items
		WHERE feed_id = @feed AND org_id = @org AND external_id = ANY(@ids::text[])`,
		pgx.NamedArgs{"feed": w.run.FeedID, "org": w.run.OrgID, "ids": ids})
	if err != nil {
		return nil, fmt.Errorf("read items: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[item])
	if err != nil {
		return nil, fmt.Errorf("read items: %w", err)
	}
	out := make(map[string]item, len(list))
	for _, it := range list {
		out[it.ID] = it
	}
	return out, nil
}

// adoptable returns the organization's groups that have the ids of records that the feed did not have.
func (w *writer) adoptable(ctx context.Context, tx pgx.Tx, ids []string, items map[string]item) (map[string]uuid.UUID, error) {
	var strange []string
	for _, id := range ids {
		if _, ok := items[id]; !ok {
			strange = append(strange, id)
		}
	}
	out := map[string]uuid.UUID{}
	if len(strange) == 0 {
		return out, nil
	}
	// One look each: what is known of the table while it is being filled would have it read as a whole.
	rows, err := tx.Query(ctx, `
		SELECT r.id, g.id FROM unnest(@ids::text[]) AS r (id) CROSS JOIN LATERAL (
			SELECT id FROM groups WHERE org_id = @org AND source_system = @source AND external_id = r.id AND external_id <> '' AND delete_time IS NULL LIMIT 1
		) AS g`,
		pgx.NamedArgs{"org": w.run.OrgID, "source": w.f.GetSourceSystem(), "ids": strange})
	if err != nil {
		return nil, fmt.Errorf("find groups: %w", err)
	}
	var external string
	var id uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&external, &id}, func() error { out[external] = id; return nil }); err != nil {
		return nil, fmt.Errorf("find groups: %w", err)
	}
	return out, nil
}

// holder is the item that has a group with another record's id.
type holder struct {
	item
	leaves bool // the run removes it
}

// holders returns the items of the feed that have the groups.
func (w *writer) holders(ctx context.Context, tx pgx.Tx, adopted map[string]uuid.UUID) (map[uuid.UUID]holder, error) {
	ids := make([]uuid.UUID, 0, len(adopted))
	for _, id := range adopted {
		ids = append(ids, id)
	}
	rows, err := tx.Query(ctx, `
		SELECT external_id, item, group_id, state, paused, body,
			external_id IN (SELECT s.external_id FROM feed_stage s WHERE s.run_id = @run AND s.scan = @scan AND s.digest IS NULL)
		FROM feed_items WHERE group_id = ANY(@ids::uuid[]) AND feed_id = @feed AND org_id = @org`,
		pgx.NamedArgs{"run": w.run.ID, "scan": w.run.Scan, "ids": ids, "feed": w.run.FeedID, "org": w.run.OrgID})
	if err != nil {
		return nil, fmt.Errorf("read the groups' items: %w", err)
	}
	out := map[uuid.UUID]holder{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		var h holder
		err = row.Scan(&h.ID, &h.Item, &h.GroupID, &h.State, &h.Paused, &h.Told, &h.leaves)
		out[h.GroupID] = h
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the groups' items: %w", err)
	}
	return out, nil
}

// heldBy says why a record is refused whose group another record has.
func heldBy(d *decoded, other string) []formats.Rejected {
	return []formats.Rejected{*formats.Reject(int(d.row), "", d.id,
		"the group with this id came from record %q, which the feed still has: give the group its own external_id back, or drop one of the two records", other)}
}

// idTaken says why a record is refused whose group's id another group has.
func idTaken(d *decoded, g *groupsv1.Group) []formats.Rejected {
	return []formats.Rejected{*formats.Reject(int(d.row), "", d.id,
		"another group of the organization has external_id %q of source_system %q meanwhile: delete one of the two, or change its external_id",
		g.GetExternalId(), g.GetSourceSystem())}
}

// take notes that a group with this id is there from now on; it is false if the batch has another such group.
func (o *outcome) take(g *groupsv1.Group) bool {
	if g.GetExternalId() == "" {
		return true
	}
	if o.taken == nil {
		o.taken = map[string]bool{}
	}
	key := g.GetSourceSystem() + "\x00" + g.GetExternalId()
	if o.taken[key] {
		return false
	}
	o.taken[key] = true
	return true
}

// lock reads the groups that are there, and keeps others from changing them until the transaction ends.
func (w *writer) lock(ctx context.Context, tx pgx.Tx, m *matched) (map[uuid.UUID]*groupRow, error) {
	var ids []uuid.UUID
	for _, it := range m.items {
		ids = append(ids, it.GroupID)
	}
	for _, id := range m.adopted {
		ids = append(ids, id)
	}
	out := map[uuid.UUID]*groupRow{}
	if len(ids) == 0 {
		return out, nil
	}
	rows, err := tx.Query(ctx, `
		SELECT `+groupColumns+`
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON p.group_id = g.id
		WHERE g.id = ANY(@ids::uuid[]) AND g.org_id = @org
		ORDER BY g.id FOR UPDATE OF g`, pgx.NamedArgs{"ids": byID(ids), "org": w.run.OrgID})
	if err != nil {
		return nil, fmt.Errorf("lock groups: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*groupRow, error) {
		r := &groupRow{}
		return r, r.scan(row)
	})
	if err != nil {
		return nil, fmt.Errorf("lock groups: %w", err)
	}
	for _, r := range list {
		out[r.ID] = r
	}
	return out, nil
}

// look reads what the batch's changes of the locked groups depend on.
func (w *writer) look(ctx context.Context, tx pgx.Tx, records []decoded, m *matched, groups map[uuid.UUID]*groupRow, o *outcome) (err error) {
	o.groups, o.merged = make(map[uuid.UUID]*groupsv1.Group, len(groups)), map[uuid.UUID]bool{}
	for id, r := range groups {
		if o.merges.has(id) {
			o.merged[id] = true
		}
		if o.groups[id], err = o.current(r); err != nil {
			return err
		}
	}
	if o.leads, err = w.leads(ctx, tx, o); err != nil {
		return err
	}
	var leave, back []uuid.UUID
	for _, d := range records {
		it := m.items[d.id]
		r, there := groups[it.GroupID]
		switch {
		case !there:
		case d.digest == nil:
			leave = append(leave, r.ID)
		case r.DeleteTime != nil && it.State == itemRemoved:
			back = append(back, r.ID)
		}
	}
	if o.elsewhere, err = someOf(ctx, tx, leave, `
		SELECT DISTINCT group_id FROM feed_items WHERE group_id = ANY(@ids::uuid[]) AND org_id = @org AND feed_id <> @feed AND state = 1`,
		pgx.NamedArgs{"org": w.run.OrgID, "feed": w.run.FeedID}); err != nil {
		return fmt.Errorf("find groups of other feeds: %w", err)
	}
	if o.barred, err = someOf(ctx, tx, back, `
		SELECT g.id FROM groups g
		JOIN groups other ON other.org_id = g.org_id AND other.source_system = g.source_system AND other.external_id = g.external_id
			AND other.external_id <> '' AND other.delete_time IS NULL
		WHERE g.id = ANY(@ids::uuid[]) AND g.org_id = @org`, pgx.NamedArgs{"org": w.run.OrgID}); err != nil {
		return fmt.Errorf("find groups with the ids of deleted ones: %w", err)
	}
	return nil
}

// someOf returns those of the groups that a query finds.
func someOf(ctx context.Context, tx pgx.Tx, ids []uuid.UUID, sql string, args pgx.NamedArgs) (map[uuid.UUID]bool, error) {
	out := map[uuid.UUID]bool{}
	if len(ids) == 0 {
		return out, nil
	}
	args["ids"] = ids
	rows, err := tx.Query(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	var id uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error { out[id] = true; return nil })
	return out, err
}

// current returns what a group says: itself, not what it shows of others that were merged into it.
func (o *outcome) current(r *groupRow) (*groupsv1.Group, error) {
	g, err := r.toProto(o.now)
	if err != nil || !o.merged[r.ID] {
		return g, err
	}
	g = o.merges.own(r.ID)
	r.into(g)
	return g, nil
}

// leads returns the facilitators of the batch's groups, by name.
func (w *writer) leads(ctx context.Context, tx pgx.Tx, o *outcome) (map[string]lead, error) {
	var roles []*groupsv1.Group_FacilitatorRole
	for _, g := range o.groups {
		roles = append(roles, g.GetFacilitators()...)
	}
	name := func(a, b *groupsv1.Group_FacilitatorRole) int {
		return cmp.Compare(a.GetFacilitator(), b.GetFacilitator())
	}
	slices.SortFunc(roles, name)
	roles = slices.CompactFunc(roles, func(a, b *groupsv1.Group_FacilitatorRole) bool { return name(a, b) == 0 })
	out := map[string]lead{}
	if len(roles) == 0 {
		return out, nil
	}
	list, err := leadsOf(ctx, tx, w.run.OrgID, roles, o.now)
	for _, l := range list {
		out[aip.Name("facilitators", l.ID)] = l
	}
	return out, err
}

// leadsOf returns who leads a group.
func (o *outcome) leadsOf(g *groupsv1.Group) []lead {
	var out []lead
	for _, role := range g.GetFacilitators() {
		l := o.leads[role.GetFacilitator()]
		l.Role = int32(role.GetRole())
		out = append(out, l)
	}
	return out
}
