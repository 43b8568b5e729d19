package formats

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth bounds how deep a record of a JSON feed is nested.
const MaxDepth = 64

// JSON says where the records of a JSON feed stand.
type JSON struct {
	// Paths are where an object at the top has its array of records, such as "meetings" or "response.data"; the first
	// one that comes is taken. An array at the top is always taken.
	Paths []string

	// Single takes an object at the top that has none of the paths as the one record of the feed.
	Single bool

	// Want ends the sentence "this is no …": what the feed should have been.
	Want string
}

// Split yields the records of a feed, of which it holds one at a time. Each is valid JSON in UTF-8 of at most [MaxRecord]
// bytes, nested at most [MaxDepth] deep, or has Rejected set; ID is left to the caller, and Raw is valid until the next
// record is asked for. A non-nil error comes last.
func (j JSON) Split(feed io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		text, err := JSONText(feed)
		if err != nil {
			yield(Record{}, err)
			return
		}
		s := &splitter{JSON: j, window: window{r: text}, yield: yield}
		if err := s.feed(); err != nil && !errors.Is(err, errEnough) {
			yield(Record{}, s.explain(err))
		}
	}
}

var (
	errEnough = errors.New("the consumer has enough")
	errShape  = errors.New("not the shape that is wanted")
)

// splitter walks through one feed.
type splitter struct {
	JSON
	window

	yield func(Record, error) bool
	row   int  // begun
	found bool // the array
}

// explain says for a person where and why a feed cannot be read on.
func (s *splitter) explain(err error) error {
	switch {
	case errors.Is(err, errShape):
		return fmt.Errorf("this is no %s", s.Want)
	case errors.Is(err, io.ErrUnexpectedEOF) && s.offset() == 0:
		return errors.New("the feed is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the feed ends in the middle, after row %d, at byte %d: was it cut off?", max(s.row-s.begun, 0), s.offset())
	}
	return fmt.Errorf("after row %d, at byte %d: %w", max(s.row-s.begun, 0), s.offset(), err)
}

func (s *splitter) feed() error {
	c, err := s.next()
	if err != nil {
		return err
	}
	switch c {
	case '[':
		s.pos++
		if err := s.rows(); err != nil {
			return err
		}
	case '{':
		if s.Single {
			s.hold()
		}
		if err := s.object("", 1); err != nil {
			return err
		}
		if !s.found {
			if err := s.single(); err != nil {
				return err
			}
		}
	default:
		return errShape
	}
	if _, err := s.next(); err == nil {
		return errors.New("more follows after the feed's end")
	} else if !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return nil
}

// single yields the object that was held as the feed's one record.
func (s *splitter) single() error {
	if !s.Single {
		return errShape
	}
	s.row = 1
	raw, long := s.release()
	depth := 0
	if !long {
		var err error
		if depth, err = (&window{buf: raw, err: io.ErrUnexpectedEOF}).value(); err != nil {
			return err
		}
	}
	return s.record(raw, long, depth)
}

// object looks through an object for the array; at is its path.
func (s *splitter) object(at string, depth int) error {
	s.pos++ // the brace
	for first := true; ; first = false {
		c, err := s.next()
		if err != nil {
			return err
		}
		if c == '}' {
			s.pos++
			return nil
		}
		if !first {
			if c != ',' {
				return fmt.Errorf("%q stands where a comma or } should", c)
			}
			s.pos++
			if c, err = s.next(); err != nil {
				return err
			}
		}
		if c != '"' {
			return fmt.Errorf("%q stands where a key in double quotes should", c)
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		if c, err = s.next(); err != nil {
			return err
		}
		if c != ':' {
			return fmt.Errorf("%q stands where a colon should", c)
		}
		s.pos++
		if c, err = s.next(); err != nil {
			return err
		}
		if err := s.member(strings.TrimPrefix(at+"."+key, "."), c, depth); err != nil {
			return err
		}
	}
}

// member takes, descends into or skips a value that begins with c.
func (s *splitter) member(path string, c byte, depth int) error {
	switch {
	case s.found:
	case slices.Contains(s.Paths, path):
		if c != '[' {
			return errShape
		}
		s.forget()
		s.found = true
		s.pos++
		return s.rows()
	case c == '{' && depth < MaxDepth && slices.ContainsFunc(s.Paths, func(p string) bool { return strings.HasPrefix(p, path+".") }):
		return s.object(path, depth+1)
	}
	_, err := s.value()
	return err
}

// rows yields what stands in an array, up to its end.
func (s *splitter) rows() error {
	for first := true; ; first = false {
		c, err := s.next()
		if err != nil {
			return err
		}
		if c == ']' {
			s.pos++
			return nil
		}
		if !first {
			if c != ',' {
				return fmt.Errorf("%q stands where a comma or ] should", c)
			}
			s.pos++
			if _, err = s.next(); err != nil {
				return err
			}
		}
		s.row++
		s.begun = 1
		s.hold()
		depth, err := s.value()
		if err != nil {
			return err
		}
		s.begun = 0
		raw, long := s.release()
		if err := s.record(raw, long, depth); err != nil {
			return err
		}
	}
}

// record checks and yields one record.
func (s *splitter) record(raw []byte, long bool, depth int) error {
	r, shown := Record{Row: s.row, Raw: raw}, string(raw[:min(len(raw), 1000)])
	switch {
	case long:
		r.Rejected = Reject(s.row, "", shown, "the record is longer than %d bytes", MaxRecord)
	case depth > MaxDepth:
		r.Rejected = Reject(s.row, "", shown, "the record is nested deeper than %d levels", MaxDepth)
	default:
		if !jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true)) {
			r.Rejected = notJSON(s.row, raw)
		}
	}
	if r.Rejected != nil {
		r.Raw = nil
	}
	if !s.yield(r, nil) {
		return errEnough
	}
	return nil
}
