package groups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats"
	"cairn.care/services/formats/cairn"
	"cairn.care/services/formats/csv"
	"cairn.care/services/formats/hsds"
)

// brittle panics at a record "panic".
type brittle struct{ *lines }

func (b brittle) Records(feed io.Reader, o formats.Options) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		for r, err := range b.lines.Records(feed, o) {
			if r.ID == "panic" {
				panic("an unforeseen record")
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// A record that makes a format panic costs that record, or the run: never the process.
func TestPanics(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	f.formats["lines"] = brittle{f.format}
	feed := f.feed(&groupsv1.Feed{})
	f.format.entry = func(row int) {
		if row == 2 {
			panic("an unforeseen field")
		}
	}
	run := f.take(feed, &groupsv1.FeedRun_Counts{Created: 2, Rejected: 1}, "a One", "b Two", "c Three")
	if got := strings.Join(f.rejected(run), "\n"); got != `2 REJECTED  "b" cannot be read` {
		t.Errorf("the report is %s", got)
	}
	run = f.finish(f.start(feed, false, "a Eins", "panic Now"))
	if run.GetState() != groupsv1.FeedRun_FAILED || !strings.HasPrefix(run.GetError(), "the content cannot be read") || f.group("a").GetTitle() != "One" {
		t.Errorf("the run is %v, and the group %v", run, f.group("a"))
	}
}

// attempt has River's worker try the run.
func (f *feeds) attempt(ctx context.Context, id uuid.UUID, n int) error {
	w := &runWorker{server: f.feedServer}
	return w.Work(ctx, &river.Job[runArgs]{JobRow: &rivertype.JobRow{Attempt: n, MaxAttempts: runArgs{}.InsertOpts().MaxAttempts}, Args: runArgs{Run: id}})
}

// A run that fails again and again ends, and the feed's next one begins.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	damaged := func() uuid.UUID { // its content cannot be decompressed: ours, not the feed's
		t.Helper()
		id := f.start(feed, false, "a One")
		f.count(`WITH damaged AS (UPDATE feed_chunks SET body = 'x' WHERE run_id = $1 RETURNING 1) SELECT count(*) FROM damaged`, id)
		return id
	}
	job := func(state string) {
		t.Helper()
		if n := f.count(`WITH j AS (UPDATE river_job SET state = $1::text::river_job_state, finalized_at = CASE WHEN $1 = 'discarded' THEN now() END RETURNING 1)
			SELECT count(*) FROM j`, state); n == 0 {
			t.Fatal("there is no job")
		}
	}
	id := damaged()
	for n := 1; n <= 6; n++ {
		if err := f.attempt(system(t.Context()), id, n); err == nil {
			t.Fatalf("attempt %d succeeded", n)
		}
		if got, want := f.run(id).GetState(), map[bool]groupsv1.FeedRun_State{false: groupsv1.FeedRun_RUNNING, true: groupsv1.FeedRun_FAILED}[n == 6]; got != want {
			t.Errorf("after attempt %d the run is %v, want %v", n, got, want)
		}
	}

	// The last attempt ran out of time.
	id = damaged()
	over, cancel := context.WithCancel(system(t.Context()))
	cancel()
	if err := f.attempt(over, id, 6); !errors.Is(err, context.Canceled) || f.run(id).GetState() != groupsv1.FeedRun_FAILED {
		t.Errorf("out of time (%v), the run is %v", err, f.run(id))
	}

	// Its worker died with the last attempt.
	id = damaged()
	if err := f.attempt(system(t.Context()), id, 1); err == nil {
		t.Fatal("the attempt succeeded")
	}
	for _, c := range []struct {
		job  string
		want groupsv1.FeedRun_State
	}{{"retryable", groupsv1.FeedRun_RUNNING}, {"discarded", groupsv1.FeedRun_FAILED}} {
		job(c.job)
		if err := f.lost(system(t.Context())); err != nil {
			t.Fatal(err)
		}
		if got := f.run(id).GetState(); got != c.want {
			t.Errorf("with a job that is %s, the run is %v, want %v", c.job, got, c.want)
		}
	}

	// One that waits for its next attempt is cancelled at once.
	id = damaged()
	if err := f.attempt(system(t.Context()), id, 1); err == nil {
		t.Fatal("the attempt succeeded")
	}
	job("retryable")
	if r := must[*groupsv1.FeedRun](t)(f.CancelFeedRun(f.ctx, &groupsv1.CancelFeedRunRequest{Name: aip.Name("feedRuns", id)})); r.GetState() != groupsv1.FeedRun_CANCELLED {
		t.Errorf("cancelled, the run is %v", r)
	}
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 1}, "a One")
}

// A feed that is deleted while content comes for it gets no run.
func TestDeletedDuringPush(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	content := io.MultiReader(strings.NewReader("a One\n"), &once{do: func() {
		if _, err := f.DeleteFeed(f.ctx, &groupsv1.DeleteFeedRequest{Name: feed.GetName()}); err != nil {
			t.Error(err)
		}
	}})
	if _, err := f.push(f.ctx, &groupsv1.PushFeedRequest{Name: feed.GetName()}, content); code(err) != codes.NotFound {
		t.Errorf("the push is answered with %v", err)
	}
	if n := f.count(`SELECT count(*) FROM feed_chunks`) + f.count(`SELECT count(*) FROM feed_runs`); n > 0 {
		t.Errorf("%d rows are left of it", n)
	}
}

// once is empty content that does something when it is read.
type once struct{ do func() }

func (o *once) Read([]byte) (int, error) {
	o.do()
	return 0, io.EOF
}

// A pull that brings nothing new leaves what is held to a person, and one of an API goes on from the pull before.
func TestPullsOfAPI(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	down, asked := false, ""
	page := `{"contents":[],"empty":true,"total_pages":1,"page_number":1,"last_page":true}`
	during := func() {}
	uri := f.partner(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("modified_after")
		during()
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if _, err := io.WriteString(w, page); err != nil {
			t.Error(err)
		}
	})
	f.formats["hsds"] = hsds.Format{}
	in := &groupsv1.Feed{Source: groupsv1.Feed_PULLED, Pull: &groupsv1.Feed_Pull{Uri: uri + "/services"}, Mode: groupsv1.Feed_PARTIAL}
	feed := f.feedOf("hsds", in)
	pull := func(want groupsv1.FeedRun_State) {
		t.Helper()
		run := must[*groupsv1.FeedRun](t)(f.PullFeed(f.ctx, &groupsv1.PullFeedRequest{Name: feed.GetName()}))
		f.clock.Advance(time.Minute)
		if run = f.finish(runID(t, run.GetName())); run.GetState() != want {
			t.Fatalf("the run is %v, want it %v", run, want)
		}
	}
	since := func(began time.Time) string { return began.Add(-modifiedMargin).Format(time.RFC3339) }
	pull(groupsv1.FeedRun_SUCCEEDED)
	first := f.clock.Now()
	if asked != "" {
		t.Errorf("the first pull asks for what was modified after %q", asked)
	}
	f.clock.Advance(time.Hour)
	down = true
	pull(groupsv1.FeedRun_FAILED)
	if asked != since(first) {
		t.Errorf("the second pull asks for what was modified after %q, want %q", asked, since(first))
	}
	down = false
	pull(groupsv1.FeedRun_SUCCEEDED)
	if asked != since(first) {
		t.Errorf("after a failure a pull asks for what was modified after %q, want %q", asked, since(first))
	}
	// A change of the feed during a pull is not lost to it.
	during = func() {
		must[*groupsv1.Feed](t)(f.UpdateFeed(f.ctx, &groupsv1.UpdateFeedRequest{Feed: &groupsv1.Feed{Name: feed.GetName(), Language: "es"}}))
	}
	pull(groupsv1.FeedRun_SUCCEEDED)
	during = func() {}
	pull(groupsv1.FeedRun_SUCCEEDED)
	if asked != "" {
		t.Errorf("after a change a pull asks for what was modified after %q", asked)
	}
}

// A held run is held until newer content has come: a pull that fails brings none.
func TestHeldUntilNewer(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	content, status := strings.Join(before(), "\n"), http.StatusOK
	uri := f.partner(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		if _, err := io.WriteString(w, content); err != nil {
			t.Error(err)
		}
	})
	feed := f.feed(&groupsv1.Feed{Source: groupsv1.Feed_PULLED, Pull: &groupsv1.Feed_Pull{Uri: uri}})
	pull := func(want groupsv1.FeedRun_State) *groupsv1.FeedRun {
		t.Helper()
		run := must[*groupsv1.FeedRun](t)(f.PullFeed(f.ctx, &groupsv1.PullFeedRequest{Name: feed.GetName()}))
		if run = f.finish(runID(t, run.GetName())); run.GetState() != want {
			t.Fatalf("the run is %v, want it %v", run, want)
		}
		return run
	}
	pull(groupsv1.FeedRun_SUCCEEDED)
	content = "g00 Group_0"
	held := runID(t, pull(groupsv1.FeedRun_HELD).GetName())
	status = http.StatusServiceUnavailable
	pull(groupsv1.FeedRun_FAILED)
	if r := f.run(held); r.GetState() != groupsv1.FeedRun_HELD {
		t.Errorf("after a pull that failed, the held run is %v", r)
	}
	status, content = http.StatusOK, strings.Join(before(), "\n")
	pull(groupsv1.FeedRun_SUCCEEDED)
	if r := f.run(held); r.GetState() != groupsv1.FeedRun_CANCELLED {
		t.Errorf("after newer content, the held run is %v", r)
	}
}

// What is wrong with a feed is told when it is made, under the field's own name.
func TestFeedsThatCannotBe(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	f.formats["csv"] = csv.Format{}
	for field, feed := range map[string]*groupsv1.Feed{
		"feed.title":   {Title: "Two\nlines"},
		"feed.columns": {Columns: map[string]string{"nope.path": "b"}},
	} {
		feed.Format = "csv"
		refused(t, fault.From(f.checkFeed(feed)).Err(), codes.InvalidArgument, field)
	}
	if err := f.checkFeed(&groupsv1.Feed{Format: "csv", Columns: map[string]string{"venue.label": "Ort"}}); err != nil {
		t.Errorf("good columns: %v", err)
	}
}

// A pull of many pages that takes longer than a worker stays with it goes on with the page that comes next.
func TestPullGoesOn(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	f.formats["hsds"] = hsds.Format{}
	var asked []string
	uri := f.partner(func(w http.ResponseWriter, r *http.Request) {
		n := r.URL.Query().Get("page")
		asked = append(asked, n)
		if _, err := fmt.Fprintf(w, `{"contents":[],"total_pages":3,"page_number":%s}`, n); err != nil {
			t.Error(err)
		}
	})
	feed := f.feedOf("hsds", &groupsv1.Feed{Source: groupsv1.Feed_PULLED, Pull: &groupsv1.Feed_Pull{Uri: uri + "/services"}})
	id := runID(t, must[*groupsv1.FeedRun](t)(f.PullFeed(f.ctx, &groupsv1.PullFeedRequest{Name: feed.GetName()})).GetName())
	for range 2 {
		if err := f.work(system(t.Context()), id, time.Time{}); !errors.Is(err, errMore) {
			t.Fatalf("out of time after a page, a worker ends with %v", err)
		}
	}
	if n := f.count(`SELECT count(DISTINCT part) FROM feed_chunks`); n != 2 {
		t.Errorf("%d pages are kept, want 2", n)
	}
	if r := f.finish(id); r.GetState() != groupsv1.FeedRun_SUCCEEDED || strings.Join(asked, " ") != "1 2 3" {
		t.Errorf("the pages %v were asked for, and the run is %v", asked, r)
	}

	// After a change of the feed in between all is got anew.
	asked = nil
	id = runID(t, must[*groupsv1.FeedRun](t)(f.PullFeed(f.ctx, &groupsv1.PullFeedRequest{Name: feed.GetName()})).GetName())
	if err := f.work(system(t.Context()), id, time.Time{}); !errors.Is(err, errMore) {
		t.Fatalf("out of time after a page, a worker ends with %v", err)
	}
	must[*groupsv1.Feed](t)(f.UpdateFeed(f.ctx, &groupsv1.UpdateFeedRequest{Feed: &groupsv1.Feed{Name: feed.GetName(), Language: "es"}}))
	if r := f.finish(id); r.GetState() != groupsv1.FeedRun_SUCCEEDED || strings.Join(asked, " ") != "1 1 2 3" {
		t.Errorf("the pages %v were asked for, and the run is %v", asked, r)
	}
}

// So does one of another Cairn, which still ends before a page that tells again of a group.
func TestFollowingGoesOn(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	f.formats[cairn.Name] = cairn.Format{}
	page := func(id, token string) string {
		return fmt.Sprintf(`{"changes":[{"removal":{"group":"groups/%s"}}],"nextSyncToken":%q,"hasMore":true}`, id, token)
	}
	pages := map[string]string{"": page("a", "t1"), "t1": page("b", "t2"), "t2": page("a", "t3")}
	uri := f.partner(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.WriteString(w, pages[r.URL.Query().Get("syncToken")]); err != nil {
			t.Error(err)
		}
	})
	feed := f.feedOf(cairn.Name, &groupsv1.Feed{Source: groupsv1.Feed_PULLED, Pull: &groupsv1.Feed_Pull{Uri: uri}})
	id := runID(t, must[*groupsv1.FeedRun](t)(f.PullFeed(f.ctx, &groupsv1.PullFeedRequest{Name: feed.GetName()})).GetName())
	for range 2 {
		if err := f.work(system(t.Context()), id, time.Time{}); !errors.Is(err, errMore) {
			t.Fatalf("out of time after a page, a worker ends with %v", err)
		}
	}
	if r := f.finish(id); r.GetState() != groupsv1.FeedRun_SUCCEEDED || f.count(`SELECT count(*) FROM feeds WHERE remote_etag = 't2'`) != 1 {
		t.Errorf("the run is %v, and the next does not begin with the page that tells again of a group", r)
	}
}
