package groups

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/outbound"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/formats/cairn"
	"cairn.care/services/formats/csv"
)

// What a feed has that does not say.
const (
	defaultRemovedPercent = 20
	defaultPullInterval   = 24 * time.Hour
)

// CreateFeed creates a feed; one that is pulled is due at once.
func (s *feedServer) CreateFeed(ctx context.Context, req *groupsv1.CreateFeedRequest) (*groupsv1.Feed, error) {
	orgID, err := s.orgs.ownerFor(ctx, "feed.organization", req.GetFeed().GetOrganization())
	if err != nil {
		return nil, err
	}
	f := writtenFeed(req.GetFeed())
	if err := s.checkFeed(f); err != nil {
		return nil, err
	}
	now := s.clock.Now()
	r := &feedRow{ID: aip.NewID(), OrgID: orgID, Revision: 1, CreateTime: now, UpdateTime: now}
	if f.GetSource() == groupsv1.Feed_PULLED && !f.GetPaused() {
		r.NextPullTime = &now
	}
	b := s.db.Batch(ctx)
	if err := queueWriteFeed(b, r, f); err != nil {
		return nil, err
	}
	answer, err := r.toProto()
	if err != nil {
		return nil, err
	}
	if err := idem.Save(ctx, b, answer); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, b); err != nil {
		if pg.Constraint(err) == "feeds_source" {
			answer.Name, err = keyHolder(ctx, s.db, err, "feeds", `SELECT id FROM feeds WHERE org_id = $1 AND source_system = $2`, orgID, f.GetSourceSystem())
		}
		return nil, fmt.Errorf("insert feed: %w", feedError(err, answer))
	}
	return answer, nil
}

// checkFeed fills in what the feed does not say and returns what is wrong with it.
func (s *feedServer) checkFeed(f *groupsv1.Feed) error {
	c := &checker{root: "feed"}
	c.text(f.ProtoReflect(), "")
	format := s.format(f)
	c.need(format != nil, "format", "%q is no format that Cairn reads: there are %s", f.GetFormat(), strings.Join(slices.Sorted(maps.Keys(s.formats)), ", "))
	if format != nil {
		f.SourceSystem = cmp.Or(f.GetSourceSystem(), format.Name())
	}
	f.Title = cmp.Or(strings.TrimSpace(f.GetTitle()), f.GetSourceSystem())
	c.need(!follows(f) || cairn.Follows(f.GetSourceSystem()), "source_system", `of a feed from another Cairn must be "cairn" or begin with "cairn:", so that its groups are not sent back`)
	c.need(follows(f) || !cairn.Follows(f.GetSourceSystem()), "source_system", `is that of feeds from other Cairns, whose groups are not sent on: name this feed without "cairn"`)
	c.zone(f.GetTimeZone())
	if f.GetLanguage() != "" {
		if tags := c.languages([]string{f.GetLanguage()}); len(tags) == 1 {
			f.Language = tags[0]
		}
	}
	isCSV := f.GetFormat() == csv.Format{}.Name()
	c.need(len(f.GetColumns()) == 0 || isCSV, "columns", "are for format csv")
	if isCSV {
		err := csv.CheckColumns(f.GetColumns())
		c.need(err == nil, "columns", "cannot be used: %v", err)
	}
	if f.MaxRemovedPercent == nil {
		f.MaxRemovedPercent = new(int32(defaultRemovedPercent))
	}
	defaults(&f.Mode, groupsv1.Feed_WHOLE)
	defaults(&f.Source, groupsv1.Feed_PUSHED)
	defaults(&f.Publishing, groupsv1.Feed_WHEN_FIT)
	switch pulled := f.GetSource() == groupsv1.Feed_PULLED; {
	case !pulled:
		c.need(f.GetPull() == nil, "pull", "is for source PULLED")
	case f.GetPull().GetUri() == "":
		c.need(false, "pull.uri", "is needed with source PULLED: where to get the content")
	default:
		err := outbound.CheckURL(f.GetPull().GetUri())
		c.need(err == nil, "pull.uri", "cannot be got: %v", err)
		if f.GetPull().GetInterval() == nil {
			f.Pull.Interval = durationpb.New(defaultPullInterval)
		}
	}
	return c.err()
}

// defaults sets an enum that says nothing.
func defaults[E ~int32](e *E, value E) {
	if *e == 0 {
		*e = value
	}
}

// mutableFeed are the fields of a feed that its owner may change.
func mutableFeed() []string {
	return []string{
		"title", "mode", "source", "pull", "time_zone", "language", "columns", "max_removed_percent", "publishing", "merging", "paused",
	}
}

// busy is why a feed cannot be changed while it is being taken.
func busy(name string) error {
	return fault.Precondition("FEED_BUSY", name, "a run of the feed goes on: cancel it or wait until it has ended")
}
