package groups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/formats"
)

// writer applies batches of one run. All that a batch means is in one transaction with the run's cursor.
type writer struct {
	*feedServer
	run  *runRow
	f    *groupsv1.Feed
	next int32 // number of the feed's next item

	moved []string // ids whose items a rehearsal would have given to other records
}

// outcome is what a batch has come to.
type outcome struct {
	now      time.Time
	items    itemChanges
	inserts  groupColumnsOf
	updates  groupColumnsOf
	history  *history
	merges   *merges
	changed  []string // groups, by name
	rejected []rejection

	groups    map[uuid.UUID]*groupsv1.Group // what the groups say themselves
	merged    map[uuid.UUID]bool            // of them, those that took part in a merge when the batch began
	leads     map[string]lead               // their facilitators, by name
	elsewhere map[uuid.UUID]bool            // of them, those that another feed has too
	barred    map[uuid.UUID]bool            // deleted groups whose id another group has now
	taken     map[string]bool               // source and id of the groups that the batch adds or brings back

	created, updated, unchanged, removed, refused, unpublished int64
	live                                                       int64 // more items than before
	fresh                                                      int32 // items that are new
}

// writeTries is how often a batch is tried while others are in its way.
const writeTries = 5

// write applies a batch. Locks are taken in two passes, so that another change of merged groups can cross this one; and a client may add
// a group with a record's id meanwhile. Either way the batch begins anew at once.
func (w *writer) write(ctx context.Context, b loaded) error {
	for try := 1; ; try++ {
		err := w.try(ctx, b)
		if err == nil {
			return nil
		}
		if try == writeTries || !crossed(err) {
			return fmt.Errorf("apply batch %d: %w", b.number, err)
		}
	}
}

// The codes of PostgreSQL for transactions that were in each other's way.
const (
	deadlock  = "40P01"
	notSerial = "40001"
)

// crossed reports whether another transaction was in the way.
func crossed(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == deadlock || e.Code == notSerial || e.ConstraintName == "groups_external_id")
}

// try applies a batch in one transaction.
func (w *writer) try(ctx context.Context, b loaded) error {
	o := &outcome{now: w.clock.Now(), history: newHistory(ctx, w.run.ID)}
	if err := w.db.Tx(ctx, func(tx pgx.Tx) error {
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
		if len(b.records) > 0 {
			if err := w.compute(ctx, tx, b, o); err != nil {
				return err
			}
		}
		return w.save(ctx, tx, b, o)
	}); err != nil {
		return err
	}
	if !w.run.DryRun {
		w.run.Changes += o.told()
	}
	w.next += o.fresh
	return nil
}

// compute works out what the batch changes.
func (w *writer) compute(ctx context.Context, tx pgx.Tx, b loaded, o *outcome) error {
	m, err := w.match(ctx, tx, b.records, o)
	if err != nil {
		return err
	}
	groups, err := w.lock(ctx, tx, m)
	if err != nil {
		return err
	}
	if o.merges, err = openMerges(ctx, tx, o.now, slices.Collect(maps.Keys(groups))); err != nil {
		return err
	}
	if err := w.look(ctx, tx, b.records, m, groups, o); err != nil {
		return err
	}
	for i := range b.records {
		d := &b.records[i]
		it, known := m.items[d.id]
		group := it.GroupID
		if !known {
			group = m.adopted[d.id]
		}
		r, there := groups[group]
		switch {
		case d.digest == nil:
			err = w.remove(o, it, r)
		case len(d.rejected) > 0:
			o.refuse(d.row, d.rejected)
		case m.held[d.id] != "":
			o.refuse(d.row, heldBy(d, m.held[d.id]))
		case !there:
			err = w.create(o, d)
		case known:
			err = w.update(o, d, r, &it)
		default:
			err = w.update(o, d, r, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
	if !o.take(d.group) {
		o.refuse(d.row, idTaken(d, d.group))
		return nil
	}
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
	w.keep(o, d, k.ID, nil, paused)
	o.created++
	o.changed = append(o.changed, aip.Name("groups", k.ID))
	return nil
}

// update brings a group up to date with what the feed tells anew. it is nil when the feed did not make the group.
func (w *writer) update(o *outcome, d *decoded, r *groupRow, it *item) error {
	var told *groupsv1.Group
	paused, reappears := false, false
	if it != nil {
		told = &groupsv1.Group{}
		if err := proto.Unmarshal(it.Told, told); err != nil {
			return fmt.Errorf("decode what the feed told of group %s: %w", r.ID, err)
		}
		paused, reappears = it.Paused, it.State == itemRemoved
	}
	state := r.standing()
	if state.state == groupsv1.Group_ARCHIVED || state.deleted && !reappears {
		w.keep(o, d, r.ID, it, paused) // gone by its owner's will
		o.unchanged++
		return nil
	}
	g := o.groups[r.ID]
	before := proto.CloneOf(g)
	mergeTold(g, d.group, told)
	setGuidelines(g, before)
	if why := w.check(d.row, g); len(why) > 0 {
		o.refuse(d.row, why)
		return nil
	}
	to, fit := w.target(o, d, r, g, paused)
	if len(fit) > 0 && to.state == groupsv1.Group_PUBLISHED {
		o.refuse(d.row, []formats.Rejected{*formats.Reject(int(d.row), "", g.GetTitle(), "would make a published group unfit: %s", strings.Join(fit, "; "))})
		return nil
	}
	if state.deleted && (o.barred[r.ID] || !o.take(g)) {
		o.refuse(d.row, idTaken(d, g))
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
	w.keep(o, d, r.ID, it, paused)
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
func (w *writer) target(o *outcome, d *decoded, r *groupRow, g *groupsv1.Group, paused bool) (standing, []string) {
	to := standing{state: r.standing().state}
	broken := brokenRules(g, o.leadsOf(g), r.Listed)
	switch {
	case to.state == groupsv1.Group_DRAFT && w.f.GetPublishing() == groupsv1.Feed_NEVER:
		return to, nil
	case to.state == groupsv1.Group_DRAFT && len(broken) == 0, to.state == groupsv1.Group_PAUSED && paused && !d.closed && len(broken) == 0:
		to.state = groupsv1.Group_PUBLISHED
	}
	return to, broken
}

// brokenRules says in words what keeps the group from being public.
func brokenRules(g *groupsv1.Group, leads []lead, listed bool) []string {
	var out []string
	for _, v := range publishable(g, leads, listed) {
		out = append(out, v.GetDescription())
	}
	return out
}

// keep keeps what the feed tells now of a group; it is nil when the feed did not have it.
func (w *writer) keep(o *outcome, d *decoded, group uuid.UUID, it *item, paused bool) {
	if it == nil || it.State != itemLive {
		o.live++
	}
	if it == nil {
		o.items.fresh.add(d, group, w.next+o.fresh, itemLive, paused)
		o.fresh++
		return
	}
	o.items.known.add(d, group, it.Item, itemLive, paused)
}

// remove deletes the group of an item that the feed has no more, unless it is gone, or another feed has it too.
func (w *writer) remove(o *outcome, it item, r *groupRow) error {
	if it.State != itemLive || r == nil || slices.Contains(w.moved, it.ID) {
		return nil
	}
	o.live--
	if o.elsewhere[r.ID] || r.DeleteTime != nil || r.State == int32(groupsv1.Group_ARCHIVED) {
		o.items.set(it, itemGone)
		return nil
	}
	o.items.set(it, itemRemoved)
	g := o.groups[r.ID]
	r.DeleteTime = &o.now
	o.removed++
	return o.change(r, proto.CloneOf(g), g, "deleted")
}

// change writes a group that is there, or leaves it to what it was merged with.
func (o *outcome) change(r *groupRow, before, g *groupsv1.Group, event string) error {
	if o.merged[r.ID] {
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
	if !w.run.DryRun {
		if err := w.queueMerged(ctx, batch, o); err != nil {
			return err
		}
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
			"id": w.run.ID, "org": w.run.OrgID, "batch": b.number + 1, "row": row, "told": o.told(), "applied": applied, "created": o.created, "updated": o.updated,
			"unchanged": o.unchanged, "removed": o.removed, "rejected": o.refused, "unpublished": o.unpublished,
		})
	return tx.SendBatch(ctx, batch).Close()
}

// told is how many events tell of the batch.
func (o *outcome) told() int64 { return int64(len(o.changed)+batchGroups-1) / batchGroups }

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

// queueGroups queues the rows of the batch's groups and items, and the event that names the groups.
func (w *writer) queueGroups(ctx context.Context, b *pgx.Batch, o *outcome) error {
	if o.live != 0 || o.fresh != 0 {
		b.Queue(`UPDATE feeds SET live_items = live_items + @live, next_item = next_item + @fresh WHERE id = @feed AND org_id = @org`,
			pgx.NamedArgs{"feed": w.run.FeedID, "org": w.run.OrgID, "live": o.live, "fresh": o.fresh})
	}
	o.inserts.queueInsert(b, w.run.OrgID, w.f.GetSourceSystem())
	o.updates.queueUpdate(b, w.run.OrgID)
	o.items.queue(b, w.run)
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
