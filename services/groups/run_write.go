package groups

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/formats"
)

// The states of a feed's item.
const (
	itemLive    int16 = iota + 1 // the feed has it
	itemRemoved                  // it has not, and the group was removed for that
	itemGone                     // it has not, and the group was gone before, or somebody else has it too
)

// item is a row of feed_items.
type item struct {
	ID      string
	Item    int32
	GroupID uuid.UUID
	State   int16
	Paused  bool
	Told    []byte
}

// writer applies batches of one run. All that a batch means is in one transaction with the run's cursor.
type writer struct {
	*feedServer
	run  *runRow
	f    *groupsv1.Feed
	next int32 // number of the feed's next item
}

// outcome is what a batch has come to.
type outcome struct {
	now      time.Time
	items    itemColumns
	inserts  groupColumnsOf
	updates  groupColumnsOf
	history  *history
	merges   *merges
	changed  []string // groups, by name
	rejected []rejection

	created, updated, unchanged, removed, refused, unpublished int64
	live                                                       int64 // more items than before
	fresh                                                      int32 // items that are new
}

// write applies a batch.
func (w *writer) write(ctx context.Context, b loaded) error {
	err := w.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := selectRun(ctx, tx, w.run.ID, "FOR UPDATE")
		if err != nil {
			return err
		}
		switch {
		case r.Attempt != w.run.Attempt || r.Batch != b.number:
			return errStale
		case r.Cancelled:
			return errCancelled
		}
		o := &outcome{now: w.clock.Now(), history: newHistory(ctx, w.run.ID)}
		if len(b.records) > 0 {
			if err := w.compute(ctx, tx, b, o); err != nil {
				return err
			}
		}
		return w.save(ctx, tx, b, o)
	})
	if err != nil {
		return fmt.Errorf("apply batch %d: %w", b.number, err)
	}
	return nil
}

// compute works out what the batch changes.
func (w *writer) compute(ctx context.Context, tx pgx.Tx, b loaded, o *outcome) error {
	ids := make([]string, len(b.records))
	for i, d := range b.records {
		ids[i] = d.id
	}
	items, err := w.itemsOf(ctx, tx, ids)
	if err != nil {
		return err
	}
	adopted, err := w.adoptable(ctx, tx, ids, items)
	if err != nil {
		return err
	}
	groups, err := w.lock(ctx, tx, items, adopted)
	if err != nil {
		return err
	}
	if o.merges, err = openMerges(ctx, tx, o.now, slices.Collect(maps.Keys(groups))); err != nil {
		return err
	}
	for i := range b.records {
		d := &b.records[i]
		it, known := items[d.id]
		group := it.GroupID
		if !known {
			group = adopted[d.id]
		}
		r, there := groups[group]
		switch {
		case d.digest == nil:
			err = w.remove(ctx, tx, o, it, r)
		case len(d.rejected) > 0:
			o.refuse(d.row, d.rejected)
		case !there:
			err = w.create(o, d)
		case known:
			err = w.update(ctx, tx, o, d, r, &it)
		default:
			err = w.update(ctx, tx, o, d, r, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
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

// adoptable returns the organization's groups that have the records' ids, and that this feed did not make: a client did, or a
// feed that was deleted.
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
	rows, err := tx.Query(ctx, `
		SELECT external_id, id FROM groups
		WHERE org_id = @org AND source_system = @source AND external_id = ANY(@ids::text[]) AND external_id <> '' AND delete_time IS NULL`,
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

// lock reads the groups that are there, and keeps others from changing them until the transaction ends.
func (w *writer) lock(ctx context.Context, tx pgx.Tx, items map[string]item, adopted map[string]uuid.UUID) (map[uuid.UUID]*groupRow, error) {
	var ids []uuid.UUID
	for _, it := range items {
		ids = append(ids, it.GroupID)
	}
	for _, id := range adopted {
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

// refuse counts a record that is not taken.
func (o *outcome) refuse(row int64, why []formats.Rejected) {
	o.refused++
	for i, r := range why {
		o.rejected = append(o.rejected, rejection{Rejected: r, row: row, n: int16(min(i, 1000))})
	}
}

// unfit counts a record whose group stays a draft.
func (o *outcome) unfit(row int64, title string, broken []string) {
	o.unpublished++
	for i, reason := range broken {
		o.rejected = append(o.rejected, rejection{
			row: row, n: int16(min(i, 1000)), effect: groupsv1.RejectedRow_UNPUBLISHED, Rejected: *formats.Reject(int(row), "", title, "stays a draft: %s", reason),
		})
	}
}

// create adds a group that is new.
func (w *writer) create(o *outcome, d *decoded) error {
	k := &groupKey{ID: aip.NewID(), OrgID: w.run.OrgID, Revision: 1, State: int32(groupsv1.Group_DRAFT), Listed: true, CreateTime: o.now, UpdateTime: o.now}
	paused := false
	if w.f.GetPublishing() != groupsv1.Feed_NEVER {
		if broken := brokenRules(d.group, nil, true); len(broken) > 0 {
			o.unfit(d.row, d.group.GetTitle(), broken)
		} else if k.State = int32(groupsv1.Group_PUBLISHED); d.closed {
			k.State, k.PauseReason, paused = int32(groupsv1.Group_PAUSED), int32(groupsv1.Group_PAUSED_BY_OWNER), true
		}
	}
	if err := o.history.add(k, groupsv1.GroupRevision_CREATED, nil, d.group); err != nil {
		return err
	}
	o.inserts.add(k, d.group, d.body, d.private)
	o.items.add(d, k.ID, itemLive, paused)
	o.created, o.live, o.fresh = o.created+1, o.live+1, o.fresh+1
	o.changed = append(o.changed, aip.Name("groups", k.ID))
	return nil
}

// update brings a group up to date with what the feed tells anew. it is nil when the feed did not make the group.
func (w *writer) update(ctx context.Context, tx pgx.Tx, o *outcome, d *decoded, r *groupRow, it *item) error {
	var told *groupsv1.Group
	paused, reappears := false, false
	if it == nil {
		o.live, o.fresh = o.live+1, o.fresh+1
	} else {
		told = &groupsv1.Group{}
		if err := proto.Unmarshal(it.Told, told); err != nil {
			return fmt.Errorf("decode what the feed told of group %s: %w", r.ID, err)
		}
		paused, reappears = it.Paused, it.State == itemRemoved
	}
	state := r.standing()
	if state.state == groupsv1.Group_ARCHIVED || state.deleted && !reappears {
		w.keep(o, d, r, it, paused) // gone by its owner's will
		o.unchanged++
		return nil
	}
	g, err := o.current(r)
	if err != nil {
		return err
	}
	before := proto.CloneOf(g)
	mergeTold(g, d.group, told)
	setGuidelines(g, before)
	if why := w.check(d.row, g); len(why) > 0 {
		w.refuseKnown(o, d, it, why)
		return nil
	}
	to, fit, err := w.target(ctx, tx, o, d, r, g, paused)
	if err != nil {
		return err
	}
	if len(fit) > 0 && to.state == groupsv1.Group_PUBLISHED {
		w.refuseKnown(o, d, it, []formats.Rejected{*formats.Reject(int(d.row), "", g.GetTitle(), "would make a published group unfit: %s", strings.Join(fit, "; "))})
		return nil
	}
	event := "updated"
	switch {
	case state.deleted:
		event = "undeleted"
	case state.state != groupsv1.Group_PUBLISHED && to.state == groupsv1.Group_PUBLISHED:
		event, paused = "published", false
	}
	if d.closed && to.state == groupsv1.Group_PUBLISHED {
		to.state, paused = groupsv1.Group_PAUSED, true
		if state.state == groupsv1.Group_PUBLISHED && !state.deleted {
			event = "paused"
		}
	}
	if to.state == groupsv1.Group_DRAFT && len(fit) > 0 {
		o.unfit(d.row, g.GetTitle(), fit)
	}
	w.keep(o, d, r, it, paused)
	if to == state && proto.Equal(written(before), written(g)) {
		o.unchanged++
		return nil
	}
	r.DeleteTime = nil
	if r.State = int32(to.state); to.state != groupsv1.Group_PAUSED {
		r.PauseReason = 0
	} else if state.state != groupsv1.Group_PAUSED {
		r.PauseReason = int32(groupsv1.Group_PAUSED_BY_OWNER)
	}
	o.updated++
	return o.change(r, before, g, event)
}

// target returns where the group stands after the change, and what keeps it from being public.
func (w *writer) target(ctx context.Context, tx pgx.Tx, o *outcome, d *decoded, r *groupRow, g *groupsv1.Group, paused bool) (standing, []string, error) {
	to := standing{state: r.standing().state}
	var leads []lead
	if len(g.GetFacilitators()) > 0 {
		var err error
		if leads, err = leadsOf(ctx, tx, r.OrgID, g.GetFacilitators(), o.now); err != nil {
			return to, nil, err
		}
	}
	broken := brokenRules(g, leads, r.Listed)
	switch {
	case to.state == groupsv1.Group_DRAFT && w.f.GetPublishing() == groupsv1.Feed_NEVER:
		return to, nil, nil
	case to.state == groupsv1.Group_DRAFT && len(broken) == 0, to.state == groupsv1.Group_PAUSED && paused && !d.closed && len(broken) == 0:
		to.state = groupsv1.Group_PUBLISHED
	}
	return to, broken, nil
}

// brokenRules says in words what keeps the group from being public.
func brokenRules(g *groupsv1.Group, leads []lead, listed bool) []string {
	var out []string
	for _, v := range publishable(g, leads, listed) {
		out = append(out, v.GetDescription())
	}
	return out
}

// refuseKnown refuses a record of a group that is there: the feed goes on to have what it had.
func (w *writer) refuseKnown(o *outcome, d *decoded, it *item, why []formats.Rejected) {
	if it == nil {
		o.live, o.fresh = o.live-1, o.fresh-1
	}
	o.refuse(d.row, why)
}

// keep keeps what the feed tells now of a group that is there.
func (w *writer) keep(o *outcome, d *decoded, r *groupRow, it *item, paused bool) {
	if it != nil && it.State != itemLive {
		o.live++
	}
	o.items.add(d, r.ID, itemLive, paused)
}

// remove deletes the group of an item that the feed has no more, unless it is gone, or another feed has it too.
func (w *writer) remove(ctx context.Context, tx pgx.Tx, o *outcome, it item, r *groupRow) error {
	if it.State != itemLive || r == nil {
		return nil
	}
	o.live--
	state := itemRemoved
	var shared bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM feed_items WHERE group_id = @group AND org_id = @org AND feed_id <> @feed AND state = 1)`,
		pgx.NamedArgs{"group": r.ID, "org": r.OrgID, "feed": w.run.FeedID}).Scan(&shared); err != nil {
		return err
	}
	if shared || r.DeleteTime != nil || r.State == int32(groupsv1.Group_ARCHIVED) {
		state = itemGone
	}
	o.items.set(it, state)
	if state == itemGone {
		return nil
	}
	g, err := o.current(r)
	if err != nil {
		return err
	}
	r.DeleteTime = &o.now
	o.removed++
	return o.change(r, proto.CloneOf(g), g, "deleted")
}

// current returns what a group says: itself, not what it shows of others that were merged into it.
func (o *outcome) current(r *groupRow) (*groupsv1.Group, error) {
	g, err := r.toProto(o.now)
	if err != nil || !o.merges.has(r.ID) {
		return g, err
	}
	g = o.merges.own(r.ID)
	r.into(g)
	return g, nil
}

// change writes a group that is there, or leaves it to what it was merged with.
func (o *outcome) change(r *groupRow, before, g *groupsv1.Group, event string) error {
	if o.merges.has(r.ID) {
		o.merges.set(&r.groupKey, g)
		return nil
	}
	r.Revision, r.UpdateTime = r.Revision+1, o.now
	r.into(g)
	_, body, private, err := bodies(g)
	if err != nil {
		return err
	}
	if err := o.history.add(&r.groupKey, changeOf(event), before, g); err != nil {
		return err
	}
	o.updates.add(&r.groupKey, g, body, private)
	o.changed = append(o.changed, aip.Name("groups", r.ID))
	return nil
}

// save writes what the batch has come to, and moves the run's cursor.
func (w *writer) save(ctx context.Context, tx pgx.Tx, b loaded, o *outcome) error {
	batch := new(pgx.Batch)
	queueRejections(batch, w.run, o.rejected)
	row, applied := int64(0), int64(0)
	for _, d := range b.records {
		if d.digest != nil {
			row, applied = max(row, d.row), applied+1
		}
	}
	told := int64(0)
	if !w.run.DryRun {
		if err := w.queueMerged(ctx, batch, o); err != nil {
			return err
		}
		told = int64(len(o.changed)+batchGroups-1) / batchGroups
		if err := w.queueGroups(ctx, batch, o); err != nil {
			return err
		}
	}
	batch.Queue(`
		UPDATE feed_runs SET batch = @batch, applied_row = greatest(applied_row, @row), changes = changes + @told, rows_applied = rows_applied + @applied,
			created = created + @created, updated = updated + @updated, unchanged = unchanged + @unchanged, removed = removed + @removed,
			rejected = rejected + @rejected, unpublished = unpublished + @unpublished
		WHERE id = @id AND org_id = @org`,
		pgx.NamedArgs{
			"id": w.run.ID, "org": w.run.OrgID, "batch": b.number + 1, "row": row, "told": told, "applied": applied, "created": o.created, "updated": o.updated,
			"unchanged": o.unchanged, "removed": o.removed, "rejected": o.refused, "unpublished": o.unpublished,
		})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	w.run.Changes += told
	w.next += o.numbers()
	return nil
}

// queueMerged queues the rows of groups that are merged with others, and of those that show them.
func (w *writer) queueMerged(ctx context.Context, b *pgx.Batch, o *outcome) error {
	if o.merges == nil {
		return nil
	}
	changed, err := o.merges.queue(ctx, b, o.history)
	if err != nil {
		return fmt.Errorf("merged groups: %w", err)
	}
	for _, id := range changed {
		o.changed = append(o.changed, aip.Name("groups", id))
	}
	return nil
}

// numbers is how many numbers the batch takes: one for each item that it writes, if some are new.
func (o *outcome) numbers() int32 {
	if o.fresh == 0 {
		return 0
	}
	return int32(len(o.items.ids))
}

// queueGroups queues the rows of the batch's groups and items, and the event that names the groups.
func (w *writer) queueGroups(ctx context.Context, b *pgx.Batch, o *outcome) error {
	if o.live != 0 || o.fresh != 0 {
		b.Queue(`UPDATE feeds SET live_items = live_items + @live, next_item = next_item + @numbers WHERE id = @feed AND org_id = @org`,
			pgx.NamedArgs{"feed": w.run.FeedID, "org": w.run.OrgID, "live": o.live, "numbers": o.numbers()})
	}
	o.inserts.queueInsert(b, w.run.OrgID, w.f.GetSourceSystem())
	o.updates.queueUpdate(b, w.run.OrgID)
	o.items.queue(b, w.run, w.next)
	if len(o.changed) == 0 {
		return nil
	}
	o.history.queue(b)
	revision := w.run.Changes
	for names := range slices.Chunk(o.changed, batchGroups) {
		revision++
		if err := events.Queue(ctx, b, events.Event{
			Type: "care.cairn.groups.group.synced.v1", Subject: aip.Name("feedRuns", w.run.ID), Revision: revision,
			Data: &groupsv1.GroupsSynced{Groups: names, FeedRun: aip.Name("feedRuns", w.run.ID), ChangeTime: timestamppb.New(o.now)},
		}); err != nil {
			return err
		}
	}
	return nil
}
