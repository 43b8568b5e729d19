package groups

import (
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// Two feeds list one group: it is merged by rule, each feed goes on telling its own part, every field has its source, and a feed that
// stops listing it takes only its own part away.
func TestFeedsOfOneGroup(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	p := &pairs{server: f.owner, dup: &duplicateServer{db: f.db, clock: f.clock, log: quiet()}, owner: f.ctx, public: t.Context()}
	first := f.feed(&groupsv1.Feed{SourceSystem: "first", MaxRemovedPercent: new(int32(100))})
	second := f.feed(&groupsv1.Feed{
		SourceSystem: "second", MaxRemovedPercent: new(int32(100)), Merging: &groupsv1.Feed_Merging{Rule: groupsv1.Feed_Merging_MERGE, MinScore: 0.9},
	})
	f.take(first, &groupsv1.FeedRun_Counts{Created: 2}, "y Chess_Club language=fr", "a Harbor_Breast_Group summary=Ours")
	told := f.take(second, &groupsv1.FeedRun_Counts{Created: 2}, "z Knitting_Circle language=de", "b Harbor_Breast_Group summary=Theirs seats=xxxxx")
	a, b := f.group("a"), f.group("b")
	p.search(t)
	d := p.pair(f.ctx, t)
	if d.GetState() != groupsv1.Duplicate_MERGED || d.GetSurvivor() != a.GetName() || d.GetDecidedBy() != second.GetName() {
		t.Fatalf("got %v, want it merged into the older by the second feed's rule", d)
	}
	shown := func(summary string, seats int32) {
		t.Helper()
		got := must[*groupsv1.Group](t)(p.GetGroup(p.public, &groupsv1.GetGroupRequest{Name: a.GetName()}))
		if got.GetSummary() != summary || got.GetCapacity().GetSeats() != seats {
			t.Errorf("the group shows %q and %d seats, want %q and %d", got.GetSummary(), got.GetCapacity().GetSeats(), summary, seats)
		}
	}
	shown("Ours", 5)

	sources := map[string]*groupsv1.FieldSource{}
	for _, s := range must[*groupsv1.GroupSources](t)(p.dup.GetGroupSources(f.ctx, &groupsv1.GetGroupSourcesRequest{Name: a.GetName()})).GetFields() {
		sources[s.GetPath()] = s
	}
	if s := sources["capacity"]; s.GetFeed() != second.GetName() || s.GetFeedRun() != told.GetName() || s.GetExternalId() != "b" || s.GetGroup() != b.GetName() {
		t.Errorf("the seats are of %v, want record b of the second feed and its run", s)
	}
	if s := sources["summary"]; s.GetFeed() != first.GetName() || s.GetExternalId() != "a" || s.GetGroup() != a.GetName() {
		t.Errorf("the summary is of %v, want record a of the first feed", s)
	}

	f.clock.Advance(durationpb.New(3600e9).AsDuration())
	f.take(second, &groupsv1.FeedRun_Counts{Updated: 1, Unchanged: 1}, "z Knitting_Circle language=de", "b Harbor_Breast_Group summary=Later seats=xxxxxxx")
	shown("Ours", 7)
	f.take(first, &groupsv1.FeedRun_Counts{Updated: 1, Unchanged: 1}, "y Chess_Club language=fr", "a Harbor_Breast_Group summary=New seats=xx")
	shown("New", 2)
	f.take(first, &groupsv1.FeedRun_Counts{Updated: 1, Unchanged: 1}, "y Chess_Club language=fr", "a Harbor_Breast_Group summary=New")
	shown("New", 7)
	f.take(second, &groupsv1.FeedRun_Counts{Removed: 1, Unchanged: 1}, "z Knitting_Circle language=de")
	shown("New", 0)
	f.take(second, &groupsv1.FeedRun_Counts{Updated: 1, Unchanged: 1}, "z Knitting_Circle language=de", "b Harbor_Breast_Group summary=Back seats=xxxx")
	shown("New", 4)
	f.take(first, &groupsv1.FeedRun_Counts{Removed: 1, Unchanged: 1}, "y Chess_Club language=fr")
	got := must[*groupsv1.Group](t)(p.GetGroup(p.public, &groupsv1.GetGroupRequest{Name: b.GetName()}))
	if got.GetSummary() != "Back" || got.GetMergedInto() != "" {
		t.Errorf("once the first feed has dropped it the group is %v, want the second feed's", got)
	}
}
