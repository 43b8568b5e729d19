package csv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"cairn.care/services/formats"
)

// maxCells bounds the width of a row.
const maxCells = 1000

// table reads the rows of a CSV text (RFC 4180, with any delimiter), of which it holds one at a time. Each row in whose
// bytes there is no UTF-8 it takes for Windows-1252, as old spreadsheets write.
type table struct {
	in        *bufio.Reader
	delimiter byte
	line      int // at which the last row began, from 1
	next      int // at which the next one begins
	text      []byte
	ends      []int // of the cells in text
}

// errRow says why one row cannot be used; the next one can.
type errRow struct{ reason string }

func (e errRow) Error() string { return e.reason }

// newTable finds out the encoding and the delimiter.
func newTable(feed io.Reader) (*table, error) {
	in, err := formats.Text(feed)
	if err != nil {
		return nil, err
	}
	head, err := in.Peek(in.Size())
	if err != nil && !errors.Is(err, io.EOF) && len(head) == 0 {
		return nil, err
	}
	if len(bytes.TrimSpace(head)) == 0 && errors.Is(err, io.EOF) {
		return nil, errors.New("the feed is empty")
	}
	t := &table{in: in, delimiter: delimiter(head), next: 1}
	if bytes.HasPrefix(head, []byte("sep=")) { // how spreadsheets are told it
		t.next = 2
		end := bytes.IndexByte(head, '\n') + 1
		if end == 0 {
			end = len(head)
		}
		if len(bytes.TrimSpace(head[:end])) > len("sep=") {
			t.delimiter = head[len("sep=")]
		}
		if _, err := in.Discard(end); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// delimiter finds out what stands between cells: of comma, semicolon, tab and bar the one that is most often in the first
// line that has any beside words.
func delimiter(head []byte) byte {
	const candidates = ",;\t|"
	var count [len(candidates)]int
	quoted, words, lines := false, false, 0
	for _, c := range head {
		i := strings.IndexByte(candidates, c)
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\n' || c == '\r':
			if words && count != [len(candidates)]int{} || lines > 100 {
				return most(candidates, count[:])
			}
			count, words = [len(candidates)]int{}, false
			lines++
		case i >= 0:
			count[i]++
		case c != ' ':
			words = true
		}
	}
	return most(candidates, count[:])
}

func most(candidates string, count []int) byte {
	best := 0
	for i, n := range count {
		if n > count[best] {
			best = i
		}
	}
	return candidates[best]
}

// row returns the cells of the next row; io.EOF after the last, an errRow for one that cannot be used.
func (t *table) row() ([]string, error) {
	t.line, t.text, t.ends = t.next, t.text[:0], t.ends[:0]
	fault, long, err := t.scan()
	switch {
	case err != nil:
		return nil, err
	case long:
		return nil, errRow{fmt.Sprintf("the row is longer than %d bytes; is a quote missing?", formats.MaxRecord)}
	case fault != "":
		return nil, errRow{fault}
	case bytes.IndexByte(t.text, 0) >= 0:
		return nil, errRow{"the row holds the character NUL"}
	case len(t.text) == 0:
		return nil, nil
	}
	whole := string(t.text)
	utf := utf8.ValidString(whole)
	cells := make([]string, len(t.ends))
	start := 0
	for i, end := range t.ends {
		cells[i] = whole[start:end]
		if !utf {
			var err error
			if cells[i], err = charmap.Windows1252.NewDecoder().String(cells[i]); err != nil {
				return nil, errRow{fmt.Sprintf("the row is written in no encoding that is known: %v", err)}
			}
		}
		start = end
	}
	return cells, nil
}

// scan reads the bytes of a row and where its cells end.
func (t *table) scan() (fault string, long bool, err error) {
	const (
		begin  = iota // of a cell
		plain         // in a cell without quotes
		quoted        // between quotes
		closed        // after the closing quote
	)
	state, started := begin, false
	for {
		buf, err := t.buffered()
		if errors.Is(err, io.EOF) && !started {
			return "", false, io.EOF
		}
		if errors.Is(err, io.EOF) {
			if state == quoted {
				return "", false, fmt.Errorf("the feed ends within quotes that began in the row at line %d: was it cut off, or is a quote missing?", t.line)
			}
			t.ends = append(t.ends, len(t.text))
			return fault, long, nil
		}
		if err != nil {
			return "", false, fmt.Errorf("at line %d: %w", t.next, err)
		}
		started = true
		used := 0
		for ended := false; used < len(buf) && !ended; {
			c := buf[used]
			switch {
			case state == quoted && c != '"':
				run := bytes.IndexByte(buf[used:], '"')
				if run < 0 {
					run = len(buf) - used
				}
				t.next += bytes.Count(buf[used:used+run], []byte{'\n'})
				long = t.put(buf[used:used+run]) || long
				used += run
				continue
			case state == quoted:
				state = closed
			case c == '\n':
				t.next++
				ended = true
			case c == '\r':
				if used+1 == len(buf) { // is a line feed behind it?
					if err := t.discard(used); err != nil {
						return "", false, err
					}
					used = 0
					if buf, err = t.in.Peek(2); err != nil && !errors.Is(err, io.EOF) {
						return "", false, fmt.Errorf("at line %d: %w", t.next, err)
					}
				}
				if used+1 < len(buf) && buf[used+1] == '\n' {
					break
				}
				t.next++ // the old Macintosh's end of a line
				ended = true
			case c == t.delimiter:
				state = begin
				if t.ends = append(t.ends, len(t.text)); len(t.ends) > maxCells {
					fault = tooMany
					t.ends = t.ends[:maxCells]
				}
			case c == '"' && state != plain:
				if state == closed {
					long = t.put(buf[used:used+1]) || long
				}
				state = quoted
			case state == closed:
				if c != ' ' && c != '\t' {
					fault = "text follows the closing quote of a cell; quotes within quotes are doubled"
				}
			default:
				state = plain
				run := 1
				for used+run < len(buf) && buf[used+run] != t.delimiter && buf[used+run] != '\n' && buf[used+run] != '\r' {
					run++
				}
				long = t.put(buf[used:used+run]) || long
				used += run
				continue
			}
			used++
			if ended {
				t.ends = append(t.ends, len(t.text))
				return fault, long, t.discard(used)
			}
		}
		if err := t.discard(used); err != nil {
			return "", false, err
		}
	}
}

// tooMany says that a row has more cells than any table.
var tooMany = fmt.Sprintf("the row has more than %d cells", maxCells)

// buffered returns what is there, at least a byte.
func (t *table) buffered() ([]byte, error) {
	if t.in.Buffered() == 0 {
		if _, err := t.in.Peek(1); err != nil {
			return nil, err
		}
	}
	return t.in.Peek(t.in.Buffered())
}

func (t *table) discard(n int) error {
	_, err := t.in.Discard(n)
	return err
}

// put keeps bytes of the row, and reports whether it is longer than can be.
func (t *table) put(b []byte) (long bool) {
	if len(t.text)+len(b) > formats.MaxRecord {
		return true
	}
	t.text = append(t.text, b...)
	return false
}
