// Package ical writes a group's sessions as an iCalendar object (RFC 5545, RFC 7986) that the public may subscribe to.
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
)

// Name is the format as loss reports call it.
const Name = "ical"

// refresh is how often subscribers are asked to look again.
const refresh = "PT1H"

// Write writes the sessions of a group as one calendar: an event for each, with a UID that stays when it is moved or
// cancelled. Of the group and the sessions it says only what is public; equal arguments give equal bytes.
func Write(w io.Writer, l formats.Listing, sessions []*schedulingv1.Session) error {
	g := l.Group
	c := &calendar{}
	c.line("BEGIN", "VCALENDAR")
	c.line("VERSION", "2.0")
	c.line("PRODID", "-//cairn.care//Cairn//EN")
	c.line("CALSCALE", "GREGORIAN")
	c.line("METHOD", "PUBLISH")
	_, id, _ := strings.Cut(g.GetName(), "/")
	c.line("UID", id)
	c.text("NAME", g.GetTitle())
	c.text("X-WR-CALNAME", g.GetTitle())
	if s := described(g); s != "" {
		c.text("DESCRIPTION", s)
	}
	if u := g.GetContact().GetUri(); u != "" {
		c.line("URL", uri(u))
	}
	c.line("REFRESH-INTERVAL;VALUE=DURATION", refresh)
	c.line("X-PUBLISHED-TTL", refresh)
	if at := g.GetUpdateTime(); at != nil {
		c.line("LAST-MODIFIED", utc(at.AsTime()))
	}
	zones := map[string]*span{}
	for _, s := range sessions {
		if zone, err := time.LoadLocation(s.GetTimeZone()); err == nil && s.GetTimeZone() != "" {
			start := s.GetStartTime().AsTime().In(zone)
			z := cmp.Or(zones[s.GetTimeZone()], &span{zone: zone, first: start, last: start})
			if start.Before(z.first) {
				z.first = start
			}
			if end := s.GetEndTime().AsTime().In(zone); end.After(z.last) {
				z.last = end
			}
			zones[s.GetTimeZone()] = z
		}
	}
	for _, name := range slices.Sorted(maps.Keys(zones)) {
		c.zone(name, zones[name])
	}
	for _, s := range sessions {
		c.event(g, s, zones[s.GetTimeZone()])
	}
	c.line("END", "VCALENDAR")
	if _, err := w.Write(c.out); err != nil {
		return fmt.Errorf("write the calendar: %w", err)
	}
	return nil
}

// calendar is the text so far.
type calendar struct{ out []byte }

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

// event adds a session.
func (c *calendar) event(g *groupsv1.Group, s *schedulingv1.Session, z *span) {
	_, id, _ := strings.Cut(s.GetName(), "/")
	changed := s.GetUpdateTime().AsTime()
	c.line("BEGIN", "VEVENT")
	c.line("UID", id)
	c.line("DTSTAMP", utc(changed))
	c.line("LAST-MODIFIED", utc(changed))
	if at := s.GetCreateTime(); at != nil {
		c.line("CREATED", utc(at.AsTime()))
		c.line("SEQUENCE", fmt.Sprint(max(0, int64(changed.Sub(at.AsTime())/time.Second)))) // grows with every change
	}
	start, end := s.GetStartTime().AsTime(), s.GetEndTime().AsTime()
	if z != nil {
		c.line("DTSTART;TZID="+s.GetTimeZone(), start.In(z.zone).Format(local))
		c.line("DTEND;TZID="+s.GetTimeZone(), end.In(z.zone).Format(local))
	} else {
		c.line("DTSTART", utc(start))
		c.line("DTEND", utc(end))
	}
	c.text("SUMMARY", g.GetTitle())
	c.line("STATUS", map[bool]string{true: "CANCELLED", false: "CONFIRMED"}[s.GetState() == schedulingv1.Session_CANCELLED])
	about := described(g)
	if t := s.GetTopic(); t != "" {
		about = strings.TrimSpace(t + "\n\n" + about)
	}
	if about != "" {
		c.text("DESCRIPTION", about)
	}
	if p := s.GetPlace(); p != "" {
		c.text("LOCATION", p)
	}
	if at := g.GetVenue().GetLocation(); at != nil && g.GetVenue().GetPrecision() == groupsv1.Group_Venue_EXACT && s.GetPlace() != "" {
		c.line("GEO", fmt.Sprintf("%.6f;%.6f", at.GetLatitude(), at.GetLongitude()))
	}
	if u := g.GetContact().GetUri(); u != "" {
		c.line("URL", uri(u))
	}
	c.line("TRANSP", map[bool]string{true: "TRANSPARENT", false: "OPAQUE"}[s.GetState() == schedulingv1.Session_CANCELLED])
	c.line("END", "VEVENT")
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

// zone adds the offsets of a zone from the one that holds at the first instant to the one that holds at the last.
func (c *calendar) zone(name string, z *span) {
	c.line("BEGIN", "VTIMEZONE")
	c.line("TZID", name)
	for at := z.first; ; {
		begin, end := at.ZoneBounds()
		zoneName, offset := at.Zone()
		before := offset
		since := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC) // for ever
		if !begin.IsZero() {
			_, before = begin.Add(-time.Second).Zone()
			since = begin.UTC()
		}
		kind := map[bool]string{true: "DAYLIGHT", false: "STANDARD"}[at.IsDST()]
		c.line("BEGIN", kind)
		c.line("DTSTART", since.Add(time.Duration(before)*time.Second).Format(local))
		c.line("TZOFFSETFROM", offsetText(before))
		c.line("TZOFFSETTO", offsetText(offset))
		c.text("TZNAME", zoneName)
		c.line("END", kind)
		if end.IsZero() || end.After(z.last) {
			break
		}
		at = end
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
