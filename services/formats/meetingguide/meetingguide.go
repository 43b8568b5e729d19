// Package meetingguide reads Meeting Guide feeds: the JSON in which support meetings are published
// (https://github.com/code4recovery/spec). It is pure: no I/O but its reader, no state.
//
// Each row of a feed becomes one entry, found again by its slug, or is rejected with the field, the value and the reason.
// So rows in = entries + rejected, always, and a bad row never stops the others.
package meetingguide

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// SourceSystem is the source_system of groups that come from a Meeting Guide feed.
const SourceSystem = "meeting-guide"

// Bounds on what is read.
const (
	DefaultMaxBytes = 256 << 20 // of a feed
	maxRow          = 64 << 10  // bytes of a row
	maxDepth        = 16        // of nesting within a row
	maxValue        = 200       // characters of a rejected value that are told
)

// Options say what a feed leaves open.
type Options struct {
	TimeZone string // IANA zone of rows that name none and whose place does not tell it
	Language string // BCP 47 language of rows that name none; "en" if empty
	MaxBytes int64  // a longer feed is refused; DefaultMaxBytes if 0
}

// Feed is what was read.
type Feed struct {
	Rows     int // in the feed: len(Entries) + len(Rejected)
	Entries  []Entry
	Rejected []Rejected
}

// Entry is one meeting.
type Entry struct {
	Row   int             // in the feed, from 1
	Group *groupsv1.Group // with external_id, source_system and, in extensions, what has no field of its own
	Times *Weekly         // nil: the meeting is held by appointment

	// Closed says that the place is closed for the time being and there is no way to join from afar.
	Closed bool
}

// Weekly is when a meeting is held, by the wall clock of its zone.
type Weekly struct {
	Days    []time.Weekday // distinct, Sunday first
	Start   int            // minutes after midnight
	Minutes int            // how long
	Zone    string         // IANA
}

// Rejected is a row that was not taken.
type Rejected struct {
	Row    int    `json:"row"` // in the feed, from 1
	Field  string `json:"field"`
	Value  string `json:"value"` // the first 200 characters
	Reason string `json:"reason"`
}

// Parse reads a feed: an array of meetings, or an object that has one under "meetings", "data", "items" or "results".
// The error tells why nothing of the feed can be used, e.g. that it ends in the middle.
func Parse(r io.Reader, o Options) (*Feed, error) {
	if o.Language == "" {
		o.Language = "en"
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	limited := &io.LimitedReader{R: r, N: o.MaxBytes + 1}
	in := bufio.NewReader(limited)
	if bom, err := in.Peek(3); err == nil && string(bom) == "\ufeff" {
		if _, err := in.Discard(3); err != nil {
			return nil, err
		}
	}
	p := &parser{options: o, feed: &Feed{}, slugs: map[string]int{}}
	err := p.parse(json.NewDecoder(in))
	if limited.N <= 0 {
		return nil, fmt.Errorf("the feed is longer than %d bytes", o.MaxBytes)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("the feed ends in the middle, after row %d: was it cut off?", p.feed.Rows)
	}
	if err != nil {
		return nil, fmt.Errorf("after row %d: %w", p.feed.Rows, err)
	}
	return p.feed, nil
}

type parser struct {
	options Options
	feed    *Feed
	slugs   map[string]int // slug → row
}

var errNoFeed = errors.New(`this is no Meeting Guide feed: want a JSON array of meetings, or an object with one under "meetings"`)

func (p *parser) parse(d *json.Decoder) error {
	open, err := d.Token()
	if err != nil {
		return err
	}
	switch open {
	case json.Delim('['):
		if err := p.rows(d); err != nil {
			return err
		}
	case json.Delim('{'):
		if err := p.object(d); err != nil {
			return err
		}
	default:
		return errNoFeed
	}
	if _, err := d.Token(); err == nil {
		return errors.New("more follows after the feed's end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// object reads a feed object, whose meetings may stand under one of some keys.
func (p *parser) object(d *json.Decoder) error {
	found := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if name, ok := key.(string); ok && !found && slices.Contains([]string{"meetings", "data", "items", "results"}, name) {
			open, err := d.Token()
			if err != nil {
				return err
			}
			if open != json.Delim('[') {
				return errNoFeed
			}
			if err := p.rows(d); err != nil {
				return err
			}
			found = true
			continue
		}
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if !found {
		return errNoFeed
	}
	return nil
}

// rows reads meetings up to the array's end.
func (p *parser) rows(d *json.Decoder) error {
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		p.feed.Rows++
		p.row(raw)
	}
	_, err := d.Token()
	return err
}

// row takes or rejects one meeting.
func (p *parser) row(raw json.RawMessage) {
	n := p.feed.Rows
	reject := func(field, value, reason string) {
		p.feed.Rejected = append(p.feed.Rejected, Rejected{Row: n, Field: field, Value: clip(value, maxValue), Reason: reason})
	}
	switch {
	case len(raw) > maxRow:
		reject("", string(raw[:maxValue]), fmt.Sprintf("the row is longer than %d bytes", maxRow))
		return
	case !utf8.Valid(raw):
		reject("", string(bytes.ToValidUTF8(raw, []byte("\ufffd"))), "the row is not written in UTF-8")
		return
	case depth(raw) > maxDepth:
		reject("", string(raw), fmt.Sprintf("the row is nested deeper than %d levels", maxDepth))
		return
	}
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil || fields == nil {
		reject("", string(raw), "a meeting is a JSON object")
		return
	}
	m := &meeting{fields: fields, used: map[string]bool{}, options: p.options}
	entry := m.entry()
	if m.rejected != nil {
		reject(m.rejected.Field, m.rejected.Value, m.rejected.Reason)
		return
	}
	slug := entry.Group.GetExternalId()
	if first, ok := p.slugs[slug]; ok {
		reject("slug", slug, fmt.Sprintf("row %d has the same slug", first))
		return
	}
	p.slugs[slug] = n
	entry.Row = n
	p.feed.Entries = append(p.feed.Entries, *entry)
}

// depth returns how deep JSON is nested.
func depth(raw []byte) int {
	deepest, now, quoted := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// clip cuts text to n characters.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
