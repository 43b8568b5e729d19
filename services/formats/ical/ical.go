// Package ical writes sessions as an iCalendar object (RFC 5545, RFC 7986): of a group, to which the public may subscribe, or of all
// that a member has.
package ical

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/formats"
	"cairn.care/services/recurrence"
)

// Name is the format as loss reports call it.
const Name = "ical"

// refresh is how often subscribers are asked to look again.
const refresh = "PT1H"

// Calendar is what is written as one.
type Calendar struct {
	UID         string
	Name        string
	Description string
	URI         string    // a page about it, if any
	Source      string    // where it is read, if that may be told
	Updated     time.Time // zero: not said
	Private     bool      // its reader takes part: links to join are in it
	Groups      map[string]*groupsv1.Group
	Series      []*schedulingv1.Series
	Sessions    []*schedulingv1.Session
}

// Of returns a group's public calendar.
func Of(l formats.Listing, series []*schedulingv1.Series, sessions []*schedulingv1.Session) Calendar {
	g := l.Group
	_, id, _ := strings.Cut(g.GetName(), "/")
	c := Calendar{
		UID: id, Name: g.GetTitle(), Description: described(g), URI: g.GetContact().GetUri(), Groups: map[string]*groupsv1.Group{g.GetName(): g},
		Series: series, Sessions: sessions,
	}
	if at := g.GetUpdateTime(); at != nil {
		c.Updated = at.AsTime()
	}
	return c
}

// Write writes a calendar. A series that a calendar program can follow is one event that repeats, with an event of its own for each
// session that is otherwise; what it cannot is an event for each session. The UID of a session's own event stays when it is moved
// or cancelled. All of it gives the instants that the sessions have, and equal calendars give equal bytes. What is not public is
// said in private ones only.
func Write(w io.Writer, of Calendar) error {
	c := &calendar{Calendar: of}
	c.line("BEGIN", "VCALENDAR")
	c.line("VERSION", "2.0")
	c.line("PRODID", "-//cairn.care//Cairn//EN")
	c.line("CALSCALE", "GREGORIAN")
	c.line("METHOD", "PUBLISH")
	c.line("UID", of.UID)
	c.text("NAME", of.Name)
	c.text("X-WR-CALNAME", of.Name)
	if of.Description != "" {
		c.text("DESCRIPTION", of.Description)
	}
	if of.URI != "" {
		c.line("URL", uri(of.URI))
	}
	if of.Source != "" {
		c.line("SOURCE;VALUE=URI", uri(of.Source))
	}
	c.line("REFRESH-INTERVAL;VALUE=DURATION", refresh)
	c.line("X-PUBLISHED-TTL", refresh)
	if !of.Updated.IsZero() {
		c.line("LAST-MODIFIED", utc(of.Updated))
	}
	events := c.events()
	c.zones(events)
	for _, e := range events {
		c.event(e)
	}
	c.line("END", "VCALENDAR")
	if _, err := w.Write(c.out); err != nil {
		return fmt.Errorf("write the calendar: %w", err)
	}
	return nil
}

// calendar is the text so far.
type calendar struct {
	Calendar
	out []byte
}

// line adds a content line, folded at 75 octets (RFC 5545 §3.1), never within a character.
func (c *calendar) line(name, value string) {
	s := name + ":" + value
	for most := 75; len(s) > most; most = 74 {
		n := most
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		c.out = append(append(c.out, s[:n]...), "\r\n "...)
		s = s[n:]
	}
	c.out = append(append(c.out, s...), "\r\n"...)
}

// text adds a property of type TEXT (RFC 5545 §3.3.11); control characters cannot be in one.
func (c *calendar) text(name, value string) {
	value = strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", "\n"), "\r", "\n")
	value = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(value, "\ufffd"))
	c.line(name, strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`).Replace(value))
}

// uri is a link as a value of type URI: without what would end the line.
func uri(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

func utc(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

const local = "20060102T150405"

// event adds an event.
func (c *calendar) event(e event) {
	c.line("BEGIN", "VEVENT")
	c.line("UID", e.uid)
	c.line("DTSTAMP", utc(e.updated))
	c.line("LAST-MODIFIED", utc(e.updated))
	if !e.created.IsZero() {
		c.line("CREATED", utc(e.created))
	}
	c.line("SEQUENCE", fmt.Sprint(e.sequence))
	if !e.occurrence.IsZero() {
		c.line("RECURRENCE-ID;TZID="+e.of, e.occurrence.Format(local))
	}
	c.at("DTSTART", e.start, e.zone)
	c.at("DTEND", e.end, e.zone)
	if e.rule != "" {
		c.line("RRULE", e.rule)
	}
	for _, x := range e.except {
		c.line("EXDATE;TZID="+e.zone, x.Format(local))
	}
	c.text("SUMMARY", e.summary)
	c.line("STATUS", map[bool]string{true: "CANCELLED", false: "CONFIRMED"}[e.cancelled])
	if e.about != "" {
		c.text("DESCRIPTION", e.about)
	}
	if e.place != "" {
		c.text("LOCATION", e.place)
	}
	if e.geo != "" {
		c.line("GEO", e.geo)
	}
	if e.uri != "" {
		c.line("URL", uri(e.uri))
	}
	if e.join != "" {
		c.line("CONFERENCE;VALUE=URI;FEATURE=VIDEO", uri(e.join))
	}
	if c.Private {
		c.line("CLASS", "PRIVATE")
	}
	c.line("TRANSP", map[bool]string{true: "TRANSPARENT", false: "OPAQUE"}[e.cancelled])
	c.line("END", "VEVENT")
}

// at adds a time on the wall clock of a zone, or in UTC where there is none or its wall clock shows that time twice.
func (c *calendar) at(property string, at time.Time, zone string) {
	if z, err := recurrence.Zone(zone); err == nil {
		if wall := recurrence.WallClock(at, z); recurrence.Plain(wall, at, z) {
			c.line(property+";TZID="+zone, wall.Format(local))
			return
		}
	}
	c.line(property, utc(at))
}

// described is what there is to read about the group.
func described(g *groupsv1.Group) string {
	return strings.TrimSpace(g.GetSummary() + "\n\n" + g.GetDescription())
}

// span is a zone and when the calendar needs it.
type span struct {
	zone        *time.Location
	first, last time.Time
}

// zones adds the zones of events.
func (c *calendar) zones(events []event) {
	spans := map[string]*span{}
	for _, e := range events {
		for _, name := range []string{e.zone, e.of} {
			zone, err := recurrence.Zone(name)
			if err != nil {
				continue
			}
			z := cmp.Or(spans[name], &span{zone: zone, first: e.start, last: e.start})
			spans[name] = z
			for _, at := range []time.Time{e.start, e.end, e.until} {
				if at.Before(z.first) && !at.IsZero() {
					z.first = at
				}
				if at.After(z.last) {
					z.last = at
				}
			}
			if !e.occurrence.IsZero() {
				if at := recurrence.Instant(e.occurrence, zone); at.Before(z.first) {
					z.first = at
				} else if at.After(z.last) {
					z.last = at
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(spans)) {
		c.zone(name, spans[name])
	}
}

// zone adds the offsets of a zone from the one that holds at the first instant to the one that holds at the last.
func (c *calendar) zone(name string, z *span) {
	c.line("BEGIN", "VTIMEZONE")
	c.line("TZID", name)
	for i, since := range recurrence.Offsets(z.zone, z.first, z.last) {
		at := since.In(z.zone)
		if since.IsZero() {
			since, at = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), z.first.In(z.zone) // for ever
		}
		zoneName, offset := at.Zone()
		before := offset
		if i > 0 || at.Equal(since) {
			_, before = since.Add(-time.Second).In(z.zone).Zone()
		}
		kind := map[bool]string{true: "DAYLIGHT", false: "STANDARD"}[at.IsDST()]
		c.line("BEGIN", kind)
		c.line("DTSTART", since.Add(time.Duration(before)*time.Second).Format(local))
		c.line("TZOFFSETFROM", offsetText(before))
		c.line("TZOFFSETTO", offsetText(offset))
		c.text("TZNAME", zoneName)
		c.line("END", kind)
	}
	c.line("END", "VTIMEZONE")
}

func offsetText(seconds int) string {
	sign := "+"
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	s := fmt.Sprintf("%s%02d%02d", sign, seconds/3600, seconds/60%60)
	if seconds%60 != 0 {
		s += fmt.Sprintf("%02d", seconds%60)
	}
	return s
}

// Losses says what a group's calendar does not tell.
func Losses(l formats.Listing) ([]formats.Loss, error) {
	g := l.Group
	said := &groupsv1.Group{
		Title: g.GetTitle(), Summary: g.GetSummary(), Description: g.GetDescription(), TimeZone: g.GetTimeZone(), RegularTimes: g.GetRegularTimes(),
	}
	if u := g.GetContact().GetUri(); u != "" {
		said.Contact = &groupsv1.Group_Contact{Uri: u}
	}
	if v := g.GetVenue(); v != nil {
		said.Venue = &groupsv1.Group_Venue{Label: v.GetLabel(), Address: proto.CloneOf(v.GetAddress()), Location: v.GetLocation(), Precision: v.GetPrecision()}
	}
	_, paths, err := formats.Rest(g, &formats.Entry{Group: said, Closed: formats.Closed(g)})
	if err != nil {
		return nil, err
	}
	var losses []formats.Loss
	if len(g.GetRegularTimes()) == 0 && len(g.GetAvailability().GetNextSessions()) == 0 {
		losses = append(losses, formats.Loss{Field: "regular_times", Reason: "No session is planned, so that the calendar is empty.", Omitted: true})
	}
	for _, p := range paths {
		losses = append(losses, formats.Loss{Field: p, Reason: "A calendar has no property for it."})
	}
	if formats.Closed(g) {
		losses = append(losses, formats.Loss{Field: "state", Reason: "A calendar cannot say that a group takes nobody new."})
	}
	if len(g.GetFacilitators()) > 0 {
		losses = append(losses, formats.Loss{Field: "facilitators", Reason: "The public calendar names nobody."})
	}
	if a := g.GetAvailability(); a != nil && (a.OpenSeats != nil || a.GetWaitlistLength() > 0) {
		losses = append(losses, formats.Loss{Field: "availability.open_seats", Reason: "A calendar has no property for it."})
	}
	return losses, nil
}
