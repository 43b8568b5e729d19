package directory

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"cairn.care/services/chassis/fault"
)

// query is what a request asks for, with what is wrong in it.
type query struct {
	values url.Values
	bad    []*fault.Violation
}

// readQuery reads a request's parameters; one that the call does not take is refused, not passed over.
func readQuery(r *http.Request, takes ...string) *query {
	q := &query{}
	var err error
	if q.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		q.refuse("query", "cannot be read: %s", strings.TrimPrefix(err.Error(), "invalid "))
	}
	for _, key := range slices.Sorted(maps.Keys(q.values)) {
		name := strings.ToValidUTF8(key[:min(len(key), 80)], "\uFFFD")
		switch {
		case !slices.Contains(takes, key) && len(takes) == 0:
			q.refuse(name, "is no parameter of this call; it takes none")
		case !slices.Contains(takes, key):
			q.refuse(name, "is no parameter of this call; it takes %s", strings.Join(takes, ", "))
		case len(q.values[key]) > 1:
			q.refuse(name, "is given twice")
		}
	}
	return q
}

func (q *query) refuse(field, format string, a ...any) {
	q.bad = append(q.bad, fault.Field(field, format, a...))
}

// err is what is wrong with the parameters that were asked for so far.
func (q *query) err() error {
	if q.bad == nil {
		return nil
	}
	return fault.Invalid(q.bad...)
}

// number returns a parameter from 1 to most, or the default.
func (q *query) number(key string, otherwise, most int) int {
	s := q.values.Get(key)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		q.refuse(key, "must be a whole number from 1 to %d", most)
		return otherwise
	}
	return n
}

func (q *query) truth(key string) bool {
	switch s := strings.ToLower(q.values.Get(key)); s {
	case "", "false", "0":
		return false
	case "true", "1":
		return true
	default:
		q.refuse(key, "must be true or false")
		return false
	}
}

// text returns a parameter of at most 200 characters.
func (q *query) text(key string) string {
	s := q.values.Get(key)
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > 200 || strings.ContainsRune(s, 0) {
		q.refuse(key, "must be text of at most 200 characters, in UTF-8")
		return ""
	}
	return s
}

// id returns a parameter that is a UUID, in its canonical form.
func (q *query) id(key string) string {
	s := q.values.Get(key)
	if s == "" {
		return ""
	}
	id, ok := canonical(s)
	if !ok {
		q.refuse(key, "must be a UUID, such as 0192d7a5-0000-7000-8000-00000000000a")
	}
	return id
}

func canonical(s string) (string, bool) {
	id, err := uuid.Parse(s)
	return id.String(), err == nil && len(s) == 36
}

// instant returns a parameter that is an instant or a day, which begins at midnight UTC.
func (q *query) instant(key string) time.Time {
	s := q.values.Get(key)
	if s == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, strings.ReplaceAll(s, " ", "+")); err == nil && t.Year() >= 1 && t.Year() <= 9999 {
			return t
		}
	}
	q.refuse(key, "must be an instant, such as 2026-03-01T12:00:00Z")
	return time.Time{}
}

// jsonOnly refuses another format.
func (q *query) jsonOnly() {
	if s := q.values.Get("format"); s != "" && s != "json" {
		q.refuse("format", "must be json, or left out")
	}
}

// page is a page of an HSDS API.
type page struct {
	TotalItems int  `json:"total_items"`
	TotalPages int  `json:"total_pages"`
	PageNumber int  `json:"page_number"`
	Size       int  `json:"size"`
	FirstPage  bool `json:"first_page"`
	LastPage   bool `json:"last_page"`
	Empty      bool `json:"empty"`
	Contents   any  `json:"contents"`
}

// pageOf returns the page that a caller asked for, holding what stands on it.
func pageOf[T any](s span, total int, contents []T) page {
	pages := (total + s.size - 1) / s.size
	if contents == nil {
		contents = []T{}
	}
	return page{
		TotalItems: total, TotalPages: pages, PageNumber: s.number, Size: len(contents), FirstPage: s.number == 1, LastPage: s.number >= pages,
		Empty: len(contents) == 0, Contents: contents,
	}
}

// span is which page is asked for.
type span struct {
	number, size int
}

func (s span) skip() int { return (s.number - 1) * s.size }

// part returns what of a list stands on the page.
func part[T any](s span, list []T) []T {
	from := min(s.skip(), len(list))
	return list[from:min(from+s.size, len(list))]
}

const (
	maxPage     = 100_000
	defaultSize = 50
	maxSize     = 1000
	maxFullSize = 200 // of services with all their parts
)

// span reads page and per_page.
func (q *query) span(full bool) span {
	most := maxSize
	if full {
		most = maxFullSize
	}
	return span{q.number("page", 1, maxPage), q.number("per_page", defaultSize, most)}
}

// missing says that there is nothing of that kind with that id.
func missing(kind, id string) error { return fault.NotFound(fmt.Sprintf("%s/%s", kind, id)) }
