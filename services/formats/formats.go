// Package formats is what the feed formats share: each reads a partner's directory into groups and writes groups as its
// own kind of record, and says what it could not take and what it could not express. Formats are pure: no I/O but the
// reader and writer they are given, no state, no clock.
package formats

import (
	"fmt"
	"io"
	"iter"
	"unicode/utf8"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// Format reads feeds of one kind. Reading has two steps, so that a record which has not changed since the last run is
// never decoded: Records splits, Entry decodes one.
type Format interface {
	// Name is the format as feeds and the command line call it: "hsds", "meeting-guide", "bmlt", "csv". It is also the
	// source_system of the groups that it makes, and the key under extensions of what has no field.
	Name() string

	// Records splits a feed into its records, in order, holding one at a time. A record that cannot be used is yielded
	// with Rejected set. A non-nil error is the last thing yielded: it says, for a person, where and why the rest of the
	// feed cannot be read; [MaxRecord] bounds what is buffered for it.
	Records(feed io.Reader, o Options) iter.Seq2[Record, error]

	// Entry decodes a record; it depends on nothing but its arguments. It returns the group or why it is rejected,
	// never both and never neither.
	Entry(r Record, o Options) (*Entry, []Rejected)
}

// MaxRecord bounds one record, in bytes; a longer one is rejected without being held.
const MaxRecord = 1 << 20

// Options say what a feed leaves open. They are part of what a feed's owner sets.
type Options struct {
	TimeZone string            // IANA zone of records that name none and whose place does not tell it
	Language string            // BCP 47 language of records that name none; "en" if empty
	Columns  map[string]string // csv: field of the group ("title", "venue.address.locality") → heading; empty: found by their headings
}

// Record is one entry of a feed, not yet decoded.
type Record struct {
	Row      int       // in the feed, from 1
	ID       string    // unique in the feed and stable from run to run; the group's external_id
	Raw      []byte    // all that Entry needs; equal bytes (with equal Options) give an equal Entry. Valid until the next record is asked for
	Rejected *Rejected // set: the record cannot be used
	Removed  bool      // the record says that its group is gone; there is nothing to decode
}

// Entry is one group of a feed.
type Entry struct {
	Group  *groupsv1.Group // what the feed tells, with external_id, source_system, regular_times and, in extensions, what has no field
	Closed bool            // the feed says that it takes nobody for the time being
}

// Rejected says why a record, or what part of it, was not taken.
type Rejected struct {
	Row    int    `json:"row"`    // in the feed, from 1
	Field  string `json:"field"`  // as the feed calls it; empty: the record as a whole
	Value  string `json:"value"`  // the first 200 characters
	Reason string `json:"reason"` // a sentence for the feed's developer
}

// Reject returns a rejection, its value shortened.
func Reject(row int, field, value, reason string, a ...any) *Rejected {
	return &Rejected{Row: row, Field: field, Value: clip(value), Reason: fmt.Sprintf(reason, a...)}
}

// clip shortens what a person is shown of a value, and makes it printable.
func clip(s string) string {
	const most = 200
	out := make([]rune, 0, min(len(s), most))
	for _, r := range s {
		if len(out) == most {
			break
		}
		if r == 0 || r == utf8.RuneError {
			r = '\ufffd'
		}
		out = append(out, r)
	}
	return string(out)
}

// Listing is a group as the formats write it: its public part, with the organization that offers it.
type Listing struct {
	Group        *groupsv1.Group          // with availability
	Organization *partnersv1.Organization // name, display name, contact; nil: not known
}

// Loss is something that a format cannot say of a group.
type Loss struct {
	Field   string // of the group, "regular_times[0].rrule"
	Reason  string // a sentence: what the format cannot say, and what stands there instead
	Omitted bool   // the group as a whole is left out
}
