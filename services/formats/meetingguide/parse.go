package meetingguide

import (
	"io"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

// SourceSystem is the source_system of groups that come from a Meeting Guide feed.
const SourceSystem = name

// Options, Rejected, Feed, Entry, Weekly and Parse read a feed as a whole.
type (
	// Options say what a feed leaves open.
	Options = formats.Options
	// Rejected is a row that was not taken.
	Rejected = formats.Rejected
)

// Feed is what was read.
type Feed struct {
	Rows     int // in the feed: len(Entries) + len(Rejected)
	Entries  []Entry
	Rejected []Rejected
}

// Entry is one meeting.
type Entry struct {
	Row    int
	Group  *groupsv1.Group // without regular_times
	Times  *Weekly         // nil: the meeting is held by appointment
	Closed bool
}

// Weekly is when a meeting is held, by the wall clock of its zone.
type Weekly struct {
	Days    []time.Weekday // distinct, Sunday first
	Start   int            // minutes after midnight
	Minutes int            // how long
	Zone    string         // IANA
}

// Parse reads a feed as a whole.
func Parse(r io.Reader, o Options) (*Feed, error) {
	f := &Feed{}
	for rec, err := range (Format{}).Records(r, o) {
		if err != nil {
			return nil, err
		}
		f.Rows = rec.Row
		if rec.Rejected != nil {
			f.Rejected = append(f.Rejected, *rec.Rejected)
			continue
		}
		e, rejected := Format{}.Entry(rec, o)
		if e == nil {
			f.Rejected = append(f.Rejected, rejected...)
			continue
		}
		entry := Entry{Row: rec.Row, Group: e.Group, Closed: e.Closed}
		if times := e.Group.GetRegularTimes(); len(times) > 0 {
			days, _ := formats.WeekDays(times[0])
			start, _ := formats.ClockTime(times[0].GetStartTime())
			entry.Times = &Weekly{Days: days, Start: start, Minutes: int(times[0].GetDuration().AsDuration() / time.Minute), Zone: e.Group.GetTimeZone()}
			e.Group.RegularTimes = nil
		}
		f.Entries = append(f.Entries, entry)
	}
	return f, nil
}
