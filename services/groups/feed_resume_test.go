package groups

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// before and after are two states of a directory that differ in every way.
func before() []string {
	var out []string
	for i := range 20 {
		out = append(out, fmt.Sprintf("g%02d Group_%d", i, i))
	}
	return out
}

func after() []string {
	var out []string
	for i := range 26 {
		switch {
		case i%7 == 3: // absent
		case i%4 == 0:
			out = append(out, fmt.Sprintf("g%02d New_name_%d", i, i))
		case i%5 == 2:
			out = append(out, fmt.Sprintf("g%02d Group_%d bad=%d", i, i, i))
		case i%6 == 1:
			out = append(out, fmt.Sprintf("g%02d Group_%d therapy", i, i))
		default:
			out = append(out, fmt.Sprintf("g%02d Group_%d", i, i))
		}
	}
	return append(out, "x Twice", "y Once", "x Twice", "g01 Twice")
}

// A run whose worker is killed, wherever it stands, ends as one that nobody disturbs.
func TestKilledRuns(t *testing.T) {
	t.Parallel()
	type result struct {
		Groups   map[string]string
		Rejected []string
		Counts   string
		Progress string
		Items    int
		Events   int
	}
	run := func(f *feeds, disturb func(step int) (context.Context, time.Time)) result {
		feed := f.feed(&groupsv1.Feed{MaxRemovedPercent: new(int32(50))})
		f.take(feed, &groupsv1.FeedRun_Counts{Created: 20}, before()...)
		id := f.start(feed, false, after()...)
		for step := 1; ; step++ {
			ctx, until := disturb(step)
			err := f.work(ctx, id, until)
			if r := f.run(id); r.GetState() != groupsv1.FeedRun_QUEUED && r.GetState() != groupsv1.FeedRun_RUNNING {
				if err != nil {
					t.Errorf("the run ended with %v", err)
				}
				p := r.GetProgress()
				return result{
					f.groups(), f.rejected(r), countsOf(r.GetCounts()), fmt.Sprint(p.GetRowsRead(), p.GetRowsToApply(), p.GetRowsApplied(), p.GetGroupsToRemove()),
					f.count(`SELECT count(*) FROM feed_items WHERE state = 1`), f.count(`SELECT count(*) FROM outbox WHERE type LIKE '%synced%'`),
				}
			}
			if err == nil || step > 200 {
				t.Fatalf("step %d ended with %v, and the run is %v", step, err, f.run(id))
			}
		}
	}
	calm := func(int) (context.Context, time.Time) { return system(t.Context()), later() }
	want := run(setupFeeds(t), calm)
	if want.Counts != "6 created, 5 updated, 7 unchanged, 3 removed, 8 rejected, 0 held, 1 unpublished" {
		t.Errorf("undisturbed, it ends as %v", want)
	}

	t.Run("after every batch", func(t *testing.T) {
		t.Parallel()
		f := setupFeeds(t)
		steps := 0
		got := run(f, func(step int) (context.Context, time.Time) { steps = step; return system(t.Context()), time.Time{} })
		if d := cmp.Diff(want, got); d != "" || steps < 7 {
			t.Errorf("ended in %d steps, otherwise than undisturbed (-want +got):\n%s", steps, d)
		}
	})
	t.Run("in the middle of every batch", func(t *testing.T) {
		t.Parallel()
		f := setupFeeds(t)
		kill := func() {}
		var mu sync.Mutex
		decoded := map[int]bool{}
		f.format.entry = func(row int) {
			mu.Lock()
			defer mu.Unlock()
			if !decoded[row] && row%4 == 0 { // once for each of some rows
				decoded[row] = true
				kill()
			}
		}
		got := run(f, func(int) (context.Context, time.Time) {
			ctx, cancel := context.WithCancel(system(t.Context()))
			t.Cleanup(cancel)
			mu.Lock()
			defer mu.Unlock()
			kill = cancel
			return ctx, later()
		})
		if d := cmp.Diff(want, got); d != "" || len(decoded) < 4 {
			t.Errorf("killed %d times, ended otherwise than undisturbed (-want +got):\n%s", len(decoded), d)
		}
	})
	t.Run("PostgreSQL has crashed after every batch", func(t *testing.T) {
		t.Parallel()
		f := setupFeeds(t)
		got := run(f, func(int) (context.Context, time.Time) {
			f.count(`WITH emptied AS (DELETE FROM feed_stage RETURNING 1) SELECT count(*) FROM emptied`) // as it leaves unlogged tables
			return system(t.Context()), time.Time{}
		})
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("ended otherwise than undisturbed (-want +got):\n%s", d)
		}
	})
	t.Run("two workers at once", func(t *testing.T) {
		t.Parallel()
		f := setupFeeds(t)
		feed := f.feed(&groupsv1.Feed{MaxRemovedPercent: new(int32(50))})
		f.take(feed, &groupsv1.FeedRun_Counts{Created: 20}, before()...)
		id := f.start(feed, false, after()...)
		done := make(chan error, 4)
		for range cap(done) {
			go func() { done <- f.work(system(t.Context()), id, later()) }()
		}
		for range cap(done) {
			if err := <-done; err != nil {
				t.Logf("a worker: %v", err)
			}
		}
		r := f.finish(id)
		if got := f.groups(); r.GetState() != groupsv1.FeedRun_SUCCEEDED || cmp.Diff(want.Groups, got) != "" || countsOf(r.GetCounts()) != want.Counts || !slices.Equal(f.rejected(r), want.Rejected) {
			t.Errorf("ended as %v, otherwise than with one (-want +got):\n%s", r, cmp.Diff(want.Groups, got))
		}
	})
}
