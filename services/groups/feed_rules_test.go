package groups

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/outbound"
	"cairn.care/services/formats"
	"cairn.care/services/formats/cairn"
	"cairn.care/services/formats/csv"
)

func runID(t *testing.T, name string) uuid.UUID {
	t.Helper()
	_, id, _ := strings.Cut(name, "/")
	return uuid.MustParse(id)
}

// code is the code that a handler's error has for its caller.
func code(err error) codes.Code { return fault.From(err).Code() }

// A run that would remove too much changes nothing until a person approves it.
func TestHeldRuns(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 20}, before()...)
	was := f.groups()
	few := append(before()[:15], "new New")

	dry := f.finish(f.start(feed, true, few...))
	f.counted(dry, &groupsv1.FeedRun_Counts{Created: 1, Unchanged: 15, Held: 5})
	held := f.finish(f.start(feed, false, few...))
	if held.GetState() != groupsv1.FeedRun_HELD || held.GetCounts().GetHeld() != 5 || held.GetError() != "5 of the feed's 20 groups are absent: more than the 20 % that a run may remove by itself" {
		t.Errorf("the run is %v", held)
	}
	if d := cmp.Diff(was, f.groups()); d != "" {
		t.Errorf("a held run changed groups:\n%s", d)
	}
	// Newer content takes the place of what is held.
	f.take(feed, &groupsv1.FeedRun_Counts{Unchanged: 16, Removed: 4}, before()[:16]...)
	if r := f.run(runID(t, held.GetName())); r.GetState() != groupsv1.FeedRun_CANCELLED {
		t.Errorf("the held run is %v, want it cancelled", r)
	}
	held = f.finish(f.start(feed, false, before()[:2]...))
	if err := f.tidy(system(t.Context())); err != nil { // what is held stays
		t.Fatal(err)
	}
	approve := &groupsv1.ApproveFeedRunRequest{Name: held.GetName()}
	if r := must[*groupsv1.FeedRun](t)(f.ApproveFeedRun(f.ctx, approve)); r.GetState() != groupsv1.FeedRun_QUEUED {
		t.Errorf("approved, the run is %v", r)
	}
	f.counted(f.finish(runID(t, held.GetName())), &groupsv1.FeedRun_Counts{Unchanged: 2, Removed: 14})
	if _, err := f.ApproveFeedRun(f.ctx, approve); code(err) != codes.FailedPrecondition {
		t.Errorf("approved again: %v", err)
	}
	// Held and cancelled, nothing is left of it.
	held = f.finish(f.start(feed, false, "z Last"))
	if r := must[*groupsv1.FeedRun](t)(f.CancelFeedRun(f.ctx, &groupsv1.CancelFeedRunRequest{Name: held.GetName()})); r.GetState() != groupsv1.FeedRun_CANCELLED || r.GetEndTime() == nil {
		t.Errorf("cancelled, the run is %v", r)
	}
	if err := f.tidy(system(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := f.count(`SELECT count(*) FROM feed_chunks`) + f.count(`SELECT count(*) FROM feed_stage`); n > 0 {
		t.Errorf("%d pieces of its content are left", n)
	}
}

// A run that is cancelled stops between two batches; what is applied is whole, and the next run goes on from there.
func TestCancelledRuns(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	id := f.start(feed, false, before()...)
	if err := f.work(system(t.Context()), id, time.Time{}); err == nil {
		t.Fatal("the run ended with its first batch")
	}
	f.count(`WITH working AS (UPDATE river_job SET state = 'running' RETURNING 1) SELECT count(*) FROM working`)
	r := must[*groupsv1.FeedRun](t)(f.CancelFeedRun(f.ctx, &groupsv1.CancelFeedRunRequest{Name: f.run(id).GetName()}))
	if r.GetState() != groupsv1.FeedRun_RUNNING {
		t.Errorf("while it is worked on, the run is %v", r)
	}
	r = f.finish(id)
	if r.GetState() != groupsv1.FeedRun_CANCELLED || r.GetCounts().GetCreated() != 3 || len(f.groups()) != 3 {
		t.Errorf("the run ended as %v, with groups %v; want the three of its first batch", r, f.groups())
	}
	if _, err := f.CancelFeedRun(f.ctx, &groupsv1.CancelFeedRunRequest{Name: r.GetName()}); code(err) != codes.FailedPrecondition {
		t.Errorf("cancelled again: %v", err)
	}
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 17, Unchanged: 3}, before()...)
}

// What the owner says in Cairn stays, as long as the feed says nothing new of the same field.
func TestOwnersEdits(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 4}, "a One", "b Two join=https://zoom.test/1", "c Three", "d Four")
	edit := func(id string, g *groupsv1.Group, paths ...string) {
		t.Helper()
		g.Name = f.group(id).GetName()
		must[group](t)(f.owner.UpdateGroup(f.ctx, &groupsv1.UpdateGroupRequest{Group: g, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}}))
	}
	edit("a", &groupsv1.Group{Title: "Uno", CancerTypes: []string{"lung"}, Capacity: &groupsv1.Group_Capacity{Seats: 12}}, "title", "cancer_types", "capacity")
	must[group](t)(f.owner.DeleteGroup(f.ctx, &groupsv1.DeleteGroupRequest{Name: f.group("c").GetName()}))
	must[group](t)(f.owner.PauseGroup(f.ctx, &groupsv1.PauseGroupRequest{Name: f.group("d").GetName()}))

	f.take(feed, &groupsv1.FeedRun_Counts{Updated: 3, Unchanged: 1}, "a One summary=New", "b Two", "c Drei", "d Vier")
	if g := f.group("a"); g.GetTitle() != "Uno" || g.GetSummary() != "New" || g.GetCancerTypes()[0] != "lung" || g.GetCapacity().GetSeats() != 12 {
		t.Errorf("the edited group is %v", g)
	}
	if g := f.group("b"); g.GetOnline() != nil {
		t.Errorf("what the feed says no more is still there: %v", g.GetOnline())
	}
	if g := f.group("c"); g.GetDeleteTime() == nil || g.GetTitle() != "Three" {
		t.Errorf("the group that its owner deleted is %v", g)
	}
	if g := f.group("d"); g.GetState() != groupsv1.Group_PAUSED || g.GetTitle() != "Vier" {
		t.Errorf("the group that its owner paused is %v", g)
	}
	// The feed is authoritative for what it changes.
	f.take(feed, &groupsv1.FeedRun_Counts{Updated: 1, Unchanged: 3}, "a Ein summary=New", "b Two", "c Drei", "d Vier")
	if g := f.group("a"); g.GetTitle() != "Ein" {
		t.Errorf("the group is %v, want the feed's new title", g)
	}
	// What a feed says that Cairn has already changes nothing.
	edit("b", &groupsv1.Group{Title: "Deux"}, "title")
	f.take(feed, &groupsv1.FeedRun_Counts{Unchanged: 4}, "a Ein summary=New", "b Deux", "c Drei", "d Vier")
	// A feed made anew takes its groups up, those of the owner's deletion too.
	if _, err := f.DeleteFeed(f.ctx, &groupsv1.DeleteFeedRequest{Name: feed.GetName()}); err != nil {
		t.Fatal(err)
	}
	again := f.feed(&groupsv1.Feed{Mode: groupsv1.Feed_PARTIAL})
	f.take(again, &groupsv1.FeedRun_Counts{Updated: 1, Unchanged: 1}, "a Fin summary=New", "b Deux")
	if g := f.group("a"); g.GetTitle() != "Fin" || g.GetCancerTypes()[0] != "lung" {
		t.Errorf("taken up, the group is %v", g)
	}
}

// A request_id gives the same run again, and content that cannot be kept leaves nothing.
func TestPush(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	push := func(content []byte, request string, dry bool) (*runRow, error) {
		return f.push(f.ctx, &groupsv1.PushFeedRequest{Name: feed.GetName(), RequestId: request, DryRun: dry}, bytes.NewReader(content))
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte("a One\nb Two")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	request := uuid.NewString()
	run := must[*runRow](t)(push(zipped.Bytes(), request, false))
	f.counted(f.finish(run.ID), &groupsv1.FeedRun_Counts{Created: 2})
	if again := must[*runRow](t)(push(zipped.Bytes(), request, false)); again.ID != run.ID || again.State != int32(groupsv1.FeedRun_SUCCEEDED) {
		t.Errorf("the same request gives %v, want the same run", again.toProto())
	}
	_, err := push([]byte("other"), request, false)
	refused(t, fault.From(err).Err(), codes.InvalidArgument, "request_id")
	_, err = push(zipped.Bytes(), request, true)
	refused(t, fault.From(err).Err(), codes.InvalidArgument, "request_id")
	for name, content := range map[string][]byte{"nothing": {}, "half a gzip": zipped.Bytes()[:zipped.Len()-6], "no gzip": {0x1f, 0x8b, 0, 1, 2}} {
		if _, err := push(content, "", false); code(err) != codes.InvalidArgument {
			t.Errorf("%s is answered with %v", name, err)
		}
	}
	if n := f.count(`SELECT count(*) FROM feed_chunks`) + f.count(`SELECT count(*) FROM feed_runs`); n != 1 {
		t.Errorf("%d rows are left, want that of the one run", n)
	}
	if _, err := f.push(as(t.Context(), theirs), &groupsv1.PushFeedRequest{Name: feed.GetName()}, strings.NewReader("x X")); code(err) != codes.NotFound {
		t.Errorf("a stranger's push is answered with %v", err)
	}
	must[*groupsv1.Feed](t)(f.UpdateFeed(f.ctx, &groupsv1.UpdateFeedRequest{Feed: &groupsv1.Feed{Name: feed.GetName(), Paused: true}}))
	if _, err := push([]byte("x X"), "", false); code(err) != codes.FailedPrecondition {
		t.Errorf("a push to a paused feed is answered with %v", err)
	}
}

// zeros are as many zero bytes as somebody reads.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// However much comes, memory holds little of it, and what is too much is refused.
func TestMemory(t *testing.T) { //nolint:paralleltest // measures memory
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	var most atomic.Uint64
	watch := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most.Store(max(most.Load(), m.HeapAlloc))
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	idle := m.HeapAlloc
	_, err := f.push(f.ctx, &groupsv1.PushFeedRequest{Name: feed.GetName()}, &watched{zeros{}, watch, 0})
	if code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("endless content is answered with %v", err)
	}
	if used := most.Load() - min(idle, most.Load()); used > 24<<20 {
		t.Errorf("it takes %d MiB", used>>20)
	}
	if n := f.count(`SELECT count(*) FROM feed_chunks`); n > 0 {
		t.Errorf("%d pieces are left", n)
	}

	// The same id over and over.
	const copies = 50_000
	run := f.finish(f.start(feed, false, strings.Repeat("a One\n", copies)+"b Two"))
	f.counted(run, &groupsv1.FeedRun_Counts{Created: 2, Rejected: copies - 1})
}

// watched looks at memory now and then.
type watched struct {
	zeros
	look  func()
	reads int
}

func (w *watched) Read(b []byte) (int, error) {
	if w.reads++; w.reads%256 == 0 {
		w.look()
	}
	return w.zeros.Read(b)
}

// partner is a partner's server.
func (f *feeds) partner(handler http.HandlerFunc) string {
	f.t.Helper()
	server := httptest.NewTLSServer(handler)
	f.t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	f.fetch = outbound.New(outbound.Options{AllowPrivate: true, RootCAs: roots, Timeout: pullTimeout})
	return server.URL
}

func TestPull(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	content, status := "a One\nb Two", http.StatusOK
	asked := []string{}
	url := f.partner(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("If-None-Match"))
		tag := fmt.Sprintf(`"%x"`, content)
		w.Header().Set("ETag", tag)
		switch {
		case status != http.StatusOK:
			w.WriteHeader(status)
		case r.Header.Get("If-None-Match") == tag:
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			if _, err := z.Write([]byte(content)); err != nil {
				t.Error(err)
			}
			if err := z.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	feed := f.feed(&groupsv1.Feed{Source: groupsv1.Feed_PULLED, Pull: &groupsv1.Feed_Pull{Uri: url}})
	pull := func() *groupsv1.FeedRun {
		t.Helper()
		if err := f.pullDue(system(t.Context())); err != nil {
			t.Fatal(err)
		}
		list := must[*groupsv1.ListFeedRunsResponse](t)(f.ListFeedRuns(f.ctx, &groupsv1.ListFeedRunsRequest{PageSize: 1}))
		return f.finish(runID(t, list.GetFeedRuns()[0].GetName()))
	}
	next := func() time.Duration {
		t.Helper()
		h := must[*groupsv1.Feed](t)(f.GetFeed(f.ctx, &groupsv1.GetFeedRequest{Name: feed.GetName()})).GetHealth()
		return h.GetNextPullTime().AsTime().Sub(f.clock.Now())
	}
	f.counted(pull(), &groupsv1.FeedRun_Counts{Created: 2})
	if d := next(); d != defaultPullInterval {
		t.Errorf("the next pull is due in %v, want a day", d)
	}
	before := f.count(`SELECT count(*) FROM feed_runs`)
	if err := f.pullDue(system(t.Context())); err != nil || f.count(`SELECT count(*) FROM feed_runs`) != before {
		t.Errorf("a feed that is not due was pulled (%v)", err)
	}
	f.clock.Advance(defaultPullInterval)
	same := pull()
	if f.counted(same, &groupsv1.FeedRun_Counts{Unchanged: 2}); !same.GetNotModified() || same.GetProgress().GetContentBytes() != 0 {
		t.Errorf("the same content is %v", same)
	}
	for n, want := range []time.Duration{2 * defaultPullInterval, 4 * defaultPullInterval, 7 * defaultPullInterval, 7 * defaultPullInterval} {
		status = http.StatusServiceUnavailable
		f.clock.Advance(next())
		if r := pull(); r.GetState() != groupsv1.FeedRun_FAILED || r.GetError() != "the server of the feed's URL answers with status 503" || next() != want {
			t.Errorf("failure %d: %v, the next pull is due in %v, want %v", n+1, r, next(), want)
		}
	}
	status, content = http.StatusOK, "a One\nb Zwei"
	f.clock.Advance(next())
	f.counted(pull(), &groupsv1.FeedRun_Counts{Updated: 1, Unchanged: 1})
	if d := next(); d != defaultPullInterval {
		t.Errorf("after a success the next pull is due in %v, want a day", d)
	}
	// Other options read the same content otherwise: it is got again.
	must[*groupsv1.Feed](t)(f.UpdateFeed(f.ctx, &groupsv1.UpdateFeedRequest{Feed: &groupsv1.Feed{Name: feed.GetName(), Language: "es"}}))
	f.clock.Advance(defaultPullInterval)
	if r := pull(); r.GetNotModified() || asked[len(asked)-1] != "" || r.GetCounts().GetUnchanged() != 2 {
		t.Errorf("after a change of the feed the run is %v", r)
	}
}

// What a partner's server may answer instead of its content.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	piece := make([]byte, 1<<20)
	for range f.most>>20 + 1 {
		if _, err := z.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	url := f.partner(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bomb":
			_, err := w.Write(bomb.Bytes())
			if err != nil && r.Context().Err() == nil {
				t.Log(err) // the client has had enough
			}
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			if _, err := w.Write([]byte("a One\nb Two")); err != nil {
				t.Error(err)
			}
		case "/empty":
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/plain":
			http.Redirect(w, r, "http://"+r.Host+"/empty", http.StatusFound)
		}
	})
	take := func(path string) *groupsv1.FeedRun {
		t.Helper()
		feed := f.feed(&groupsv1.Feed{SourceSystem: strings.TrimPrefix(path, "/"), Source: groupsv1.Feed_PULLED, Pull: &groupsv1.Feed_Pull{Uri: url + path}})
		run := must[*groupsv1.FeedRun](t)(f.PullFeed(f.ctx, &groupsv1.PullFeedRequest{Name: feed.GetName()}))
		return f.finish(runID(t, run.GetName()))
	}
	const refused = "the feed's URL, or one that it redirects to, is not a public https address"
	for path, want := range map[string]string{
		"/bomb": "the content is larger than 64 MiB", "/cut": "the content was cut off", "/empty": "the content is empty", "/round": refused, "/plain": refused,
	} {
		if r := take(path); r.GetState() != groupsv1.FeedRun_FAILED || r.GetError() != want {
			t.Errorf("%s ends as %v, want %q", path, r, want)
		}
	}
	f.fetch = outbound.New(outbound.Options{}) // as it is where nobody develops
	if r := take("/private"); r.GetState() != groupsv1.FeedRun_FAILED || r.GetError() != refused {
		t.Errorf("a private address ends as %v", r)
	}
	if n := f.count(`SELECT count(*) FROM feed_chunks`); n > 0 {
		t.Errorf("%d pieces are left", n)
	}
}

// Two other Cairns can be followed for one organization, each under a name that tells that they are; other feeds have none such.
func TestPeersHaveNames(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	f.formats = map[string]formats.Format{cairn.Name: cairn.Format{}, "csv": csv.Format{}}
	create := func(format, source string) error {
		_, err := f.CreateFeed(f.ctx, &groupsv1.CreateFeedRequest{Feed: &groupsv1.Feed{Format: format, SourceSystem: source}})
		return err
	}
	for _, source := range []string{"cairn:one", "cairn:two"} {
		if err := create("cairn", source); err != nil {
			t.Errorf("a feed %q: %v", source, err)
		}
		if err := protovalidate.Validate(&groupsv1.Feed{Organization: "organizations/0192d7a5-0000-7000-8000-000000000001", Format: "cairn", SourceSystem: source}); err != nil {
			t.Errorf("a feed %q is not valid: %v", source, err)
		}
	}
	there := must[*groupsv1.ListFeedsResponse](t)(f.ListFeeds(f.ctx, &groupsv1.ListFeedsRequest{Filter: `source_system = "cairn:one"`})).GetFeeds()
	if len(there) != 1 {
		t.Fatalf("%d feeds, want one", len(there))
	}
	refused(t, create("cairn", "cairn:one"), codes.AlreadyExists, there[0].GetName())
	refused(t, create("cairn", "one"), codes.InvalidArgument, "feed.source_system")
	refused(t, create("csv", "cairn:three"), codes.InvalidArgument, "feed.source_system")
}
