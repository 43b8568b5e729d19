// Package importer brings a partner's feed into Cairn through its own API: groups into the groups service, their weekly
// times into scheduling. Importing the same feed again changes nothing.
package importer

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/formats/meetingguide"
)

// defaultWorkers is how many groups are brought in at once.
const defaultWorkers = 8

// Clients are the services that take what the feed says. The context of [Run] says who calls them: a client of the
// organization or of the platform with groups.write and schedule.write.
type Clients struct {
	Groups     groupsv1.GroupsServiceClient
	Scheduling schedulingv1.SchedulingServiceClient
}

// Options of an import.
type Options struct {
	Organization string // whose groups these are, "organizations/{uuid}"
	TimeZone     string // IANA zone of rows that do not tell theirs
	Language     string // BCP 47 language of rows that do not tell theirs; "en" if empty
	Source       string // the groups' source_system, "meeting-guide" if empty; an organization with two feeds tells them apart
	DryRun       bool   // tell what would change, change nothing
	Workers      int    // groups at once; 8 if 0
	Clock        clock.Clock

	// Progress, if set, is told how many rows are done, from several goroutines but never at once.
	Progress func(done, total int)
}

// Report is what an import did, or with DryRun would do. The rows of the feed are created + updated + unchanged + rejected.
type Report struct {
	Counts       Counts                  `json:"counts"`
	RejectedRows []meetingguide.Rejected `json:"rejectedRows"` // by row
}

// Counts of rows.
type Counts struct {
	Created   int `json:"created"`
	Updated   int `json:"updated"` // the group or its times
	Unchanged int `json:"unchanged"`
	Removed   int `json:"removed"` // always 0: a group that is no longer in the feed stays
	Rejected  int `json:"rejected"`
	Held      int `json:"held"` // always 0: nothing waits for a person
}

// Run imports a Meeting Guide feed. A row that is bad, or that a service refuses, is rejected and stops no other; an
// error tells why the rest was not tried, and what the report counts has happened.
func Run(ctx context.Context, feed io.Reader, c Clients, o Options) (*Report, error) {
	report := &Report{RejectedRows: []meetingguide.Rejected{}}
	parsed, err := meetingguide.Parse(feed, meetingguide.Options{TimeZone: o.TimeZone, Language: o.Language})
	if err != nil {
		return report, err
	}
	report.RejectedRows = append(report.RejectedRows, parsed.Rejected...)
	report.Counts.Rejected = len(parsed.Rejected)

	o.Source = cmp.Or(o.Source, meetingguide.SourceSystem)
	i := &importer{Clients: c, Options: o}
	if err := i.load(ctx); err != nil {
		return report, err
	}
	var mu sync.Mutex
	done := len(parsed.Rejected)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(o.Workers, defaultWorkers))
	for _, e := range parsed.Entries {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			result, err := i.entry(ctx, &e)
			rejected, err := asRejected(&e, err)
			if err != nil {
				return fmt.Errorf("row %d, %q: %w", e.Row, e.Group.GetTitle(), err)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case rejected != nil:
				report.Counts.Rejected++
				report.RejectedRows = append(report.RejectedRows, *rejected)
			case result == created:
				report.Counts.Created++
			case result == updated:
				report.Counts.Updated++
			default:
				report.Counts.Unchanged++
			}
			if done++; o.Progress != nil {
				o.Progress(done, parsed.Rows)
			}
			return nil
		})
	}
	err = g.Wait()
	slices.SortFunc(report.RejectedRows, func(a, b meetingguide.Rejected) int { return cmp.Compare(a.Row, b.Row) })
	return report, err
}

// outcome is what became of a row.
type outcome int

const (
	unchanged outcome = iota
	updated
	created
)

// importer knows what Cairn has of the feed already.
type importer struct {
	Clients
	Options
	groups map[string]*groupsv1.Group        // by external id
	series map[string][]*schedulingv1.Series // by group
}

// load reads the organization's groups of this source, and their series.
func (i *importer) load(ctx context.Context) error {
	i.groups, i.series = map[string]*groupsv1.Group{}, map[string][]*schedulingv1.Series{}
	for token := ""; ; {
		req := &groupsv1.ListGroupsRequest{
			Filter:   fmt.Sprintf("organization = %q AND source_system = %q", i.Organization, i.Source),
			PageSize: 200, PageToken: token,
		}
		resp, err := retry(ctx, func() (*groupsv1.ListGroupsResponse, error) { return i.Groups.ListGroups(ctx, req) })
		if err != nil {
			return fmt.Errorf("list the organization's groups: %w", err)
		}
		for _, g := range resp.GetGroups() {
			i.groups[g.GetExternalId()] = g
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(i.groups) == 0 {
		return nil
	}
	for token := ""; ; {
		req := &schedulingv1.ListSeriesRequest{Filter: fmt.Sprintf("organization = %q AND state = ACTIVE", i.Organization), PageSize: 200, PageToken: token}
		resp, err := retry(ctx, func() (*schedulingv1.ListSeriesResponse, error) { return i.Scheduling.ListSeries(ctx, req) })
		if err != nil {
			return fmt.Errorf("list the organization's series: %w", err)
		}
		for _, s := range resp.GetSeries() {
			i.series[s.GetGroup()] = append(i.series[s.GetGroup()], s)
		}
		if token = resp.GetNextPageToken(); token == "" {
			return nil
		}
	}
}

// entry brings one row in: the group first, then its times, then its state, so that what is public is whole.
func (i *importer) entry(ctx context.Context, e *meetingguide.Entry) (outcome, error) {
	g, result, err := i.group(ctx, e)
	if err != nil {
		return result, err
	}
	for _, step := range []func(context.Context, *meetingguide.Entry, *groupsv1.Group) (bool, error){i.times, i.state} {
		changed, err := step(ctx, e, g)
		if err != nil {
			return result, err
		}
		if changed && result == unchanged {
			result = updated
		}
	}
	return result, nil
}
