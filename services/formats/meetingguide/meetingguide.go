// Package meetingguide reads and writes Meeting Guide feeds: the JSON in which support meetings are published
// (https://github.com/code4recovery/spec).
//
// Each row of a feed becomes one entry, found again by its slug, or is rejected with the field, the value and the reason.
package meetingguide

import (
	"html"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"cairn.care/services/formats"
)

const (
	name    = "meeting-guide"
	maxSlug = 200       // characters
	partOf  = "part_of" // of a row of ours: the slug of the row that is the group
)

// Format is Meeting Guide JSON: an array of meetings, or an object that has one under "meetings", "data", "items" or
// "results".
type Format struct{}

var _ formats.Format = Format{}

// Name returns "meeting-guide".
func (Format) Name() string { return name }

// Records splits a feed.
func (Format) Records(feed io.Reader, _ formats.Options) iter.Seq2[formats.Record, error] {
	j := formats.JSON{
		Paths: []string{"meetings", "data", "items", "results"},
		Want:  `Meeting Guide feed: want a JSON array of meetings, or an object with one under "meetings"`,
	}
	return formats.Distinct(func(yield func(formats.Record, error) bool) {
		for r, err := range j.Split(feed) {
			if err == nil && r.Rejected == nil {
				if further := identify(&r); further && r.Rejected == nil {
					continue // a further time of the group in a row before it, which has all of them
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}, "slug")
}

// identify sets the record's ID from its slug, and reports whether the record is a part of another.
func identify(r *formats.Record) (further bool) {
	var slug string
	if !formats.Members(r.Raw, func(name, value []byte) bool {
		switch {
		case formats.Named(name, "slug"):
			slug, _ = formats.MemberText(value)
		case formats.Named(name, partOf):
			_, further = formats.MemberText(value)
		}
		return true
	}) {
		r.Rejected = formats.Reject(r.Row, "", string(r.Raw[:min(len(r.Raw), 1000)]), "a meeting is a JSON object")
		return false
	}
	slug = strings.TrimSpace(html.UnescapeString(slug))
	switch {
	case slug == "":
		r.Rejected = formats.Reject(r.Row, "slug", "", "is missing: without it a later import could not find the meeting again")
	case utf8.RuneCountInString(slug) > maxSlug:
		r.Rejected = formats.Reject(r.Row, "slug", slug, "is longer than %d characters", maxSlug)
	case strings.ContainsRune(slug, 0):
		r.Rejected = formats.Reject(r.Row, "slug", slug, "holds the character NUL")
	}
	r.ID = slug
	return further
}

// Entry decodes a row.
func (Format) Entry(r formats.Record, o formats.Options) (*formats.Entry, []formats.Rejected) {
	m := &meeting{Object: formats.NewObject(r), options: o}
	var e *formats.Entry
	if m.Rejected == nil {
		e = m.entry()
	}
	if m.Rejected != nil {
		return nil, []formats.Rejected{*m.Rejected}
	}
	return e, nil
}
