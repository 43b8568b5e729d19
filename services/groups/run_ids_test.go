package groups

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
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
