// Package csv reads groups from the tables that people keep in spreadsheets, and writes them as such a table. The columns
// are found by their headings, or by a map; delimiter and encoding are found out.
package csv

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"cairn.care/services/formats"
)

const (
	name       = "csv"
	maxPreface = 20 // rows above the headings
)

// Format is a table with a row of headings.
type Format struct{}

var _ formats.Format = Format{}

// Name returns "csv".
func (Format) Name() string { return name }

// Records splits a table into the rows below its headings, which are counted from 1. A row's ID is its id column; without
// one, it is made of the title and the place.
func (Format) Records(feed io.Reader, o formats.Options) iter.Seq2[formats.Record, error] {
	var named string // title of the row, where there is no column for ids
	distinct := formats.Distinct(func(yield func(formats.Record, error) bool) {
		if err := CheckColumns(o.Columns); err != nil {
			yield(formats.Record{}, err)
			return
		}
		t, err := newTable(feed)
		if err != nil {
			yield(formats.Record{}, err)
			return
		}
		l, err := headings(t, o.Columns)
		if err != nil {
			yield(formats.Record{}, err)
			return
		}
		var raw []byte
		for row := 0; ; {
			cells, err := t.row()
			if errors.Is(err, io.EOF) {
				return
			}
			var refused errRow
			if err != nil && !errors.As(err, &refused) {
				yield(formats.Record{}, fmt.Errorf("after row %d: %w", row, err))
				return
			}
			if err == nil && blank(cells) {
				continue
			}
			row++
			r := formats.Record{Row: row}
			switch extra := len(cells) - len(l.headings); {
			case err != nil:
				r.Rejected = formats.Reject(row, "", string(t.text[:min(len(t.text), 1000)]), "line %d: %v", t.line, refused)
			case extra < 0 || !blank(cells[len(l.headings):]):
				r.Rejected = formats.Reject(row, "", strings.Join(cells, string(t.delimiter)), "line %d: the row has %d cells, but there are %d headings", t.line, len(cells), len(l.headings))
			default:
				raw = l.encode(raw[:0], cells)
				r.Raw = raw
				r.ID, named, r.Rejected = l.id(row, cells)
			}
			if !yield(r, nil) {
				return
			}
		}
	}, "id")
	return func(yield func(formats.Record, error) bool) {
		for r, err := range distinct {
			if r.Rejected != nil && named != "" && r.ID != "" {
				r.Rejected = formats.Reject(r.Row, "title", named, "%s title, place and format, by which rows are known without a column id. If it is another group, give both rows an id in "+
					"such a column; if it is one group that meets on several days, write them in one row: Tuesday; Thursday", r.Rejected.Reason)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// headings reads up to the row of headings, which may stand below blank rows and a title.
func headings(t *table, byPath map[string]string) (*layout, error) {
	var first []string
	for range maxPreface {
		cells, err := t.row()
		var refused errRow
		if errors.As(err, &refused) {
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		l, ok, err := newLayout(cells, byPath)
		if ok || err != nil {
			return l, err
		}
		if first == nil && !blank(cells) {
			first = cells
		}
	}
	if title := byPath["title"]; title != "" {
		return nil, fmt.Errorf("there is no row of headings: the column map says that title stands under %q, and none of the first %d rows has that; the first row is %.500q", title, maxPreface, first)
	}
	return nil, fmt.Errorf("there is no row of headings: none of the first %d rows has a column %q, nor does a column map say which is it; the first row is %.500q", maxPreface, "title", first)
}

func blank(cells []string) bool {
	for _, c := range cells {
		if strings.TrimSpace(c) != "" {
			return false
		}
	}
	return true
}

// encode writes what a row says as a JSON object: by path what has one, followed by "=" and the heading if the path is
// guessed from that, by "=" and the heading what has none.
func (l *layout) encode(to []byte, cells []string) []byte {
	to = append(to, '{')
	for i, c := range cells[:len(l.headings)] {
		c = strings.TrimSpace(bare(c))
		if c == "" {
			continue
		}
		key := l.paths[i]
		if key == "" {
			key = "=" + l.headings[i]
			if l.headings[i] == "" {
				key = fmt.Sprintf("=column %d", i+1)
			}
		} else if l.guessed[i] {
			key += "=" + l.headings[i]
		}
		if len(to) > 1 {
			to = append(to, ',')
		}
		to = quote(to, key)
		to = append(to, ':')
		to = quote(to, c)
	}
	return append(to, '}')
}

func quote(to []byte, s string) []byte {
	out, err := jsontext.AppendQuote(to, s)
	if err != nil { // not UTF-8, which rows are
		return append(to, `""`...)
	}
	return out
}

// id returns the row's id, and its title if there is no column for ids.
func (l *layout) id(row int, cells []string) (id, named string, rejected *formats.Rejected) {
	said, hasColumn := "", false
	of := fnv.New128a()
	title := ""
	for i, p := range l.paths {
		c := strings.TrimSpace(bare(cells[i]))
		switch p {
		case pathID:
			said, hasColumn = c, true
		case "title":
			title = c
			fallthrough
		case "venue.label", "venue.address.address_lines", "venue.address.locality", "venue.address.postal_code", "format":
			of.Write([]byte(p + "=" + plain(c) + "\n"))
		}
	}
	switch {
	case hasColumn && said == "":
		return "", "", formats.Reject(row, "id", "", "is missing: without it a later import could not find the group again")
	case utf8.RuneCountInString(said) > 200:
		return "", "", formats.Reject(row, "id", said, "is longer than 200 characters")
	case hasColumn:
		return said, "", nil
	case title == "":
		return "", "", formats.Reject(row, "title", "", "is missing")
	}
	return fmt.Sprintf("%x", of.Sum(nil)), title, nil
}

// formulas begin with one of these, in one spreadsheet or another.
const formulas = "=+-@\t\r\n＝＋－＠"

// guarded returns a cell's text so that no spreadsheet takes it for a formula.
func guarded(s string) string {
	if strings.ContainsAny(begin(strings.TrimLeft(s, "'")), formulas) && !number(s) {
		return "'" + s
	}
	return s
}

// bare undoes guarded.
func bare(s string) string {
	if rest, ok := strings.CutPrefix(s, "'"); ok && strings.ContainsAny(begin(strings.TrimLeft(rest, "'")), formulas) {
		return rest
	}
	return s
}

func begin(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

// number reports whether a text is a plain negative number.
func number(s string) bool {
	digits, ok := strings.CutPrefix(s, "-")
	return ok && digits != "" && strings.Trim(digits, "0123456789.") == "" && strings.Count(digits, ".") < 2 && digits[0] != '.'
}
