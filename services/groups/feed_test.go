package groups

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/jobs"
	"cairn.care/services/chassis/outbound"
	"cairn.care/services/formats"
	"cairn.care/services/internal/pgtest"
)

// lines is a format of lines "id title word…", for the engine's tests: the words say what is special about the group.
type lines struct {
	entry func(row int) // called for each record that is decoded
}

func (lines) Name() string { return "lines" }

func (lines) Records(feed io.Reader, _ formats.Options) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		in := bufio.NewScanner(feed)
		row := 0
		for in.Scan() {
			row++
			if in.Text() == "end" {
				yield(formats.Record{}, fmt.Errorf("the feed ends in the middle, after row %d", row-1))
				return
			}
			id, _, _ := strings.Cut(in.Text(), " ")
			r := formats.Record{Row: row, ID: id, Raw: in.Bytes()}
			if id == "-" {
				r.ID, r.Rejected = "", formats.Reject(row, "id", id, "is no id")
			}
			if !yield(r, nil) {
				return
			}
		}
		if err := in.Err(); err != nil {
			yield(formats.Record{}, err)
		}
	}
}

func (l lines) Entry(r formats.Record, _ formats.Options) (*formats.Entry, []formats.Rejected) {
	if l.entry != nil {
		l.entry(r.Row)
	}
	words := strings.Fields(string(r.Raw))
	g := listing(strings.ReplaceAll(words[1], "_", " "))
	g.SourceSystem, g.ExternalId, g.Capacity = "", "", nil
	e := &formats.Entry{Group: g}
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "closed":
			e.Closed = true
		case "therapy":
			g.Kind = groupsv1.Group_GROUP_THERAPY
		case "silent":
			g.Summary = ""
		case "language":
			g.Languages = []string{value}
		case "summary":
			g.Summary = value
		case "seats":
			g.Capacity = &groupsv1.Group_Capacity{Seats: int32(len(value))}
		case "join":
			g.Online = &groupsv1.Group_Online{Platform: "Zoom", JoinUri: value}
		case "bad":
			return nil, []formats.Rejected{*formats.Reject(r.Row, "bad", value, "is bad")}
		}
	}
	return e, nil
}

// feeds is the engine over a database of the test's own; its jobs are done by hand.
type feeds struct {
	*feedServer
	owner  *server
	clock  *clock.Fake
	format *lines
	ctx    context.Context // of the feed's organization
	t      *testing.T
}

func setupFeeds(t *testing.T) *feeds {
	t.Helper()
	valid, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.New(t, "groups", migrations)
	c := clock.NewFake(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := &feedServer{
		db: db, clock: c, log: log, valid: valid, formats: map[string]formats.Format{}, atOnce: 3, most: 64 << 20,
		fetch: outbound.New(outbound.Options{}),
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &runWorker{server: s})
	client, err := jobs.New(jobs.Config{Service: "groups", DB: db, Workers: workers, Log: log}) // never run: it inserts
	if err != nil {
		t.Fatal(err)
	}
	s.jobs = func() *river.Client[pgx.Tx] { return client }
	f := &feeds{feedServer: s, owner: &server{db: db, clock: c}, clock: c, format: &lines{}, ctx: as(t.Context(), ours), t: t}
	s.formats["lines"] = f.format
	return f
}

// feed adds a feed of lines.
func (f *feeds) feed(in *groupsv1.Feed) *groupsv1.Feed {
	f.t.Helper()
	return f.feedOf("lines", in)
}

func (f *feeds) feedOf(format string, in *groupsv1.Feed) *groupsv1.Feed {
	f.t.Helper()
	in.Format = format
	if err := f.checkFeed(in); err != nil {
		f.t.Fatal(err)
	}
	now := f.clock.Now()
	r := &feedRow{ID: aip.NewID(), OrgID: uuid.MustParse(ours[len("organizations/"):]), Revision: 1, CreateTime: now, UpdateTime: now}
	if in.GetSource() == groupsv1.Feed_PULLED {
		r.NextPullTime = &now
	}
	b := f.db.Batch(f.ctx)
	if err := queueWriteFeed(b, r, in); err != nil {
		f.t.Fatal(err)
	}
	if err := f.db.Send(f.ctx, b); err != nil {
		f.t.Fatal(err)
	}
	out, err := r.toProto()
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// start pushes content and returns the run, which nobody works on yet.
func (f *feeds) start(feed *groupsv1.Feed, dryRun bool, content ...string) uuid.UUID {
	f.t.Helper()
	run, err := f.push(f.ctx, &groupsv1.PushFeedRequest{Name: feed.GetName(), DryRun: dryRun}, strings.NewReader(strings.Join(content, "\n")))
	if err != nil {
		f.t.Fatal(err)
	}
	return run.ID
}

// later is a time that does not come in a test.
func later() time.Time { return time.Now().Add(time.Hour) }

// finish works on the run until it ends.
func (f *feeds) finish(id uuid.UUID) *groupsv1.FeedRun {
	f.t.Helper()
	if err := f.work(system(f.t.Context()), id, later()); err != nil {
		f.t.Fatal(err)
	}
	return f.run(id)
}

func (f *feeds) run(id uuid.UUID) *groupsv1.FeedRun {
	f.t.Helper()
	return must[*groupsv1.FeedRun](f.t)(f.GetFeedRun(f.ctx, &groupsv1.GetFeedRunRequest{Name: aip.Name("feedRuns", id)}))
}

// take pushes content and works on its run, and checks the counts.
func (f *feeds) take(feed *groupsv1.Feed, want *groupsv1.FeedRun_Counts, content ...string) *groupsv1.FeedRun {
	f.t.Helper()
	run := f.finish(f.start(feed, false, content...))
	f.counted(run, want)
	return run
}

func (f *feeds) counted(run *groupsv1.FeedRun, want *groupsv1.FeedRun_Counts) {
	f.t.Helper()
	if d := cmp.Diff(countsOf(want), countsOf(run.GetCounts())); d != "" {
		f.t.Errorf("the run %v has counts (-want +got):\n%s", run, d)
	}
}

func countsOf(c *groupsv1.FeedRun_Counts) string {
	return fmt.Sprintf("%d created, %d updated, %d unchanged, %d removed, %d rejected, %d held, %d unpublished",
		c.GetCreated(), c.GetUpdated(), c.GetUnchanged(), c.GetRemoved(), c.GetRejected(), c.GetHeld(), c.GetUnpublished())
}

// groups is what the organization has, by external id: title, state, seats, and what differs between runs is left out.
func (f *feeds) groups() map[string]string {
	f.t.Helper()
	out := map[string]string{}
	for token := ""; ; {
		list := must[*groupsv1.ListGroupsResponse](f.t)(f.owner.ListGroups(f.ctx, &groupsv1.ListGroupsRequest{ShowDeleted: true, PageSize: 200, PageToken: token}))
		for _, g := range list.GetGroups() {
			s := g.GetTitle() + " " + g.GetState().String() + " " + g.GetEtag()
			if g.GetDeleteTime() != nil {
				s += " deleted"
			}
			out[g.GetExternalId()] = s
		}
		if token = list.GetNextPageToken(); token == "" {
			return out
		}
	}
}

// group returns the group with the external id.
func (f *feeds) group(id string) *groupsv1.Group {
	f.t.Helper()
	list := must[*groupsv1.ListGroupsResponse](f.t)(f.owner.ListGroups(f.ctx, &groupsv1.ListGroupsRequest{ShowDeleted: true, Filter: fmt.Sprintf("external_id = %q", id)}))
	if len(list.GetGroups()) != 1 {
		f.t.Fatalf("%d groups have the id %s, want one", len(list.GetGroups()), id)
	}
	return list.GetGroups()[0]
}

// rejected lists the rejected rows of a run.
func (f *feeds) rejected(run *groupsv1.FeedRun) []string {
	f.t.Helper()
	var out []string
	for token := ""; ; {
		list := must[*groupsv1.ListRejectedRowsResponse](f.t)(f.ListRejectedRows(f.ctx, &groupsv1.ListRejectedRowsRequest{FeedRun: run.GetName(), PageSize: 2, PageToken: token}))
		for _, r := range list.GetRejectedRows() {
			out = append(out, fmt.Sprintf("%d %s %s %q %s", r.GetRow(), r.GetEffect(), r.GetField(), r.GetValue(), r.GetReason()))
		}
		if token = list.GetNextPageToken(); token == "" {
			return out
		}
	}
}

// count counts rows, as the system.
func (f *feeds) count(sql string, args ...any) (n int) {
	f.t.Helper()
	b := f.db.Batch(system(f.t.Context()))
	b.Queue(sql, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	if err := f.db.Send(system(f.t.Context()), b); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func TestTake(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	content := []string{
		"a One", "b Two", "c Three closed", "- Nameless", "d Four bad=thing", "a Again", "e Five therapy", "f Six language=klingon", "g Seven silent",
		"h Eight", "i Nine", "h Eight", "j Ten",
	}
	counts := &groupsv1.FeedRun_Counts{Created: 8, Rejected: 5, Unpublished: 2}
	dry := f.finish(f.start(feed, true, content...))
	f.counted(dry, counts)
	if n := len(f.groups()); n != 0 || dry.GetState() != groupsv1.FeedRun_SUCCEEDED {
		t.Errorf("the rehearsal made %d groups and is %v", n, dry)
	}
	run := f.take(feed, counts, content...)
	if p := run.GetProgress(); run.GetState() != groupsv1.FeedRun_SUCCEEDED || p.GetRowsRead() != 13 || p.GetBytesRead() != p.GetContentBytes() || p.GetRowsApplied() != 10 || p.GetRowsToApply() != 10 {
		t.Errorf("the run ended as %v", run)
	}
	report := f.rejected(run)
	if d := cmp.Diff(f.rejected(dry), report); d != "" {
		t.Errorf("the rehearsal reports otherwise (-rehearsal +run):\n%s", d)
	}
	want := []string{
		`4 REJECTED id "-" is no id`,
		`5 REJECTED bad "thing" is bad`,
		`6 REJECTED  "a" its id stands in an earlier row already; that one is taken`,
		`7 UNPUBLISHED  "Five" stays a draft: group therapy is led by a professional: set facilitation to PROFESSIONALLY_LED or CO_FACILITATED`,
		`7 UNPUBLISHED  "Five" stays a draft: group therapy is confidential by law: set confidentiality to LEGALLY_MANDATED`,
		`7 UNPUBLISHED  "Five" stays a draft: group therapy needs a lead whose licence is verified and has not expired: add one, or verify with :verifyLicence`,
		`8 REJECTED languages[0] "klingon" "klingon" is no BCP 47 language, e.g. "es" or "pt-BR"`,
		`9 UNPUBLISHED  "Seven" stays a draft: say in summary or description what the group is`,
		`12 REJECTED  "h" its id stands in an earlier row already; that one is taken`,
	}
	if d := cmp.Diff(want, report); d != "" {
		t.Errorf("the report (-want +got):\n%s", d)
	}
	groups := map[string]string{
		"a": `One PUBLISHED "1"`, "b": `Two PUBLISHED "1"`, "c": `Three PAUSED "1"`, "e": `Five DRAFT "1"`, "g": `Seven DRAFT "1"`,
		"h": `Eight PUBLISHED "1"`, "i": `Nine PUBLISHED "1"`, "j": `Ten PUBLISHED "1"`,
	}
	if d := cmp.Diff(groups, f.groups()); d != "" {
		t.Errorf("groups (-want +got):\n%s", d)
	}
	if n := f.count(`SELECT count(*) FROM feed_stage`) + f.count(`SELECT count(*) FROM feed_chunks`); n > 0 {
		t.Errorf("%d rows of the runs' content are left", n)
	}
	if n := f.count(`SELECT count(*) FROM outbox WHERE type = 'care.cairn.groups.group.synced.v1' AND subject = $1`, run.GetName()); n != 4 {
		t.Errorf("%d events tell of the run, want one a batch: 4", n)
	}

	// The same again changes nothing.
	f.take(feed, &groupsv1.FeedRun_Counts{Unchanged: 8, Rejected: 5}, content...)
	if d := cmp.Diff(groups, f.groups()); d != "" {
		t.Errorf("the same content again changed groups (-want +got):\n%s", d)
	}
	// What is new, changed and absent is found; what is back is undeleted.
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 1, Updated: 2, Unchanged: 5, Removed: 1}, "a Eins", "b Two", "c Three", "e Five therapy", "g Seven silent", "h Eight", "i Nine", "k Elf")
	groups["a"], groups["c"], groups["j"], groups["k"] = `Eins PUBLISHED "2"`, `Three PUBLISHED "2"`, `Ten PUBLISHED "2" deleted`, `Elf PUBLISHED "1"`
	if d := cmp.Diff(groups, f.groups()); d != "" {
		t.Errorf("groups (-want +got):\n%s", d)
	}
	f.take(feed, &groupsv1.FeedRun_Counts{Updated: 2, Unchanged: 7}, "a Eins", "b Two", "c Three", "e Five therapy", "g Seven", "h Eight", "i Nine", "k Elf", "j Ten")
	groups["g"], groups["j"] = `Seven PUBLISHED "2"`, `Ten PUBLISHED "3"`
	if d := cmp.Diff(groups, f.groups()); d != "" {
		t.Errorf("groups (-want +got):\n%s", d)
	}
}

func TestContentThatCannotBeRead(t *testing.T) {
	t.Parallel()
	f := setupFeeds(t)
	feed := f.feed(&groupsv1.Feed{})
	run := f.finish(f.start(feed, false, "a One", "b Two", "c Three", "d Four", "end"))
	if run.GetState() != groupsv1.FeedRun_FAILED || run.GetError() != "the feed ends in the middle, after row 4" || len(f.groups()) != 0 {
		t.Errorf("the run is %v, and there are %v", run, f.groups())
	}
	h := must[*groupsv1.Feed](t)(f.GetFeed(f.ctx, &groupsv1.GetFeedRequest{Name: feed.GetName()})).GetHealth()
	if h.GetConsecutiveFailures() != 1 || h.GetLastError() != run.GetError() || h.GetLastRun() != run.GetName() || h.GetLastSuccessTime() != nil {
		t.Errorf("health is %v", h)
	}
	f.take(feed, &groupsv1.FeedRun_Counts{Created: 1}, "a One")
	if h = must[*groupsv1.Feed](t)(f.GetFeed(f.ctx, &groupsv1.GetFeedRequest{Name: feed.GetName()})).GetHealth(); h.GetConsecutiveFailures() != 0 || h.GetLastError() != "" || h.GetGroups() != 1 {
		t.Errorf("health is %v", h)
	}
}
