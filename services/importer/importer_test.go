package importer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/groups"
	"cairn.care/services/importer"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/scheduling"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const ours = "organizations/0192d7a5-0000-7000-8000-00000000000a"

type fixture struct {
	*suitetest.Suite
	importer.Clients
	directory groupsv1.DirectoryServiceClient
	owner     context.Context
	t         *testing.T
}

func setup(t *testing.T) *fixture {
	t.Helper()
	s := suitetest.Start(t, []chassis.Component{partners.Component(), groups.Component(), membership.Component(), scheduling.Component()})
	return &fixture{
		Suite: s, t: t, directory: groupsv1.NewDirectoryServiceClient(s.Conn("groups")),
		Clients: importer.Clients{Groups: groupsv1.NewGroupsServiceClient(s.Conn("groups")), Scheduling: schedulingv1.NewSchedulingServiceClient(s.Conn("scheduling"))},
		owner:   suitetest.Client(t.Context(), ours, "groups.write", "groups.read", "schedule.write", "schedule.read"),
	}
}

func (f *fixture) options() importer.Options {
	return importer.Options{Organization: ours, Clock: f.Clock}
}

// run imports the feed and checks the counts.
func (f *fixture) run(feed []byte, o importer.Options, want importer.Counts) *importer.Report {
	f.t.Helper()
	r, err := importer.Run(f.owner, bytes.NewReader(feed), f.Clients, o)
	if err != nil {
		f.t.Fatal(err)
	}
	if r.Counts != want || len(r.RejectedRows) != want.Rejected {
		f.t.Errorf("imported %+v, rejected %+v; want %+v", r.Counts, r.RejectedRows, want)
	}
	return r
}

// state is what Cairn has of the feed, for comparison.
func (f *fixture) state() map[string]string {
	f.t.Helper()
	out := map[string]string{}
	for token := ""; ; {
		gs, err := f.Groups.ListGroups(f.owner, &groupsv1.ListGroupsRequest{PageSize: 200, PageToken: token})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, g := range gs.GetGroups() {
			out[g.GetName()] = g.GetExternalId() + " " + g.GetState().String() + " " + g.GetEtag()
		}
		if token = gs.GetNextPageToken(); token == "" {
			break
		}
	}
	for token := ""; ; {
		ss, err := f.Scheduling.ListSeries(f.owner, &schedulingv1.ListSeriesRequest{PageSize: 200, PageToken: token})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, s := range ss.GetSeries() {
			out[s.GetGroup()] += fmt.Sprintf(" | %s %s %s %v %s", s.GetRrule(), s.GetLocalStart()[10:], s.GetTimeZone(), s.GetDuration().AsDuration(), s.GetEtag())
		}
		if token = ss.GetNextPageToken(); token == "" {
			return out
		}
	}
}

// find returns the group of a slug.
func (f *fixture) find(slug string) *groupsv1.Group {
	f.t.Helper()
	gs, err := f.Groups.ListGroups(f.owner, &groupsv1.ListGroupsRequest{Filter: fmt.Sprintf("external_id = %q", slug)})
	if err != nil || len(gs.GetGroups()) != 1 {
		f.t.Fatalf("groups with slug %s: %v, %v; want one", slug, gs, err)
	}
	return gs.GetGroups()[0]
}

func sample(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../formats/meetingguide/testdata/sample.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestImport(t *testing.T) {
	t.Parallel()
	f, feed := setup(t), sample(t)
	dry := f.options()
	dry.DryRun = true
	f.run(feed, dry, importer.Counts{Created: 9, Rejected: 16})
	if n := len(f.state()); n != 0 {
		t.Errorf("a dry run made %d groups", n)
	}
	report := f.run(feed, f.options(), importer.Counts{Created: 9, Rejected: 16})
	b, err := json.Marshal(report)
	if want := `{"counts":{"created":9,"updated":0,"unchanged":0,"removed":0,"rejected":16,"held":0},"rejectedRows":[{"row":10,"field":"name","value":"","reason":"is missing"},`; err != nil || !strings.HasPrefix(string(b), want) {
		t.Errorf("the report reads %s (%v), want it to begin with %s", b, err, want)
	}
	after := f.state()
	f.run(feed, dry, importer.Counts{Unchanged: 9, Rejected: 16})
	f.run(feed, f.options(), importer.Counts{Unchanged: 9, Rejected: 16})
	if d := cmp.Diff(after, f.state()); d != "" {
		t.Errorf("importing again changed (-before +after):\n%s", d)
	}
	if g := f.find("closed-hall"); g.GetState() != groupsv1.Group_PAUSED {
		t.Errorf("the closed hall's group is %v, want PAUSED", g.GetState())
	}
	if g := f.find("4711"); g.GetState() != groupsv1.Group_PUBLISHED || !strings.Contains(after[g.GetName()], "FREQ=WEEKLY;BYDAY=MO,WE,FR T12:00:00 America/Chicago 1h0m0s") {
		t.Errorf("the weekday group is %s", after[g.GetName()])
	}

	// What the owner has said in Cairn stays; what the feed says anew is taken.
	g := f.find("sunday-circle")
	if _, err := f.Groups.UpdateGroup(f.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: g.GetName(), CancerTypes: []string{"breast"}, Capacity: &groupsv1.Group_Capacity{Seats: 12}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Groups.PauseGroup(f.owner, &groupsv1.PauseGroupRequest{Name: f.find("both-ways").GetName()}); err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(
		`"Sunday Circle"`, `"Sunday Ring"`, // a title
		`"day": [1, 3, "5"], "time": "12:00"`, `"day": [1], "time": "12:30"`, // times
		`"state": "KS", "types": ["TC"]}`, `"state": "KS", "types": []}`, // the hall opens
		`"slug": "west-texas", "day": 2, "time": "7:00"`, `"slug": "west-texas"`, // by appointment
	).Replace(string(feed))
	f.run([]byte(changed), dry, importer.Counts{Updated: 4, Unchanged: 5, Rejected: 16})
	f.run([]byte(changed), f.options(), importer.Counts{Updated: 4, Unchanged: 5, Rejected: 16})
	if g := f.find("sunday-circle"); g.GetTitle() != "Sunday Ring" || g.GetCancerTypes()[0] != "breast" || g.GetCapacity().GetSeats() != 12 {
		t.Errorf("got %v, want the feed's title and the owner's cancer type and seats", g)
	}
	if g := f.find("closed-hall"); g.GetState() != groupsv1.Group_PUBLISHED {
		t.Errorf("the hall opened, its group is %v", g.GetState())
	}
	if g := f.find("both-ways"); g.GetState() != groupsv1.Group_PAUSED {
		t.Errorf("the owner's pause became %v", g.GetState())
	}
	after = f.state()
	if s := after[f.find("west-texas").GetName()]; strings.Contains(s, "FREQ") {
		t.Errorf("by appointment now, but still: %s", s)
	}
	if s := after[f.find("4711").GetName()]; !strings.Contains(s, "BYDAY=MO T12:30:00") {
		t.Errorf("the weekday group is now %s", s)
	}
	f.run([]byte(changed), f.options(), importer.Counts{Unchanged: 9, Rejected: 16})
	if d := cmp.Diff(after, f.state()); d != "" {
		t.Errorf("importing again changed (-before +after):\n%s", d)
	}

	// Search finds it by place and time of week, once scheduling has told the sessions.
	f.eventually(func() error {
		resp, err := f.directory.SearchGroups(t.Context(), &groupsv1.SearchGroupsRequest{
			Query: "weekday", Times: []*typev1.TimeOfWeek{{Day: dayofweek.DayOfWeek_MONDAY, StartMinute: 12 * 60, EndMinute: 13 * 60}},
		})
		if err != nil || len(resp.GetResults()) != 1 {
			return fmt.Errorf("search by time finds %v, %w", resp, err)
		}
		return nil
	})
}

// eventually waits until check has nothing to say.
func (f *fixture) eventually(check func() error) {
	f.t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			f.t.Fatal(err)
		}
	}
}

// An import that is cut off is finished by the next one, and ends as if it had not been.
func TestImportIsResumed(t *testing.T) {
	t.Parallel()
	f, feed := setup(t), sample(t)
	cuts := 0
	for {
		var calls atomic.Int32
		clients, o := f.Clients, f.options()
		clients.Groups = cutGroups{f.Groups, &calls, int32(cuts % 4)}
		clients.Scheduling = cutScheduling{f.Scheduling, &calls, int32(cuts % 4)}
		o.Workers = 1
		if _, err := importer.Run(f.owner, bytes.NewReader(feed), clients, o); err == nil {
			break
		}
		if cuts++; cuts > 100 {
			t.Fatal("the import does not come to an end")
		}
	}
	if cuts < 8 {
		t.Errorf("the import was cut off %d times only", cuts)
	}
	if r, err := importer.Run(f.owner, bytes.NewReader(feed), f.Clients, f.options()); err != nil || r.Counts.Rejected != 16 {
		t.Fatalf("the last import: %+v, %v", r, err)
	}
	f.run(feed, f.options(), importer.Counts{Unchanged: 9, Rejected: 16})
	for name, s := range f.state() {
		if strings.Contains(s, "DRAFT") || strings.Count(s, "FREQ") > 1 {
			t.Errorf("%s is left as %s", name, s)
		}
	}
}

var errCut = status.Error(codes.Internal, "the line is cut")

// cutGroups lets some changes through and cuts the line after that.
type cutGroups struct {
	groupsv1.GroupsServiceClient
	calls *atomic.Int32
	after int32
}

func (c cutGroups) CreateGroup(ctx context.Context, in *groupsv1.CreateGroupRequest, o ...grpc.CallOption) (*groupsv1.Group, error) {
	if c.calls.Add(1) > c.after {
		return nil, errCut
	}
	return c.GroupsServiceClient.CreateGroup(ctx, in, o...)
}

func (c cutGroups) PublishGroup(ctx context.Context, in *groupsv1.PublishGroupRequest, o ...grpc.CallOption) (*groupsv1.Group, error) {
	if c.calls.Add(1) > c.after {
		return nil, errCut
	}
	return c.GroupsServiceClient.PublishGroup(ctx, in, o...)
}

type cutScheduling struct {
	schedulingv1.SchedulingServiceClient
	calls *atomic.Int32
	after int32
}

func (c cutScheduling) CreateSeries(ctx context.Context, in *schedulingv1.CreateSeriesRequest, o ...grpc.CallOption) (*schedulingv1.Series, error) {
	if c.calls.Add(1) > c.after {
		return nil, errCut
	}
	return c.SchedulingServiceClient.CreateSeries(ctx, in, o...)
}

// Nothing of a feed that cannot be read, and of one whose caller may not write, is taken.
func TestImportRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	if _, err := importer.Run(f.owner, strings.NewReader(`[{"name":"A"`), f.Clients, f.options()); err == nil || !strings.Contains(err.Error(), "ends in the middle") {
		t.Errorf("a feed that was cut off: %v", err)
	}
	reader := suitetest.Client(t.Context(), ours, "groups.read", "schedule.read")
	if _, err := importer.Run(reader, bytes.NewReader(sample(t)), f.Clients, f.options()); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without groups.write: %v, want PERMISSION_DENIED", err)
	}
	if n := len(f.state()); n != 0 {
		t.Errorf("%d groups were made", n)
	}
}

// The field's own feeds, where they are present: every row is taken or rejected with its reason, and only once.
func TestImportRealFeeds(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(sharedData(t), "meeting-guide", "*.test.json"))
	if err != nil || len(paths) == 0 {
		t.Skipf("no real feeds here (%v)", err)
	}
	f := setup(t)
	created := 0
	for _, path := range paths {
		feed, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var rows []json.RawMessage
		if err := json.Unmarshal(feed, &rows); err != nil {
			t.Fatal(err)
		}
		last := 0
		o := f.options()
		o.Source = strings.TrimSuffix(filepath.Base(path), ".test.json") // both count their meetings from 1
		o.Progress = func(done, total int) {
			if total != len(rows) || done <= last {
				t.Errorf("progress %d of %d after %d", done, total, last)
			}
			last = done
		}
		start := time.Now()
		r, err := importer.Run(f.owner, bytes.NewReader(feed), f.Clients, o)
		if err != nil {
			t.Fatal(err)
		}
		if c := r.Counts; c.Created+c.Rejected != len(rows) || c.Updated+c.Unchanged > 0 || last != len(rows) {
			t.Errorf("%s: %+v of %d rows, progress ended at %d", filepath.Base(path), c, len(rows), last)
		}
		created += r.Counts.Created
		t.Logf("%s: %+v in %v", filepath.Base(path), r.Counts, time.Since(start))
		again := f.options()
		again.Source = o.Source
		f.run(feed, again, importer.Counts{Unchanged: r.Counts.Created, Rejected: r.Counts.Rejected})
	}
	if n := len(f.state()); n != created {
		t.Errorf("%d groups, want %d", n, created)
	}
}

func sharedData(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
	}
	return filepath.Join(dir, "..", "shared", "data")
}
