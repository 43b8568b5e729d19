package importer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/formats/meetingguide"
)

// seriesTitle tells the feed's series from those that the owner has added to the group.
const seriesTitle = "Weekly meeting"

// times plans the row's weekly series, brings it up to date, or deletes it when the meeting is by appointment now.
func (i *importer) times(ctx context.Context, e *meetingguide.Entry, g *groupsv1.Group) (bool, error) {
	var have *schedulingv1.Series
	for _, s := range i.series[g.GetName()] {
		if s.GetTitle() == seriesTitle {
			have = s
		}
	}
	switch {
	case g.GetState() == groupsv1.Group_ARCHIVED, e.Times == nil && have == nil:
		return false, nil
	case e.Times == nil && i.DryRun:
		return true, nil
	case e.Times == nil:
		req := &schedulingv1.DeleteSeriesRequest{Name: have.GetName(), RequestId: uuid.NewString()}
		_, err := retry(ctx, func() (proto.Message, error) { return i.Scheduling.DeleteSeries(ctx, req) })
		return true, err
	}
	want, err := i.weekly(e, g)
	if err != nil {
		return false, err
	}
	if have == nil {
		if i.DryRun {
			return true, nil
		}
		req := &schedulingv1.CreateSeriesRequest{Series: want, RequestId: uuid.NewString()}
		_, err := retry(ctx, func() (*schedulingv1.Series, error) { return i.Scheduling.CreateSeries(ctx, req) })
		return true, err
	}
	var changed []string
	for _, f := range []struct {
		path string
		same bool
	}{
		{"rrule", have.GetRrule() == want.GetRrule()},
		{"time_zone", have.GetTimeZone() == want.GetTimeZone()},
		{"local_start", clockOf(have.GetLocalStart()) == clockOf(want.GetLocalStart())}, // the date of the first one does not matter
		{"duration", have.GetDuration().AsDuration() == want.GetDuration().AsDuration()},
		{"place", have.GetPlace() == want.GetPlace()},
		{"format", have.GetFormat() == want.GetFormat()},
	} {
		if !f.same {
			changed = append(changed, f.path)
		}
	}
	if len(changed) == 0 || i.DryRun {
		return len(changed) > 0, nil
	}
	if slices.Contains(changed, "rrule") && !slices.Contains(changed, "local_start") {
		changed = append(changed, "local_start") // so that it is an occurrence of the new rule
	}
	want.Name = have.GetName()
	req := &schedulingv1.UpdateSeriesRequest{Series: want, UpdateMask: &fieldmaskpb.FieldMask{Paths: changed}, RequestId: uuid.NewString()}
	_, err = retry(ctx, func() (*schedulingv1.Series, error) { return i.Scheduling.UpdateSeries(ctx, req) })
	return true, err
}

// weekly returns the series of a row's times, from its next occurrence on.
func (i *importer) weekly(e *meetingguide.Entry, g *groupsv1.Group) (*schedulingv1.Series, error) {
	zone, err := time.LoadLocation(e.Times.Zone)
	if err != nil {
		return nil, fmt.Errorf("load zone: %w", err)
	}
	now := i.Clock.Now().In(zone)
	start := time.Date(now.Year(), now.Month(), now.Day(), e.Times.Start/60, e.Times.Start%60, 0, 0, zone)
	if !slices.ContainsFunc(e.Times.Days, func(d time.Weekday) bool { return d >= time.Sunday && d <= time.Saturday }) {
		return nil, fmt.Errorf("%s meets on no day of the week", e.Group.GetExternalId())
	}
	for !start.After(now) || !slices.Contains(e.Times.Days, start.Weekday()) {
		start = start.AddDate(0, 0, 1)
	}
	codes := make([]string, len(e.Times.Days))
	for n, d := range e.Times.Days {
		codes[n] = strings.ToUpper(d.String()[:2])
	}
	return &schedulingv1.Series{
		Group: g.GetName(), Title: seriesTitle, Rrule: "FREQ=WEEKLY;BYDAY=" + strings.Join(codes, ","), TimeZone: e.Times.Zone,
		LocalStart: fmt.Sprintf("%sT%02d:%02d", start.Format(time.DateOnly), e.Times.Start/60, e.Times.Start%60),
		Duration:   durationpb.New(time.Duration(e.Times.Minutes) * time.Minute),
		Format:     formats()[e.Group.GetFormat()], Place: place(e.Group),
	}, nil
}

func formats() map[groupsv1.Group_Format]schedulingv1.Series_Format {
	return map[groupsv1.Group_Format]schedulingv1.Series_Format{
		groupsv1.Group_IN_PERSON: schedulingv1.Series_IN_PERSON, groupsv1.Group_ONLINE: schedulingv1.Series_ONLINE,
		groupsv1.Group_HYBRID: schedulingv1.Series_HYBRID, groupsv1.Group_PHONE: schedulingv1.Series_PHONE,
	}
}

// place says where the group meets, in words; nothing for a group that meets in no room.
func place(g *groupsv1.Group) string {
	if g.GetFormat() != groupsv1.Group_IN_PERSON && g.GetFormat() != groupsv1.Group_HYBRID {
		return ""
	}
	a := g.GetVenue().GetAddress()
	var parts []string
	for _, s := range append(append([]string{g.GetVenue().GetLabel()}, a.GetAddressLines()...), a.GetLocality()) {
		if s != "" && !slices.Contains(parts, s) {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

// clockOf returns hours and minutes of a local time.
func clockOf(local string) string {
	_, at, _ := strings.Cut(local, "T")
	return at[:min(5, len(at))]
}
