package ical

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/recurrence"
)

// event is a VEVENT.
type event struct {
	body
	uid              string
	created, updated time.Time
	sequence         int64

	rule   string      // how it repeats
	except []time.Time // floating: what of that does not take place, or has an event of its own without a RECURRENCE-ID
	until  time.Time   // the start of the last

	occurrence time.Time // floating: which of a series it stands for, in the zone of
	of         string
}

// body is what an event says that a session may have of its own.
type body struct {
	start, end                            time.Time
	zone                                  string // empty: UTC
	summary, about, place, geo, uri, join string
	cancelled                             bool
}

// events returns the calendar's events: those that repeat, each with its exceptions, and then the others.
func (c *calendar) events() []event {
	bySeries := map[string][]*schedulingv1.Session{}
	titles := map[string]string{}
	for _, s := range c.Sessions {
		bySeries[s.GetSeries()] = append(bySeries[s.GetSeries()], s)
	}
	var out []event
	done := map[string]bool{}
	for _, s := range c.Series {
		titles[s.GetName()] = s.GetTitle()
		out = append(out, c.repeating(s, bySeries[s.GetName()], done)...)
	}
	for _, s := range c.Sessions {
		if !done[s.GetName()] {
			_, id, _ := strings.Cut(s.GetName(), "/")
			e := event{body: c.session(s, titles[s.GetSeries()]), uid: id, updated: s.GetUpdateTime().AsTime(), sequence: revision(s.GetEtag())}
			if at := s.GetCreateTime(); at != nil {
				e.created = at.AsTime()
			}
			out = append(out, e)
		}
	}
	return out
}

// revision reads how often a resource was changed.
func revision(etag string) int64 {
	n, err := strconv.ParseInt(strings.Trim(etag, `"`), 10, 64)
	if err != nil || n < 1 {
		return 0
	}
	return n - 1
}

// repeating returns a series as an event that repeats and its exceptions, and notes the sessions that they show. It returns nothing
// where a calendar program could not follow.
func (c *calendar) repeating(s *schedulingv1.Series, sessions []*schedulingv1.Session, done map[string]bool) []event {
	if s.GetRrule() == "" || len(s.GetFurtherRrules()) > 0 || len(sessions) < 2 {
		return nil
	}
	set, err := recurrence.Parse(recurrence.Spec{RRule: s.GetRrule(), TimeZone: s.GetTimeZone(), Start: s.GetLocalStart(), ExDates: s.GetExdates()})
	if err != nil {
		return nil
	}
	byStart := map[string]*schedulingv1.Session{}
	first := sessions[0].GetStartTime().AsTime()
	for _, x := range sessions {
		byStart[x.GetOriginalLocalStart()] = x
		if at, err := recurrence.Local(x.GetOriginalLocalStart()); err == nil && recurrence.Instant(at, set.Zone).Before(first) {
			first = recurrence.Instant(at, set.Zone)
		}
	}
	list, _, err := set.Between(first, s.GetHorizonTime().AsTime(), 2*len(sessions)+100)
	if err != nil {
		return nil
	}
	// Of what the rule gives, that which has a session and which every clock reads alike; the rest are exceptions.
	good := func(o recurrence.Occurrence) bool {
		return byStart[recurrence.FormatLocal(o.Local())] != nil && recurrence.Plain(o.Local(), o.Start(), set.Zone)
	}
	from := slices.IndexFunc(list, good)
	to := len(list)
	for to > 0 && !good(list[to-1]) {
		to--
	}
	if from < 0 || to-from < 2 {
		return nil
	}
	list = list[from:to]
	last := list[len(list)-1]
	rule := recurrence.Until(s.GetRrule(), last.Start())
	spec := recurrence.Spec{RRule: rule, TimeZone: s.GetTimeZone(), Start: recurrence.FormatLocal(list[0].Local()), ExDates: s.GetExdates()}
	if same, err := recurrence.Parse(spec); err != nil || !sameStarts(same, list) {
		return nil
	}
	_, id, _ := strings.Cut(s.GetName(), "/")
	main := event{
		body: c.planned(s, list[0].Start()), uid: id, created: s.GetCreateTime().AsTime(), updated: s.GetUpdateTime().AsTime(),
		sequence: revision(s.GetEtag()), rule: rule, until: last.Start(),
	}
	shown := []string{}
	var own []event
	for _, text := range s.GetExdates() {
		if at, err := recurrence.Local(text); err == nil && !at.Before(list[0].Local()) && !at.After(last.Local()) {
			main.except = append(main.except, at)
		}
	}
	for _, o := range list {
		if !good(o) {
			main.except = append(main.except, o.Local())
			continue
		}
		x := byStart[recurrence.FormatLocal(o.Local())]
		shown = append(shown, x.GetName())
		is, plan := c.session(x, s.GetTitle()), main.body
		plan.start, plan.end = o.Start(), o.Start().Add(s.GetDuration().AsDuration())
		if at := x.GetUpdateTime().AsTime(); at.After(main.updated) {
			main.updated = at
		}
		if is != plan || shifts(plan, set.Zone) {
			own = append(own, event{
				body: is, uid: id, created: x.GetCreateTime().AsTime(), updated: x.GetUpdateTime().AsTime(),
				sequence: main.sequence + revision(x.GetEtag()), occurrence: o.Local(), of: s.GetTimeZone(),
			})
		}
	}
	if len(main.except) > len(shown) { // it hardly repeats
		return nil
	}
	slices.SortFunc(main.except, time.Time.Compare)
	main.except = slices.Compact(main.except)
	for _, name := range shown {
		done[name] = true
	}
	return append([]event{main}, own...)
}

// shifts tells whether the clock is changed in the middle of it: programs then do not agree when it ends.
func shifts(b body, zone *time.Location) bool {
	_, first := b.start.In(zone).Zone()
	_, last := b.end.In(zone).Zone()
	return first != last
}

// sameStarts tells whether a set has these occurrences and no others.
func sameStarts(set *recurrence.Set, want []recurrence.Occurrence) bool {
	list, more, err := set.First(time.Time{}, recurrence.End(), len(want))
	return err == nil && !more.Any() && slices.EqualFunc(list, want, func(a, b recurrence.Occurrence) bool { return a.Start().Equal(b.Start()) })
}

// planned is what a series says of a session.
func (c *calendar) planned(s *schedulingv1.Series, start time.Time) body {
	return c.session(&schedulingv1.Session{
		Group: s.GetGroup(), StartTime: timestamppb.New(start), EndTime: timestamppb.New(start.Add(s.GetDuration().AsDuration())), TimeZone: s.GetTimeZone(),
		Format: s.GetFormat(), Place: s.GetPlace(), State: schedulingv1.Session_SCHEDULED,
	}, s.GetTitle())
}

// session is what is said of a session of a series with that title.
func (c *calendar) session(s *schedulingv1.Session, title string) body {
	g := c.group(s)
	b := body{
		start: s.GetStartTime().AsTime(), end: s.GetEndTime().AsTime(), zone: s.GetTimeZone(), summary: g.GetTitle(), about: described(g),
		place: placeOf(g, s), uri: g.GetContact().GetUri(), cancelled: s.GetState() == schedulingv1.Session_CANCELLED,
	}
	if _, err := recurrence.Zone(b.zone); err != nil {
		b.zone = ""
	}
	if title != "" {
		b.summary += ": " + title
	}
	var lead []string
	for _, text := range []string{s.GetTopic(), s.GetGuestSpeaker()} {
		if text != "" {
			lead = append(lead, text)
		}
	}
	if c.Private && !b.cancelled && afar(g, s) {
		b.join = g.GetOnline().GetJoinUri()
		for _, text := range []string{b.join, g.GetOnline().GetPhone(), g.GetOnline().GetJoinInstructions()} {
			if text != "" {
				lead = append(lead, text)
			}
		}
	}
	if c.Private && b.cancelled && s.GetCancelReason() != "" {
		lead = append(lead, s.GetCancelReason())
	}
	b.about = strings.TrimSpace(strings.Join(append(lead, b.about), "\n\n"))
	if at := g.GetVenue().GetLocation(); at != nil && g.GetVenue().GetPrecision() == groupsv1.Group_Venue_EXACT && b.place != "" {
		b.geo = fmt.Sprintf("%.6f;%.6f", at.GetLatitude(), at.GetLongitude())
	}
	return b
}

// group returns the group of a session; in a calendar of one group it need not be named.
func (c *calendar) group(s *schedulingv1.Session) *groupsv1.Group {
	if g := c.Groups[s.GetGroup()]; g != nil || len(c.Groups) != 1 {
		return g
	}
	for _, g := range c.Groups {
		return g
	}
	return nil
}

// afar tells whether a session can be attended from afar.
func afar(g *groupsv1.Group, s *schedulingv1.Session) bool {
	switch cmp.Or(s.GetFormat(), schedulingv1.Series_Format(g.GetFormat())) {
	case schedulingv1.Series_ONLINE, schedulingv1.Series_HYBRID, schedulingv1.Series_PHONE:
		return true
	}
	return false
}
