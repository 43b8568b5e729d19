package groups

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/internal/pgtest"
)

// rename gives a group another external_id, as its owner may.
func (f *feeds) rename(from, to string) {
	f.t.Helper()
	must[group](f.t)(f.owner.UpdateGroup(f.ctx, &groupsv1.UpdateGroupRequest{
		Group: &groupsv1.Group{Name: f.group(from).GetName(), ExternalId: to}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"external_id"}},
	}))
}

// same checks the organization's groups.
func (f *feeds) same(want map[string]string) {
	f.t.Helper()
	if d := cmp.Diff(want, f.groups()); d != "" {
		f.t.Errorf("groups (-want +got):\n%s", d)
	}
}

// A group that its owner gave the id of another record stays with its own record as long as the feed has that.
func TestGroupOfTwoRecords(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{MaxRemovedPercent: new(int32(100))})
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 1}, "x One")
	f.rename("x", "z")
	const why = `REJECTED  "z" the group with this id came from record "x", which the feed still has: give the group its own external_id back, or drop one of the two records`
	for _, content := range [][]string{{"x Uno", "z Two"}, {"z Two", "x Eins"}, {"x Eins", "z Two"}} {
		updated := &groupsv1.FeedRun_Counts{Updated: 1, Rejected: 1}
		if content[0] == "x Eins" {
			updated = &groupsv1.FeedRun_Counts{Unchanged: 1, Rejected: 1}
		}
		run := f.take(feed, updated, content...)
		if got := f.rejected(run); len(got) != 1 || got[0][2:] != why {
			t.Errorf("of %v are rejected %v, want %s", content, got, why)
		}
	}
	f.same(map[string]string{"z": `Eins PUBLISHED "4"`})
	// Once it has its id back, both records have a group.
	f.rename("z", "x")
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 1, Unchanged: 1}, "x Eins", "z Two")
	f.same(map[string]string{"x": `Eins PUBLISHED "5"`, "z": `Two PUBLISHED "1"`})
}

// A group that its owner gave the id of another record goes on with that one when its own is gone, and keeps what the owner said.
func TestGroupOfAnotherRecord(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{MaxRemovedPercent: new(int32(100))})
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 1}, "x One")
	f.rename("x", "z")
	must[group](t)(f.owner.UpdateGroup(f.ctx, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: f.group("z").GetName(), Title: "Ours"}}))
	dry := f.finish(f.start(feed, true, "z One summary=New"))
	f.counted(dry, &groupsv1.FeedRun_Counts{Updated: 1})
	f.take(feed, &groupsv1.FeedRun_Counts{Updated: 1}, "z One summary=New")
	f.same(map[string]string{"z": `Ours PUBLISHED "4"`})
	f.take(feed, &groupsv1.FeedRun_Counts{Unchanged: 1}, "z One summary=New")
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 1, Unchanged: 1}, "x Other", "z One summary=New")
	f.take(feed, &groupsv1.FeedRun_Counts{Removed: 1, Unchanged: 1}, "x Other")
	f.same(map[string]string{"x": `Other PUBLISHED "1"`, "z": `Ours PUBLISHED "5" deleted`})
	if n := f.count(`SELECT count(*) FROM feed_items`); n != 2 {
		t.Errorf("the feed has %d items, want 2", n)
	}
}

// A group that cannot come back, since another has its id meanwhile, does not stop the run.
func TestIDTaken(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{SourceSystem: "list", MaxRemovedPercent: new(int32(100))})
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 2}, "x One", "y Two")
	f.take(feed, &groupsv1.FeedRun_Counts{Removed: 1, Unchanged: 1}, "y Two")
	in := listing("By hand")
	in.SourceSystem, in.ExternalId = "list", "x"
	must[group](t)(f.owner.CreateGroup(f.ctx, &groupsv1.CreateGroupRequest{Group: in}))
	run := f.take(feed, &groupsv1.FeedRun_Counts{Created: 1, Updated: 1, Rejected: 1}, "x One", "y Zwei", "z Three")
	want := []string{`1 REJECTED  "x" another group of the organization has external_id "x" of source_system "list" meanwhile: delete one of the two, or change its external_id`}
	if d := cmp.Diff(want, f.rejected(run)); d != "" || run.GetState() != groupsv1.FeedRun_SUCCEEDED {
		t.Errorf("the run is %v and rejects (-want +got):\n%s", run, d)
	}

	// Two groups of one batch: one that comes back with an id that the other is added with.
	f.rename("z", "w")
	f.take(feed, &groupsv1.FeedRun_Counts{Removed: 1, Unchanged: 1, Rejected: 1}, "x One", "y Zwei")
	run = f.take(feed, &groupsv1.FeedRun_Counts{Created: 1, Unchanged: 1, Rejected: 2}, "x One", "y Zwei", "w Four", "z Three")
	if got := f.rejected(run); len(got) != 2 || got[1][:3] != "4 R" {
		t.Errorf("rejected are %v, want rows 1 and 4", got)
	}
}

// Two groups of a feed that were merged with each other are removed in one batch, with one revision each.
func TestMergedGroupsRemoved(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	p := &pairs{server: f.owner, dup: &duplicateServer{db: f.db, clock: f.clock, log: quiet()}, owner: f.ctx, public: t.Context()}
	feed := f.feed(&groupsv1.Feed{MaxRemovedPercent: new(int32(100))})
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 3}, "a Harbor_Breast_Group", "b Harbor_Breast_Group", "c Chess_Club language=fr")
	p.search(t)
	d := p.pair(f.ctx, t)
	must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(f.ctx, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: f.group("a").GetName()}))
	f.take(feed, &groupsv1.FeedRun_Counts{Removed: 2, Unchanged: 1}, "c Chess_Club language=fr")
	f.same(map[string]string{"a": `Harbor Breast Group PUBLISHED "2" deleted`, "b": `Harbor Breast Group PUBLISHED "3" deleted`, "c": `Chess Club PUBLISHED "1"`})
}

// A row whose id cannot be read may be of any group that seems absent: none is removed, and the run says so.
func TestRowsWithoutID(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 4}, "a One", "b Two", "c Three", "d Four")
	was := f.groups()
	content := []string{"a One", "- Two", "c Three", "\xff Four"}
	const why = "rejected rows without a readable id: 2; they may be any of the 2 groups that seem absent, so none of these was removed"
	counts := &groupsv1.FeedRun_Counts{Unchanged: 2, Rejected: 2}
	dry := f.finish(f.start(feed, true, content...))
	f.counted(dry, counts)
	run := f.take(feed, counts, content...)
	for _, r := range []*groupsv1.FeedRun{dry, run} {
		if r.GetState() != groupsv1.FeedRun_SUCCEEDED || r.GetError() != why || r.GetProgress().GetGroupsToRemove() != 0 {
			t.Errorf("the run is %v, want it to say %q", r, why)
		}
	}
	f.same(was)
	// A row that is bad, but has its id, keeps its own group alone.
	run = f.take(feed, &groupsv1.FeedRun_Counts{Unchanged: 2, Held: 1}, "a One", "b Two bad=thing", "c Three")
	if run.GetState() != groupsv1.FeedRun_HELD {
		t.Errorf("the run is %v, want it held for the absent group", run)
	}
	// Nothing seems absent: there is nothing to say.
	if run = f.take(feed, &groupsv1.FeedRun_Counts{Unchanged: 4, Rejected: 1}, "a One", "b Two", "- No", "c Three", "d Four"); run.GetError() != "" {
		t.Errorf("the run says %q, want nothing", run.GetError())
	}
}

// Rows that come again are found a page at a time.
func TestManyDuplicates(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	f.atOnce = batchGroups
	feed := f.feed(&groupsv1.Feed{})
	content := make([]string, 2*windowRows+100)
	for i := range content {
		content[i] = fmt.Sprintf("g%d Group", i%windowRows)
	}
	f.counted(f.finish(f.start(feed, true, content...)), &groupsv1.FeedRun_Counts{Created: windowRows, Rejected: windowRows + 100})
	if n := f.count(`SELECT count(*) FROM feed_rejected WHERE row > $1`, windowRows); n != windowRows+100 {
		t.Errorf("%d rows are rejected, want %d: all but the first of each id", n, windowRows+100)
	}
}

// A batch that is in another transaction's way begins anew at once, and counts once.
func TestCrossedBatches(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	config, err := pgx.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.Database = f.db.Config().ConnConfig.Database
	admin, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := admin.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if _, err := admin.Exec(t.Context(), `
		CREATE SEQUENCE tries;
		CREATE FUNCTION cross() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
		DECLARE n bigint := nextval('public.tries');
		BEGIN
			IF n <= 2 OR n > 100 THEN
				RAISE EXCEPTION 'crossed' USING ERRCODE = CASE WHEN n = 1 THEN '40001' ELSE '40P01' END;
			END IF;
			RETURN NULL;
		END $$;
		CREATE TRIGGER crossed AFTER INSERT ON feed_items EXECUTE FUNCTION cross()`); err != nil {
		t.Fatal(err)
	}
	run := f.take(feed, &groupsv1.FeedRun_Counts{Created: 4}, "a One", "b Two", "c Three", "d Four")
	if n := f.count(`SELECT count(*) FROM outbox WHERE type LIKE '%synced%'`); n != 2 || run.GetState() != groupsv1.FeedRun_SUCCEEDED {
		t.Errorf("%d events tell of the run %v, want one a batch: 2", n, run)
	}
	if n := f.count(`SELECT next_item FROM feeds`) + f.count(`SELECT count(DISTINCT item) FROM feed_items`); n != 8 {
		t.Errorf("the feed's items and numbers are %d, want 4 each", n)
	}
	// It does not try for ever.
	var n int
	if err := admin.QueryRow(t.Context(), `SELECT setval('tries', 100)`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if err := f.work(system(t.Context()), f.start(feed, false, "a One", "b Two", "c Three", "d Four", "e Five"), later()); err == nil {
		t.Error("the run succeeded")
	}
	if err := admin.QueryRow(t.Context(), `SELECT last_value FROM tries`).Scan(&n); err != nil || n != 100+writeTries {
		t.Errorf("the batch was tried %d times (%v), want %d", n-100, err, writeTries)
	}
}

// An item's number is not used up when another item changes in its batch.
func TestNumbersOfItems(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 2}, "a One", "b Two")
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 1, Updated: 2}, "a Eins", "b Zwei", "c Three")
	if n := f.count(`SELECT next_item FROM feeds`); n != 3 || f.count(`SELECT count(DISTINCT item) FROM feed_items WHERE item < 3`) != 3 {
		t.Errorf("the feed's next item is %d, want 3, and the items 0 to 2", n)
	}
}

// What the owner pauses stays paused, though the feed had paused it before and the owner published it then.
func TestPausedByOwnerAgain(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 2}, "a One closed", "b Two closed")
	for _, id := range []string{"a", "b"} {
		must[group](t)(f.owner.PublishGroup(f.ctx, &groupsv1.PublishGroupRequest{Name: f.group(id).GetName()}))
	}
	must[group](t)(f.owner.PauseGroup(f.ctx, &groupsv1.PauseGroupRequest{Name: f.group("a").GetName()}))
	f.take(feed, &groupsv1.FeedRun_Counts{Updated: 2}, "a Eins", "b Zwei")
	f.same(map[string]string{"a": `Eins PAUSED "4"`, "b": `Zwei PUBLISHED "3"`})
}

// A worker that comes late to a run that another has taken up takes nothing of its stage away.
func TestLateWorker(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	content := before()
	id := f.start(feed, false, content...)
	late, row, err := f.claim(system(t.Context()), id)
	if err != nil {
		t.Fatal(err)
	}
	f.format.entry = func(record int) {
		if record != 1 {
			return
		}
		if err := f.scan(t.Context(), late, row, feed, later()); !errors.Is(err, errStale) {
			t.Errorf("the late worker ended with %v, want %v", err, errStale)
		}
	}
	f.counted(f.finish(id), &groupsv1.FeedRun_Counts{Created: int64(len(content))})
}
