package groups

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// tell changes a group as a feed run does: what it says itself, and with gone whether the feed still has it.
func tell(p *pairs, name string, change func(own *groupsv1.Group), gone *bool) error {
	id := uuid.MustParse(strings.TrimPrefix(name, "groups/"))
	ctx := auth.WithTenant(as(context.Background(), ours), auth.Tenant{All: true})
	return p.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lockGroup(ctx, tx, id)
		if err != nil {
			return err
		}
		now := p.clock.Now()
		m, err := openMerges(ctx, tx, now, []uuid.UUID{id})
		if err != nil {
			return err
		}
		before, err := r.toProto(now)
		if err != nil {
			return err
		}
		own := proto.CloneOf(before)
		if m.has(id) {
			own = m.own(id)
		}
		change(own)
		if gone != nil {
			r.DeleteTime = nil
			if *gone {
				r.DeleteTime = &now
			}
		}
		b := new(pgx.Batch)
		if m.has(id) {
			m.set(&r.groupKey, own)
			if _, err := m.queue(ctx, b, nil); err != nil {
				return err
			}
			return tx.SendBatch(ctx, b).Close()
		}
		r.Revision, r.UpdateTime = r.Revision+1, now
		r.into(own)
		if err := queueUpdateGroup(b, &r.groupKey, own); err != nil {
			return err
		}
		if err := queueChange(ctx, b, &r.groupKey, before, own, "updated"); err != nil {
			return err
		}
		return tx.SendBatch(ctx, b).Close()
	})
}

// twins are two directories: what happens in one happens in the other, but for merges and splits.
type twins struct {
	*rand.Rand
	merging, plain *pairs
	names          [2][]string // of the same group in both
	steps          []string
}

const twinGroups = 5

func setupTwins(t *testing.T, seed uint64) *twins {
	t.Helper()
	w := &twins{Rand: rand.New(rand.NewPCG(seed, 9)), merging: setupPairs(t), plain: setupPairs(t)}
	for i := range twinGroups {
		for side, p := range []*pairs{w.merging, w.plain} {
			g := meets(fmt.Sprintf("Group %d", i), "TU")
			w.names[side] = append(w.names[side], p.published(p.owner, t, g).GetName())
		}
	}
	// Every two are proposed, whatever they are like.
	for i := range twinGroups {
		for j := range i {
			ids := ordered(uuid.MustParse(w.names[0][i][7:]), uuid.MustParse(w.names[0][j][7:]))
			b := w.merging.db.Batch(w.merging.platform)
			b.Queue(`
				INSERT INTO duplicates (id, first_id, second_id, first_org, second_org, revision, state, score, weight, reasons, unsettled, create_time, update_time)
				VALUES ($1, $2, $3, $4, $4, 1, 1, 1, 1, '', false, now(), now())`, aip.NewID(), ids[0], ids[1], uuid.MustParse(ours[len("organizations/"):]))
			if err := w.merging.db.Send(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

// step does one thing.
func (w *twins) step(t *testing.T, n int) {
	t.Helper()
	i := w.IntN(twinGroups)
	switch w.IntN(6) {
	case 0, 1:
		w.merge(t)
	case 2:
		w.split(t)
	case 3: // what the feed tells anew, or no more
		field, value := w.IntN(4), fmt.Sprintf("value %d", n)
		if w.IntN(3) == 0 {
			value = ""
		}
		w.steps = append(w.steps, fmt.Sprintf("feed tells %d field %d %q", i, field, value))
		w.both(t, i, func(own *groupsv1.Group) { setField(own, field, value) }, nil)
	case 4:
		gone := w.IntN(2) == 0
		w.steps = append(w.steps, fmt.Sprintf("feed has %d: %v", i, !gone))
		w.both(t, i, func(*groupsv1.Group) {}, &gone)
	case 5:
		w.edit(t, i, n)
	}
}

// both has a feed tell something in both directories.
func (w *twins) both(t *testing.T, i int, change func(*groupsv1.Group), gone *bool) {
	t.Helper()
	for side, p := range []*pairs{w.merging, w.plain} {
		if err := tell(p, w.names[side][i], change, gone); err != nil {
			t.Fatal(err)
		}
	}
}

func setField(g *groupsv1.Group, field int, value string) {
	switch field {
	case 0:
		g.Description = value
	case 1:
		g.Summary = value
	case 2:
		g.DemographicNote = value
	case 3:
		if g.Contact == nil {
			g.Contact = &groupsv1.Group_Contact{}
		}
		if g.Contact.Phone = value; proto.Size(g.GetContact()) == 0 {
			g.Contact = nil
		}
	}
}

// edit changes a group by hand, unless it is merged.
func (w *twins) edit(t *testing.T, i, n int) {
	t.Helper()
	g := &groupsv1.Group{Title: fmt.Sprintf("Title %d", n)}
	mask := []string{"title"}
	if w.IntN(2) == 0 {
		g.Description, mask = fmt.Sprintf("Description %d", n), append(mask, "description")
	}
	for side, p := range []*pairs{w.merging, w.plain} {
		g.Name = w.names[side][i]
		_, err := p.UpdateGroup(p.owner, &groupsv1.UpdateGroupRequest{Group: g, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}})
		if side == 0 && status.Code(err) == codes.FailedPrecondition {
			return // merged or deleted
		}
		if err != nil {
			t.Fatalf("%v\nafter %s", err, strings.Join(w.steps, "\n"))
		}
	}
	w.steps = append(w.steps, fmt.Sprintf("edit %d", i))
}

func (w *twins) merge(t *testing.T) {
	t.Helper()
	p := w.merging
	list := p.list(p.owner, t, "")
	if len(list) == 0 {
		return
	}
	d := list[w.IntN(len(list))]
	req := &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: d.GetGroups()[w.IntN(2)].GetName()}
	if w.IntN(2) == 0 {
		req.TakenFields = []string{"description", "contact.phone"}
	}
	_, err := p.dup.MergeDuplicate(p.owner, req)
	w.done(t, err, "merge", req.GetName(), req.GetSurvivor())
}

func (w *twins) split(t *testing.T) {
	t.Helper()
	p := w.merging
	if list := p.list(p.owner, t, "state = MERGED"); len(list) > 0 {
		name := list[w.IntN(len(list))].GetName()
		_, err := p.dup.SplitDuplicate(p.owner, &groupsv1.SplitDuplicateRequest{Name: name})
		w.done(t, err, "split", name)
	}
}

// done notes a step; one that is refused has done nothing.
func (w *twins) done(t *testing.T, err error, words ...string) {
	t.Helper()
	if err != nil && status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("%v: %v\nafter %s", words, err, strings.Join(w.steps, "\n"))
	}
	w.steps = append(w.steps, fmt.Sprint(words, err))
}

// Whatever is merged and split, told by feeds and edited by hand, in any order: once all is split, each group is what it would
// be had there been no merges.
func TestSplitLosesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := setupTwins(t, seed)
			for n := range 60 {
				w.step(t, n)
			}
			merges := 0
			for _, s := range w.steps {
				if strings.HasPrefix(s, "[merge") && strings.HasSuffix(s, "<nil>") {
					merges++
				}
			}
			if merges < 2 {
				t.Errorf("only %d merges in %d steps: the test tries nothing", merges, len(w.steps))
			}
			for list := w.merging.list(w.merging.owner, t, "state = MERGED"); len(list) > 0; list = w.merging.list(w.merging.owner, t, "state = MERGED") {
				if _, err := w.merging.dup.SplitDuplicate(w.merging.owner, &groupsv1.SplitDuplicateRequest{Name: list[0].GetName()}); err != nil {
					t.Fatal(err)
				}
			}
			for i := range twinGroups {
				got := must[*groupsv1.Group](t)(w.merging.GetGroup(w.merging.owner, &groupsv1.GetGroupRequest{Name: w.names[0][i]}))
				want := must[*groupsv1.Group](t)(w.plain.GetGroup(w.plain.owner, &groupsv1.GetGroupRequest{Name: w.names[1][i]}))
				if !proto.Equal(written(got), written(want)) || got.GetState() != want.GetState() || (got.GetDeleteTime() == nil) != (want.GetDeleteTime() == nil) ||
					got.GetMergedInto() != "" {
					t.Errorf("group %d is %v, want %v\nafter %s", i, got, want, strings.Join(w.steps, "\n"))
				}
			}
			var left int
			b := w.merging.db.Batch(w.merging.platform)
			b.Queue(`SELECT count(*) FROM group_own`).QueryRow(func(row pgx.Row) error { return row.Scan(&left) })
			if err := w.merging.db.Send(t.Context(), b); err != nil || left > 0 {
				t.Errorf("%d rows of own parts are left (%v), want 0", left, err)
			}
		})
	}
}

// A survivor that its feed removes sets free what was merged into it: the public does not lose a group that another source has.
func TestRemovedSurvivor(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	a, b := p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU")), p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU"))
	p.search(t)
	must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: p.pair(p.owner, t).GetName(), Survivor: a.GetName()}))
	gone := true
	if err := tell(p, a.GetName(), func(*groupsv1.Group) {}, &gone); err != nil {
		t.Fatal(err)
	}
	dir := must[*groupsv1.ListDirectoryResponse](t)(p.ListDirectory(p.public, &groupsv1.ListDirectoryRequest{}))
	if len(dir.GetGroups()) != 1 || dir.GetGroups()[0].GetName() != b.GetName() {
		t.Errorf("the directory has %v, want %s", dir.GetGroups(), b.GetName())
	}
	if d := p.pair(p.owner, t); d.GetState() != groupsv1.Duplicate_PROPOSED {
		t.Errorf("the pair is %v, want it proposed again", d.GetState())
	}
}

// Feeds that say so merge by themselves what is surely the same; what has members stays, and a person decides.
func TestMergeByRule(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	mine := p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU"))
	fed := p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU"))
	feed := uuid.New()
	body, err := proto.Marshal(&groupsv1.Feed{Merging: &groupsv1.Feed_Merging{Rule: groupsv1.Feed_Merging_MERGE, MinScore: 0.9}})
	if err != nil {
		t.Fatal(err)
	}
	b := p.db.Batch(p.platform)
	org := uuid.MustParse(ours[len("organizations/"):])
	b.Queue(`INSERT INTO feeds (id, org_id, revision, title, format, source_system, paused, body, create_time, update_time, pull_seconds)
		VALUES ($1, $2, 1, '', 'csv', 'csv', false, $3, $4, $4, 0)`, feed, org, body, time.Now())
	b.Queue(`INSERT INTO feed_items (feed_id, external_id, org_id, item, group_id, state, paused, digest, body) VALUES ($1, 'x', $2, 0, $3, 1, false, '', '')`,
		feed, org, uuid.MustParse(fed.GetName()[7:]))
	b.Queue(`UPDATE groups SET listed = true WHERE id = $1`, uuid.MustParse(fed.GetName()[7:]))
	if err := p.db.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	p.search(t)
	d := p.pair(p.owner, t)
	if d.GetState() != groupsv1.Duplicate_MERGED || d.GetSurvivor() != mine.GetName() || d.GetDecidedBy() != aip.Name("feeds", feed) {
		t.Errorf("got %v, want it merged into the owner's own group by the feed's rule", d)
	}
}

// A survivor that is deleted or archived by hand sets free what was merged into it, of another organization too, with its private part.
func TestSurvivorGoneByHand(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"delete", "archive"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := setupPairs(t)
			a := p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU"))
			in := meets("Harbor Breast Cancer Support Group", "TU")
			in.Description, in.Online = "Theirs", &groupsv1.Group_Online{JoinUri: "https://zoom.us/j/secret"}
			b := p.published(p.stranger, t, in)
			p.search(t)
			must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(p.platform, &groupsv1.MergeDuplicateRequest{Name: p.pair(p.owner, t).GetName(), Survivor: a.GetName()}))
			var gone *groupsv1.Group
			if how == "delete" {
				gone = must[*groupsv1.Group](t)(p.DeleteGroup(p.owner, &groupsv1.DeleteGroupRequest{Name: a.GetName()}))
			} else {
				gone = must[*groupsv1.Group](t)(p.ArchiveGroup(p.owner, &groupsv1.ArchiveGroupRequest{Name: a.GetName()}))
			}
			if gone.GetDescription() != "" {
				t.Errorf("the survivor still shows %q", gone.GetDescription())
			}
			got := must[*groupsv1.Group](t)(p.GetGroup(p.stranger, &groupsv1.GetGroupRequest{Name: b.GetName()}))
			if !proto.Equal(written(got), written(b)) || got.GetMergedInto() != "" || got.GetDeleteTime() != nil || got.GetState() != groupsv1.Group_PUBLISHED {
				t.Errorf("the other organization's group is %v, want it as it was", got)
			}
			dir := must[*groupsv1.ListDirectoryResponse](t)(p.ListDirectory(p.public, &groupsv1.ListDirectoryRequest{}))
			if len(dir.GetGroups()) != 1 || dir.GetGroups()[0].GetName() != b.GetName() {
				t.Errorf("the directory has %v, want %s", dir.GetGroups(), b.GetName())
			}
			if d := p.list(p.platform, t, ""); len(d) != 1 || d[0].GetState() != groupsv1.Duplicate_PROPOSED {
				t.Errorf("the pairs are %v, want one that is proposed again", d)
			}
		})
	}
}

// What a group in the middle of merges says itself is kept, whatever happens above it.
func TestThreeLevels(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	var groups []*groupsv1.Group
	for _, description := range []string{"", "", "Deepest"} {
		g := meets("Harbor Breast Cancer Support Group", "TU")
		g.Description = description
		groups = append(groups, p.published(p.owner, t, g))
	}
	top, middle, low := groups[0].GetName(), groups[1].GetName(), groups[2].GetName()
	p.search(t)
	pair := func(x, y string) string {
		for _, d := range p.list(p.owner, t, "") {
			if names := []string{d.GetGroups()[0].GetName(), d.GetGroups()[1].GetName()}; slices.Contains(names, x) && slices.Contains(names, y) {
				return d.GetName()
			}
		}
		t.Fatalf("no pair of %s and %s", x, y)
		return ""
	}
	must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: pair(middle, low), Survivor: middle}))
	must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: pair(top, middle), Survivor: top}))
	must[*groupsv1.Group](t)(p.UpdateGroup(p.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: top, Title: "Edited"}}))
	p.feedTells(t, top, func(g *groupsv1.Group) { g.Summary = "Told" })
	must[*groupsv1.Duplicate](t)(p.dup.SplitDuplicate(p.owner, &groupsv1.SplitDuplicateRequest{Name: pair(top, middle)}))
	must[*groupsv1.Duplicate](t)(p.dup.SplitDuplicate(p.owner, &groupsv1.SplitDuplicateRequest{Name: pair(middle, low)}))
	for i, want := range groups[1:] {
		got := must[*groupsv1.Group](t)(p.GetGroup(p.owner, &groupsv1.GetGroupRequest{Name: want.GetName()}))
		if !proto.Equal(written(got), written(want)) {
			t.Errorf("group %d is %v, want %v", i+1, got, want)
		}
	}
}
