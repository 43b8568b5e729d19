package formats

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Text reads a text in UTF-8 or UTF-16, with or without a byte order mark, as UTF-8 without one. What is no text at all it
// refuses with a sentence for the feed's owner; that the bytes are UTF-8, it leaves to the caller.
func Text(feed io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReaderSize(feed, chunk)
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	utf16 := func(order unicode.Endianness) (*bufio.Reader, error) {
		return bufio.NewReaderSize(unicode.UTF16(order, unicode.UseBOM).NewDecoder().Reader(in), chunk), nil
	}
	switch {
	case bytes.HasPrefix(head, []byte{0, 0, 0xfe, 0xff}), bytes.HasPrefix(head, []byte{0xff, 0xfe, 0, 0}):
		return nil, errors.New("the feed is written in UTF-32; write it in UTF-8")
	case bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}):
		_, err := in.Discard(3)
		return in, err
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return utf16(unicode.BigEndian)
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return utf16(unicode.LittleEndian)
	case len(head) == 4 && head[0] == 0 && head[1] != 0 && head[2] == 0:
		return utf16(unicode.BigEndian)
	case len(head) == 4 && head[0] != 0 && head[1] == 0 && head[3] == 0:
		return utf16(unicode.LittleEndian)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return nil, errors.New("the feed is compressed with gzip; send it with Content-Encoding: gzip, or unpack it first")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return nil, errors.New("the feed is a ZIP archive, or a spreadsheet; unpack it, or save the sheet as CSV")
	case bytes.HasPrefix(head, []byte("%PDF")):
		return nil, errors.New("the feed is a PDF document")
	}
	return in, nil
}

// JSONText is [Text], for what should be JSON.
func JSONText(feed io.Reader) (io.Reader, error) {
	in, err := Text(feed)
	if err != nil {
		return nil, err
	}
	head, err := in.Peek(in.Buffered())
	if err != nil {
		return nil, err
	}
	if s := strings.TrimSpace(string(head)); strings.HasPrefix(s, "<") {
		return nil, errors.New("the feed is a web page or XML, not JSON: does its address ask for a password, or has it moved?")
	}
	return in, nil
}

// notJSON says why a record is no JSON.
func notJSON(row int, raw []byte) *Rejected {
	shown := string(raw[:min(len(raw), 1000)])
	if !utf8.Valid(raw) {
		at := 0
		for at < len(raw) {
			r, n := utf8.DecodeRune(raw[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return Reject(row, "", shown, "the record is not written in UTF-8: byte %#02x at its byte %d; is it Latin-1?", raw[at], at+1)
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))
	_, err := d.ReadValue()
	if err == nil {
		_, err = d.ReadToken() // what comes after it
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return Reject(row, "", shown, "the record is no JSON: %v, at its byte %d", syntactic.Err, syntactic.ByteOffset+1)
	}
	return Reject(row, "", shown, "the record is no JSON: %v", err)
}

// Members calls each with the top-level members of a JSON object that [JSON.Split] yielded, until it returns false: the
// name as it is written, with its quotes, and the value. It returns false if raw is no object.
func Members(raw []byte, each func(name, value []byte) bool) bool {
	w := window{buf: raw, err: io.ErrUnexpectedEOF}
	if c, err := w.next(); err != nil || c != '{' {
		return false
	}
	w.pos++
	for {
		c, err := w.next()
		if err != nil || c == '}' {
			return err == nil
		}
		if c == ',' {
			w.pos++
			continue
		}
		start := w.pos
		if _, err := w.value(); err != nil {
			return false
		}
		name := raw[start:w.pos]
		if _, err := w.next(); err != nil { // the colon
			return false
		}
		w.pos++
		if _, err := w.next(); err != nil {
			return false
		}
		start = w.pos
		if _, err := w.value(); err != nil {
			return false
		}
		if !each(name, raw[start:w.pos]) {
			return true
		}
	}
}

// Member returns the value of a top-level member of a JSON object, as [MemberText]. It returns "", false if there is none.
func Member(raw []byte, name string) (string, bool) {
	var out string
	var ok bool
	Members(raw, func(n, v []byte) bool {
		if Named(n, name) {
			out, ok = MemberText(v)
		}
		return true // the last of equal names holds, as for decoders
	})
	return out, ok
}

// Named reports whether a name that [Members] has found is this one.
func Named(quoted []byte, name string) bool {
	return len(quoted) == len(name)+2 && string(quoted[1:len(quoted)-1]) == name
}

// MemberText returns a value that [Members] has found as text: of a string what it says, of a number its digits. It returns "", false
// if it is of another kind.
func MemberText(v []byte) (string, bool) {
	switch v[0] {
	case '"':
		b, err := jsontext.AppendUnquote(nil, v)
		return string(b), err == nil
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return string(v), true
	}
	return "", false
}
