package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/text/language"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/demo"
	"cairn.care/services/formats/cairn"
	"cairn.care/services/formats/csv"
)

// exitHeld is the exit code of an import that waits for a person.
const exitHeld = 3

const lookEvery = 200 * time.Millisecond // at a run that goes on

// importer takes a file into a feed, through the API.
type importer struct {
	*account
	feed     *groupsv1.Feed
	mode     string
	approve  string
	columns  map[string]string
	dryRun   bool
	asJSON   bool
	out, err io.Writer
}

func importCommand() *cobra.Command {
	i := &importer{feed: &groupsv1.Feed{}}
	cmd := &cobra.Command{
		Use:   "import FILE|URL|- --format hsds|meeting-guide|bmlt|csv|cairn --organization organizations/…",
		Short: "Take a partner's group directory in, and say what was taken and what was not",
		Long: `Takes a partner's group directory into Cairn: pushes it to the feed of the organization and
source, which it makes if there is none, and follows the run. Taking the same file again
changes nothing. A row that cannot be taken stops no other; the report names it, the field
and the reason. "-" reads the standard input.

With --format cairn the URL is that of another Cairn, whose own groups are taken as they are
now. --source tells several of them apart: it becomes cairn:NAME.

Spreadsheets (--format csv) need a column for the title. Columns are found by these headings
and by usual other names for them, in any order and case:
` + csvHeadings() + `
--column FIELD=HEADING says what stands under another heading; FIELD is one of these, or the
path of the group's field in the API, such as venue.address.locality.

--mode, --time-zone, --language and --column become part of the feed: they hold for later
imports, until others are given.

Exit codes: 0 the run succeeded, rows may have been rejected: count them with --json;
1 it failed, or no row could be taken; 3 it is held, since it would remove too many groups:
nothing has been changed, and the command that approves it is printed.`,
		Example: `  cairn import meetings.json --format meeting-guide --time-zone America/Chicago \
    --organization organizations/0192d7a5-1000-7000-8000-000000000001
  cairn import https://partner.example/services.json --format hsds --dry-run --json \
    --organization organizations/0192d7a5-1000-7000-8000-000000000001 \
    --server https://cairn.example --client-id puentes-directory --key puentes.private.jwk`,
		RunE: func(cmd *cobra.Command, args []string) error {
			i.out, i.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if i.approve != "" {
				if len(args) > 0 {
					return fmt.Errorf("--approve takes no file: the run has its content")
				}
				return i.approved(cmd.Context())
			}
			if err := oneFile(cmd, args); err != nil {
				return err
			}
			return i.run(cmd.Context(), args[0])
		},
	}
	i.account = accountFlags(cmd, demo.App, "groups.read groups.write")
	f := cmd.Flags()
	f.StringVar(&i.feed.Format, "format", "", "how the file is written: hsds, meeting-guide, bmlt, csv or cairn")
	f.StringVar(&i.feed.Organization, "organization", "", "whose groups these are, organizations/{uuid}")
	f.StringVar(&i.feed.SourceSystem, "source", "", "tells several feeds of one organization apart (default: the format)")
	f.StringVar(&i.feed.TimeZone, "time-zone", "", "IANA zone of rows that do not say theirs (default: guessed from the place)")
	f.StringVar(&i.feed.Language, "language", "", "BCP 47 language of rows that do not say theirs (default en)")
	f.StringToStringVar(&i.columns, "column", nil, "for csv: field=heading, as often as needed (default: found by their headings)")
	f.StringVar(&i.mode, "mode", "", "whole: what is absent is removed, or partial: it stays; kept for later imports (default as the feed says, whole at first)")
	f.BoolVar(&i.dryRun, "dry-run", false, "report what would change, and change nothing")
	f.BoolVar(&i.asJSON, "json", false, "print the report as JSON")
	f.StringVar(&i.approve, "approve", "", "let a held run go on, feedRuns/{uuid}, in place of a file")
	return cmd
}

// run takes a file in.
func (i *importer) run(ctx context.Context, from string) (err error) {
	if i.feed.GetFormat() == "" || i.feed.GetOrganization() == "" {
		return fmt.Errorf("--format and --organization are needed")
	}
	switch i.mode {
	case "":
	case "whole":
		i.feed.Mode = groupsv1.Feed_WHOLE
	case "partial":
		i.feed.Mode = groupsv1.Feed_PARTIAL
	default:
		return fmt.Errorf("--mode %q is not known: whole or partial", i.mode)
	}
	if i.feed.Columns = csv.FieldsOf(i.columns); i.feed.GetLanguage() != "" {
		if _, err := language.Parse(i.feed.GetLanguage()); err != nil {
			return fmt.Errorf("--language %q is no language tag: write a code such as en, es or pt-BR", i.feed.GetLanguage())
		}
	}
	if err := i.open(); err != nil {
		return err
	}
	open := openContent
	if i.feed.GetFormat() == cairn.Name {
		open, i.feed.SourceSystem = openPeer, peerSource(i.feed.GetSourceSystem())
	}
	content, err := open(ctx, from)
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // read only
	feed, made, err := i.ensureFeed(ctx)
	if err != nil {
		return err
	}
	if made && i.dryRun { // a rehearsal leaves nothing
		defer func() {
			if gone := i.call(context.WithoutCancel(ctx), http.MethodDelete, "/v1/"+feed.GetName(), nil, nil); err == nil {
				err = gone
			}
		}()
	}
	run := &groupsv1.FeedRun{}
	if err := i.call(ctx, http.MethodPost, fmt.Sprintf("/v1/%s:push?dryRun=%t", feed.GetName(), i.dryRun), io.Reader(content), run); err != nil {
		return err
	}
	return i.follow(ctx, run)
}

// approved approves a held run and follows it.
func (i *importer) approved(ctx context.Context) error {
	if err := i.open(); err != nil {
		return err
	}
	run := &groupsv1.FeedRun{}
	if err := i.call(ctx, http.MethodPost, "/v1/"+i.approve+":approve", &groupsv1.ApproveFeedRunRequest{}, run); err != nil {
		return err
	}
	return i.follow(ctx, run)
}

// openContent opens a file, or what a URL gives; "-" is the standard input.
func openContent(ctx context.Context, from string) (io.ReadCloser, error) {
	if from == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	if u, err := url.Parse(from); err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		f, err := os.Open(from)
		if err != nil {
			return nil, fmt.Errorf("feed: %w", err)
		}
		return f, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("feed: %s answers %s", from, resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// ensureFeed finds the feed of organization and source, or makes it, and brings it up to date with the flags.
func (i *importer) ensureFeed(ctx context.Context) (feed *groupsv1.Feed, made bool, err error) {
	source := i.feed.GetSourceSystem()
	if source == "" {
		source = i.feed.GetFormat()
	}
	found := &groupsv1.ListFeedsResponse{}
	filter := fmt.Sprintf("organization = %q AND source_system = %q", i.feed.GetOrganization(), source)
	if err := i.call(ctx, http.MethodGet, "/v1/feeds?filter="+url.QueryEscape(filter), nil, found); err != nil {
		return nil, false, err
	}
	if len(found.GetFeeds()) == 0 {
		feed = &groupsv1.Feed{}
		return feed, true, i.call(ctx, http.MethodPost, "/v1/feeds", i.feed, feed)
	}
	feed = found.GetFeeds()[0]
	if feed.GetFormat() != i.feed.GetFormat() {
		return nil, false, fmt.Errorf("the organization's feed %q is of format %s, not %s: give this one a name of its own with --source, or if that was a mistake, remove it by DELETE /v1/%s",
			source, feed.GetFormat(), i.feed.GetFormat(), feed.GetName())
	}
	change, mask := &groupsv1.Feed{}, &fieldmaskpb.FieldMask{}
	if z := i.feed.GetTimeZone(); z != "" && z != feed.GetTimeZone() {
		change.TimeZone, mask.Paths = z, append(mask.Paths, "time_zone")
	}
	if l := i.feed.GetLanguage(); l != "" && l != feed.GetLanguage() {
		change.Language, mask.Paths = l, append(mask.Paths, "language")
	}
	if m := i.feed.GetMode(); m != 0 && m != feed.GetMode() {
		change.Mode, mask.Paths = m, append(mask.Paths, "mode")
	}
	if c := i.feed.GetColumns(); len(c) > 0 && fmt.Sprint(c) != fmt.Sprint(feed.GetColumns()) {
		change.Columns, mask.Paths = c, append(mask.Paths, "columns")
	}
	if len(mask.GetPaths()) == 0 {
		return feed, false, nil
	}
	if i.dryRun {
		return nil, false, fmt.Errorf("the feed is read otherwise: %s would change; leave the flags out, or set them with an import that is no rehearsal",
			strings.Join(mask.GetPaths(), ", "))
	}
	fmt.Fprintf(i.err, "From now on the feed is read with another %s, until an import says otherwise.\n", strings.Join(mask.GetPaths(), ", ")) //nolint:errcheck // as for the bar
	path := "/v1/" + feed.GetName() + "?updateMask=" + url.QueryEscape(strings.Join(mask.GetPaths(), ","))
	return feed, false, i.call(ctx, http.MethodPatch, path, change, feed)
}

// follow watches the run until it ends or is held, and prints the report.
func (i *importer) follow(ctx context.Context, run *groupsv1.FeedRun) error {
	show := func(*groupsv1.FeedRun) {}
	if !i.asJSON && isTerminal(os.Stderr) {
		show = bar(i.err)
	}
	for run.GetState() == groupsv1.FeedRun_QUEUED || run.GetState() == groupsv1.FeedRun_RUNNING {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the run goes on without you; look at it with GET /v1/%s", run.GetName())
		case <-time.After(lookEvery):
		}
		next := &groupsv1.FeedRun{}
		if err := i.call(ctx, http.MethodGet, "/v1/"+run.GetName(), nil, next); err != nil {
			return err
		}
		run = next
		show(run)
	}
	rows, err := i.rejected(ctx, run)
	if err != nil {
		return err
	}
	if err := i.print(run, rows); err != nil {
		return err
	}
	switch c := run.GetCounts(); run.GetState() {
	case groupsv1.FeedRun_SUCCEEDED:
		if c.GetRejected() > 0 && c.GetCreated()+c.GetUpdated()+c.GetUnchanged() == 0 {
			return fmt.Errorf("no row could be taken")
		}
		return nil
	case groupsv1.FeedRun_HELD:
		return &exitError{exitHeld, fmt.Errorf("held: %s. Nothing has been changed. To let it go on: cairn import --approve %s%s", run.GetError(), run.GetName(), i.again())}
	}
	return fmt.Errorf("the run is %s: %s", run.GetState(), run.GetError())
}

// again are the flags that say who calls.
func (i *importer) again() string {
	if i.clientID != "" {
		return fmt.Sprintf(" --server %s --client-id %s --key %s", i.server, i.clientID, i.key)
	}
	return " --client " + i.demo
}

// rejected reads all rejected rows of a run.
func (i *importer) rejected(ctx context.Context, run *groupsv1.FeedRun) ([]*groupsv1.RejectedRow, error) {
	var all []*groupsv1.RejectedRow
	for token := ""; ; {
		page := &groupsv1.ListRejectedRowsResponse{}
		path := "/v1/" + run.GetName() + "/rejectedRows?pageSize=1000&pageToken=" + url.QueryEscape(token)
		if err := i.call(ctx, http.MethodGet, path, nil, page); err != nil {
			return nil, err
		}
		all = append(all, page.GetRejectedRows()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

// report is what --json prints.
type report struct {
	Counts struct {
		Created   int64 `json:"created"`
		Updated   int64 `json:"updated"`
		Unchanged int64 `json:"unchanged"`
		Removed   int64 `json:"removed"`
		Rejected  int64 `json:"rejected"`
		Held      int64 `json:"held"`
	} `json:"counts"`
	RejectedRows []rejectedRow `json:"rejectedRows"`
}

type rejectedRow struct {
	Row    int64  `json:"row"`
	Field  string `json:"field"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

func (i *importer) print(run *groupsv1.FeedRun, rows []*groupsv1.RejectedRow) error {
	c := run.GetCounts()
	if i.asJSON {
		r := report{RejectedRows: []rejectedRow{}}
		r.Counts.Created, r.Counts.Updated, r.Counts.Unchanged = c.GetCreated(), c.GetUpdated(), c.GetUnchanged()
		r.Counts.Removed, r.Counts.Rejected, r.Counts.Held = c.GetRemoved(), c.GetRejected(), c.GetHeld()
		for _, x := range rows {
			if x.GetEffect() == groupsv1.RejectedRow_REJECTED {
				r.RejectedRows = append(r.RejectedRows, rejectedRow{x.GetRow(), x.GetField(), x.GetValue(), x.GetReason()})
			}
		}
		enc := json.NewEncoder(i.out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	var b strings.Builder // what is written to it cannot fail
	if len(rows) > 0 {
		fmt.Fprintln(&b, "ROW\tFIELD\tVALUE\tREASON")
	}
	for _, x := range rows {
		fmt.Fprintf(&b, "%d\t%s\t%s\t%s\n", x.GetRow(), oneLine(x.GetField()), short(oneLine(x.GetValue())), oneLine(x.GetReason()))
	}
	verb := "Taken"
	if i.dryRun {
		verb = "Would take"
	}
	fmt.Fprintf(&b, "%s: %d created, %d updated, %d unchanged, %d removed, %d rejected", verb, c.GetCreated(), c.GetUpdated(), c.GetUnchanged(), c.GetRemoved(), c.GetRejected())
	if n := c.GetHeld(); n > 0 {
		fmt.Fprintf(&b, ", %d held", n)
	}
	if n := c.GetUnpublished(); n > 0 {
		fmt.Fprintf(&b, "; %d are drafts, not fit to be published", n)
	}
	fmt.Fprintln(&b)
	tw := tabwriter.NewWriter(i.out, 0, 4, 2, ' ', 0)
	if _, err := io.WriteString(tw, b.String()); err != nil {
		return err
	}
	return tw.Flush()
}

// short cuts a value so that a table of them can be read; --json has it longer.
func short(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// csvHeadings are the headings of spreadsheets, in lines.
func csvHeadings() string {
	var b strings.Builder
	width := 0
	for _, h := range csv.Headings() {
		if width += len(h) + 2; width > 88 {
			b.WriteString("\n")
			width = len(h) + 2
		}
		if width == len(h)+2 {
			b.WriteString("  " + h)
		} else {
			b.WriteString(", " + h)
		}
	}
	return b.String()
}

// oneLine keeps a partner's text from moving the cursor or the columns of the table.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// bar returns a function that draws on one line how far a run is: its first half is read, the second applied.
func bar(w io.Writer) func(*groupsv1.FeedRun) {
	const width = 30
	return func(r *groupsv1.FeedRun) {
		p := r.GetProgress()
		read, total, applied, all := p.GetBytesRead(), max(1, p.GetContentBytes()), p.GetRowsApplied(), p.GetRowsToApply()
		full := int64(width) / 2 * min(read, total) / total
		if read >= total && all > 0 {
			full += int64(width) / 2 * applied / all
		}
		ended := r.GetEndTime() != nil
		if ended {
			full = width
		}
		fmt.Fprintf(w, "\r[%-*s] %d rows read, %d of %d applied", width, strings.Repeat("#", int(full)), p.GetRowsRead(), applied, all) //nolint:errcheck // a bar that cannot be drawn is no reason to stop
		if ended {
			fmt.Fprintln(w) //nolint:errcheck // as above
		}
	}
}
