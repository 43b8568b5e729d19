package formats

import (
	"fmt"
	"hash/maphash"
	"iter"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// MaxRecords bounds the records of a feed with different IDs: what is remembered of them is all that grows with a feed.
const MaxRecords = 2_000_000

// Distinct rejects each record whose ID a record before it has; field is what the feed calls the ID. It ends a feed that
// has more than [MaxRecords].
func Distinct(records iter.Seq2[Record, error], field string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		seen := newRows()
		for r, err := range records {
			if err == nil && r.Rejected == nil {
				if first := seen.put(r.ID, r.Row); first != 0 {
					r.Rejected = Reject(r.Row, field, r.ID, "row %d has the same", first)
				} else if len(seen.row) > MaxRecords {
					yield(Record{}, fmt.Errorf("after row %d: a feed has at most %d records; divide it into several", r.Row-1, MaxRecords))
					return
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// ClockTime reads "19:30", "7:30 pm", "7.30pm", "19h30" and "19:30:00" as minutes after midnight.
func ClockTime(s string) (int, bool) {
	s = strings.ToUpper(strings.TrimSpace(s))
	for _, layout := range []string{"15:04", "15:04:05", "3:04 PM", "3:04PM", "3 PM", "3PM", "3.04 PM", "3.04PM", "15.04", "15H04", "3:04 P.M.", "3 P.M."} {
		text := s
		if strings.HasSuffix(layout, "P.M.") { // which package time does not know
			layout, text = strings.ReplaceAll(layout, "P.M.", "PM"), strings.NewReplacer("A.M.", "AM", "P.M.", "PM").Replace(s)
		}
		if t, err := time.Parse(layout, text); err == nil {
			return t.Hour()*60 + t.Minute(), true
		}
	}
	return 0, false
}

// MeetingSummary is what is said of a meeting that says nothing of itself.
func MeetingSummary(g *groupsv1.Group) string {
	said := []string{"Peer support meeting"}
	for _, s := range []string{g.GetVenue().GetLabel(), g.GetVenue().GetAddress().GetLocality()} {
		if s != "" {
			said = append(said, s)
		}
	}
	return strings.Join(said, ", ") + "."
}

// Link reports whether s is a link to the web that a group may hold, and returns its host.
func Link(s string) (host string, ok bool) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.ContainsAny(s, " \"<>\\^`{|}") {
		return "", false
	}
	return u.Hostname(), true
}

// Platform names the service behind a host.
func Platform(host string) string {
	for _, p := range []struct{ domain, name string }{
		{"zoom.us", "Zoom"}, {"zoomgov.com", "Zoom"}, {"meet.google.com", "Google Meet"}, {"teams.microsoft.com", "Microsoft Teams"},
		{"teams.live.com", "Microsoft Teams"}, {"webex.com", "Webex"}, {"gotomeeting.com", "GoToMeeting"}, {"skype.com", "Skype"},
		{"bluejeans.com", "BlueJeans"}, {"freeconferencecall.com", "FreeConferenceCall"}, {"jit.si", "Jitsi"}, {"whereby.com", "Whereby"},
		{"discord.gg", "Discord"}, {"discord.com", "Discord"}, {"facebook.com", "Facebook"}, {"signal.group", "Signal"},
	} {
		if host == p.domain || strings.HasSuffix(host, "."+p.domain) {
			return p.name
		}
	}
	return string([]rune(host)[:min(len([]rune(host)), 80)])
}

// Country returns the ISO 3166-1 alpha-2 code of a country written as a code of two or three letters or a number.
func Country(s string) (string, bool) {
	region, err := language.ParseRegion(s)
	if err != nil || !region.IsCountry() {
		return "", false
	}
	return region.Canonicalize().String(), true
}

// Weekly returns the time of a meeting on some days of every week; start is in minutes after midnight.
func Weekly(days []time.Weekday, start, minutes int, zone string) *groupsv1.Group_RegularTime {
	codes := make([]string, len(days))
	for i, d := range days {
		codes[i] = strings.ToUpper(d.String()[:2])
	}
	return &groupsv1.Group_RegularTime{
		Rrule: "FREQ=WEEKLY;BYDAY=" + strings.Join(codes, ","), StartTime: fmt.Sprintf("%02d:%02d", start/60, start%60),
		Duration: durationpb.New(time.Duration(minutes) * time.Minute), TimeZone: zone,
	}
}

// WeekDays returns the days, Sunday first, of a rule that holds every week without end; false for any other rule.
func WeekDays(t *groupsv1.Group_RegularTime) ([]time.Weekday, bool) {
	var days []time.Weekday
	weekly := false
	for part := range strings.SplitSeq(t.GetRrule(), ";") {
		name, value, _ := strings.Cut(part, "=")
		switch strings.ToUpper(name) {
		case "FREQ":
			weekly = strings.EqualFold(value, "WEEKLY")
		case "INTERVAL":
			if value != "1" {
				return nil, false
			}
		case "WKST": // of no weight without an interval
		case "BYDAY":
			for code := range strings.SplitSeq(strings.ToUpper(value), ",") {
				i := slices.Index([]string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}, code)
				if i < 0 {
					return nil, false
				}
				if !slices.Contains(days, time.Weekday(i)) {
					days = append(days, time.Weekday(i))
				}
			}
		default:
			return nil, false
		}
	}
	if d := t.GetStartDate(); len(days) == 0 && d != nil {
		days = append(days, time.Date(int(d.GetYear()), time.Month(d.GetMonth()), int(d.GetDay()), 0, 0, 0, 0, time.UTC).Weekday())
	}
	slices.Sort(days)
	return days, weekly && len(days) > 0
}

// rows remembers which row had an ID, by the ID's hash, so that long IDs take no more than short ones. That two of a
// million IDs share a hash happens once in 30 million feeds.
type rows struct {
	seed maphash.Seed
	row  map[uint64]uint32
}

func newRows() *rows { return &rows{seed: maphash.MakeSeed(), row: map[uint64]uint32{}} }

// put remembers the ID's row, if none had it, else returns the row that had.
func (r *rows) put(id string, row int) (first uint32) {
	h := maphash.String(r.seed, id)
	if first, ok := r.row[h]; ok {
		return first
	}
	r.row[h] = uint32(min(row, math.MaxUint32))
	return 0
}
