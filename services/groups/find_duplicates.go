package groups

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	dup "cairn.care/services/groups/duplicate"
)

const (
	findChunk   = 200 // groups that one transaction looks at; the change feed waits for it
	maxSharing  = 64  // groups that share a key; one that more do tells nothing
	maxPartners = 20  // groups that one is compared with, those with most keys in common
)

// findArgs asks for a look at the groups that have changed.
type findArgs struct{}

// Kind names the job.
func (findArgs) Kind() string { return "find_duplicates" }

// duplicateSweep looks every 15 seconds at what has changed, by feeds and by hand alike.
func duplicateSweep() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(15*time.Second), func() (river.JobArgs, *river.InsertOpts) {
		return findArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: 15 * time.Second}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

type findWorker struct {
	river.WorkerDefaults[findArgs]
	server *duplicateServer
}

// Work goes on until it has caught up or half its time is over; the next job goes on from there. While feeds bring groups it looks
// at one chunk a turn, and leaves the server to them.
func (w *findWorker) Work(ctx context.Context, _ *river.Job[findArgs]) error {
	until := time.Now().Add(30 * time.Second)
	for time.Now().Before(until) {
		more, err := w.server.find(ctx)
		if err != nil {
			return err
		}
		if _, err := w.server.settle(ctx); err != nil {
			return err
		}
		if !more {
			return nil
		}
		busy, err := w.server.feedsRun(ctx)
		if err != nil || busy {
			return err
		}
	}
	return nil
}

// feedsRun reports whether a feed's run is at work.
func (s *duplicateServer) feedsRun(ctx context.Context) (running bool, err error) {
	err = s.db.Tx(auth.WithTenant(ctx, auth.Tenant{All: true}), func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM feed_runs WHERE state = @running)`,
			pgx.NamedArgs{"running": groupsv1.FeedRun_RUNNING}).Scan(&running)
	})
	if err != nil {
		return false, fmt.Errorf("look for feed runs: %w", err)
	}
	return running, nil
}

// likeGroup is a group that is compared with others.
type likeGroup struct {
	groupRow
	whole *dup.Listing // nil: it cannot be a duplicate
	seen  *dup.Listing // of what is public; nil: not looked at yet
	body  *groupsv1.Group
}

// find compares the next groups that have changed with those that they share a key with. It returns whether there are more.
func (s *duplicateServer) find(ctx context.Context) (more bool, err error) {
	err = s.db.Tx(auth.WithTenant(ctx, auth.Tenant{All: true}), func(tx pgx.Tx) error {
		f := &finder{tx: tx, now: s.clock.Now(), zones: dup.Zones{}, groups: map[uuid.UUID]*likeGroup{}}
		if err := f.next(ctx); err != nil || len(f.groups) == 0 {
			return err
		}
		more = len(f.groups) == findChunk
		return f.run(ctx)
	})
	if err != nil {
		return false, fmt.Errorf("find duplicates: %w", err)
	}
	return more, nil
}

// prepare takes from a group what it is compared by.
func (g *likeGroup) prepare(zones dup.Zones) (err error) {
	if g.DeleteTime != nil || g.MergedInto != nil || g.State == int32(groupsv1.Group_ARCHIVED) {
		return nil
	}
	if g.body, err = g.toProto(g.UpdateTime); err != nil {
		return err
	}
	g.whole = zones.Of(g.body)
	return nil
}

// public returns what everybody sees of a group, nil when nobody does.
func (g *likeGroup) public(zones dup.Zones) *dup.Listing {
	if g.State != int32(groupsv1.Group_PUBLISHED) && g.State != int32(groupsv1.Group_PAUSED) {
		return nil
	}
	if g.seen == nil {
		seen, _ := split(g.body)
		g.seen = zones.Of(seen)
	}
	return g.seen
}

// compare returns what speaks for two groups being one; false when nobody may be asked. Of two organizations only what is public
// is compared: a score would tell one what the other keeps private.
func (g *likeGroup) compare(h *likeGroup, zones dup.Zones) (dup.Verdict, bool) {
	switch {
	case g.whole == nil || h.whole == nil:
		return dup.Verdict{}, false
	case g.OrgID == h.OrgID:
		return dup.Compare(g.whole, h.whole), true
	}
	x, y := g.public(zones), h.public(zones)
	if x == nil || y == nil {
		return dup.Verdict{}, false
	}
	return dup.Compare(x, y), true
}

// finder is one chunk of the search.
type finder struct {
	tx     pgx.Tx
	now    time.Time
	zones  dup.Zones
	groups map[uuid.UUID]*likeGroup
}

// next reads the groups behind the cursor and moves it. Nothing is behind it while another process has it.
func (f *finder) next(ctx context.Context) error {
	var generation, current int64
	var xid uint64
	var id uuid.UUID
	err := f.tx.QueryRow(ctx, `
		SELECT c.generation, f.generation, c.xid, c.id FROM duplicate_cursor c, change_feed f FOR UPDATE OF c SKIP LOCKED`).
		Scan(&generation, &current, &xid, &id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	if generation != current { // restored elsewhere: the feed has begun anew
		xid, id = 0, uuid.Nil
	}
	rows, err := f.tx.Query(ctx, `
		SELECT `+groupColumns+`, g.changed_xid
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON p.group_id = g.id
		WHERE (g.changed_xid, g.id) > (@xid::xid8, @id::uuid) AND g.changed_xid < pg_snapshot_xmin(pg_current_snapshot())
		ORDER BY g.changed_xid, g.id LIMIT @limit`, pgx.NamedArgs{"xid": xid, "id": id, "limit": findChunk})
	if err != nil {
		return fmt.Errorf("read changed groups: %w", err)
	}
	if _, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		g := &likeGroup{}
		if err := g.scan(withMore{row, []any{&xid}}); err != nil {
			return struct{}{}, err
		}
		id = g.ID
		f.groups[id] = g
		return struct{}{}, g.prepare(f.zones)
	}); err != nil {
		return fmt.Errorf("read changed groups: %w", err)
	}
	if len(f.groups) == 0 {
		return nil
	}
	_, err = f.tx.Exec(ctx, `UPDATE duplicate_cursor SET generation = @generation, xid = @xid::xid8, id = @id`,
		pgx.NamedArgs{"generation": current, "xid": xid, "id": id})
	return err
}

// run keeps the keys of the groups, and compares each with those that it shares most keys with.
func (f *finder) run(ctx context.Context) error {
	ids, keys, owners := []uuid.UUID{}, []int64{}, []uuid.UUID{}
	for id, g := range f.groups {
		ids = append(ids, id)
		if g.whole == nil {
			continue
		}
		for _, k := range dup.Keys(g.whole) {
			keys, owners = append(keys, k), append(owners, id)
		}
	}
	args := pgx.NamedArgs{"ids": ids, "keys": keys, "owners": owners, "sharing": maxSharing}
	sharing, pairs := map[int64][]uuid.UUID{}, map[[2]uuid.UUID]*knownPair{}
	b := new(pgx.Batch)
	b.Queue(`
		DELETE FROM duplicate_keys k WHERE k.group_id = ANY(@ids)
			AND NOT EXISTS (SELECT FROM unnest(@keys::bigint[], @owners::uuid[]) AS n (key, id) WHERE n.key = k.key AND n.id = k.group_id)`, args)
	b.Queue(`
		INSERT INTO duplicate_keys (key, group_id) SELECT n.key, n.id FROM unnest(@keys::bigint[], @owners::uuid[]) AS n (key, id)
		ON CONFLICT DO NOTHING`, args)
	b.Queue(`
		SELECT k.key, s.groups
		FROM (SELECT DISTINCT key FROM unnest(@keys::bigint[]) AS key) AS k
		CROSS JOIN LATERAL (
			SELECT array_agg(few.group_id) AS groups FROM (SELECT d.group_id FROM duplicate_keys d WHERE d.key = k.key LIMIT @sharing + 1) AS few
		) AS s
		WHERE cardinality(s.groups) BETWEEN 2 AND @sharing`, args).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var key int64
			var groups []uuid.UUID
			if err := rows.Scan(&key, &groups); err != nil {
				return err
			}
			sharing[key] = groups
		}
		return rows.Err()
	})
	b.Queue(`SELECT `+pairColumns+`, d.decided_weight FROM duplicates d WHERE d.first_id = ANY(@ids) OR d.second_id = ANY(@ids) FOR UPDATE`, args).
		Query(func(rows pgx.Rows) error {
			known, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[knownPair])
			for _, p := range known {
				pairs[ordered(p.FirstID, p.SecondID)] = p
			}
			return err
		})
	if err := f.tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	for _, pair := range likelyPairs(keys, owners, sharing) {
		if _, known := pairs[pair]; !known {
			pairs[pair] = nil
		}
	}
	if err := f.partners(ctx, pairs); err != nil {
		return err
	}
	return f.save(ctx, pairs)
}

// likelyPairs returns each owner with the groups that it shares most keys with.
func likelyPairs(keys []int64, owners []uuid.UUID, sharing map[int64][]uuid.UUID) [][2]uuid.UUID {
	common := map[uuid.UUID]map[uuid.UUID]int{}
	for i, id := range owners {
		if common[id] == nil {
			common[id] = map[uuid.UUID]int{}
		}
		for _, other := range sharing[keys[i]] {
			if other != id {
				common[id][other]++
			}
		}
	}
	var out [][2]uuid.UUID
	for id, others := range common {
		best := slices.SortedFunc(maps.Keys(others), func(x, y uuid.UUID) int {
			return cmp.Or(cmp.Compare(others[y], others[x]), bytes.Compare(x[:], y[:]))
		})
		for _, other := range best[:min(len(best), maxPartners)] {
			out = append(out, ordered(id, other))
		}
	}
	return out
}

// knownPair is a pair with the weight that it had when it was decided.
type knownPair struct {
	pairRow
	DecidedWeight *float64
}

// ordered returns two ids, the older first: ids grow with time.
func ordered(x, y uuid.UUID) [2]uuid.UUID {
	if bytes.Compare(x[:], y[:]) > 0 {
		x, y = y, x
	}
	return [2]uuid.UUID{x, y}
}

// partners reads the groups of the pairs that have not changed themselves.
func (f *finder) partners(ctx context.Context, pairs map[[2]uuid.UUID]*knownPair) error {
	var ids []uuid.UUID
	for pair := range pairs {
		for _, id := range pair {
			if f.groups[id] == nil {
				ids = append(ids, id)
			}
		}
	}
	rows, err := f.tx.Query(ctx, `
		SELECT `+groupColumns+`
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON p.group_id = g.id
		WHERE g.id = ANY(@ids)`, pgx.NamedArgs{"ids": ids})
	if err != nil {
		return fmt.Errorf("read partners: %w", err)
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		g := &likeGroup{}
		if err := g.scan(row); err != nil {
			return struct{}{}, err
		}
		f.groups[g.ID] = g
		return struct{}{}, g.prepare(f.zones)
	})
	if err != nil {
		return fmt.Errorf("read partners: %w", err)
	}
	return nil
}

// save keeps what has become of the pairs. What was decided stays, until the two have become much more alike.
func (f *finder) save(ctx context.Context, pairs map[[2]uuid.UUID]*knownPair) error {
	b := new(pgx.Batch)
	for ids, p := range pairs {
		first, second := f.groups[ids[0]], f.groups[ids[1]]
		if first == nil || second == nil {
			continue
		}
		v, comparable := first.compare(second, f.zones)
		likely := comparable && v.Score >= dup.Likely
		state := groupsv1.Duplicate_STATE_UNSPECIFIED
		if p != nil {
			state = p.state()
		}
		switch {
		case state == groupsv1.Duplicate_MERGED:
		case state == groupsv1.Duplicate_PROPOSED && !likely:
			b.Queue(`DELETE FROM duplicates WHERE id = @id`, pgx.NamedArgs{"id": p.ID})
		case !likely:
		case p == nil, state == groupsv1.Duplicate_PROPOSED && v.Weight != p.Weight,
			state != groupsv1.Duplicate_PROPOSED && p.DecidedWeight != nil && v.Weight >= *p.DecidedWeight+dup.Much:
			if err := f.propose(b, first, second, v); err != nil {
				return err
			}
		}
	}
	return f.tx.SendBatch(ctx, b).Close()
}

// state returns what was decided about the pair.
func (r *pairRow) state() groupsv1.Duplicate_State { return groupsv1.Duplicate_State(r.State) }

// propose queues the proposal of a pair, new or changed.
func (f *finder) propose(b *pgx.Batch, first, second *likeGroup, v dup.Verdict) error {
	d := &groupsv1.Duplicate{}
	for _, r := range v.Reasons {
		d.Reasons = append(d.Reasons, &groupsv1.DuplicateReason{Criterion: criterion(r.Criterion), Text: r.Words, Weight: r.Weight})
	}
	reasons, err := proto.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode reasons: %w", err)
	}
	b.Queue(`
		INSERT INTO duplicates (id, first_id, second_id, first_org, second_org, revision, state, score, weight, reasons, unsettled, create_time, update_time)
		VALUES (@id, @first, @second, @first_org, @second_org, 1, @proposed, @score, @weight, @reasons, true, @now, @now)
		ON CONFLICT (first_id, second_id) DO UPDATE SET revision = duplicates.revision + 1, state = excluded.state, score = excluded.score,
			weight = excluded.weight, reasons = excluded.reasons, unsettled = true, decided_by = '', decide_time = NULL, update_time = excluded.update_time`,
		pgx.NamedArgs{
			"id": aip.NewID(), "first": first.ID, "second": second.ID, "first_org": first.OrgID, "second_org": second.OrgID,
			"proposed": groupsv1.Duplicate_PROPOSED, "score": v.Score, "weight": v.Weight, "reasons": reasons, "now": f.now,
		})
	return nil
}

// criterion returns what a reason is about, as callers are told it.
func criterion(c dup.Criterion) groupsv1.DuplicateReason_Criterion {
	return map[dup.Criterion]groupsv1.DuplicateReason_Criterion{
		dup.Title: groupsv1.DuplicateReason_TITLE, dup.Place: groupsv1.DuplicateReason_PLACE, dup.Times: groupsv1.DuplicateReason_TIMES,
		dup.Link: groupsv1.DuplicateReason_LINK, dup.Contact: groupsv1.DuplicateReason_CONTACT, dup.Text: groupsv1.DuplicateReason_TEXT,
		dup.Format: groupsv1.DuplicateReason_FORMAT, dup.Language: groupsv1.DuplicateReason_LANGUAGE, dup.Focus: groupsv1.DuplicateReason_FOCUS,
		dup.Audience: groupsv1.DuplicateReason_AUDIENCE, dup.Organization: groupsv1.DuplicateReason_ORGANIZATION, dup.Source: groupsv1.DuplicateReason_SOURCE,
	}[c]
}

// settleChunk is how many proposals are read at a time.
const settleChunk = 100

// settle merges proposals that a feed's rule says to merge, and returns how many it has settled. One that fails does not keep the
// others waiting; it is tried again with the next look.
func (s *duplicateServer) settle(ctx context.Context) (settled int, err error) {
	ctx = auth.WithTenant(ctx, auth.Tenant{All: true})
	var failed []error
	for last, more := uuid.Nil, true; more && ctx.Err() == nil; {
		var ids []uuid.UUID
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `SELECT id FROM duplicates WHERE unsettled AND id > @last ORDER BY id LIMIT @limit`,
				pgx.NamedArgs{"last": last, "limit": settleChunk})
			if err != nil {
				return err
			}
			ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		}); err != nil {
			return settled, errors.Join(append(failed, fmt.Errorf("read proposals: %w", err))...)
		}
		for _, id := range ids {
			if err := s.settleOne(ctx, id); err != nil {
				s.log.ErrorContext(ctx, "proposal not settled", slog.String("pair", aip.Name("duplicates", id)), slog.Any("error", err))
				failed = append(failed, fmt.Errorf("settle proposal %s: %w", id, err))
				continue
			}
			settled++
		}
		if more = len(ids) == settleChunk; more {
			last = ids[len(ids)-1]
		}
	}
	if settled > 0 {
		s.log.InfoContext(ctx, "duplicates proposed", slog.Int("pairs", settled))
	}
	return settled, errors.Join(failed...)
}
