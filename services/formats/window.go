package formats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const chunk = 64 << 10

// window is the part of a JSON text that is in memory. While a value is held, it is kept whole up to [MaxRecord] bytes; of
// a longer one only the beginning is.
type window struct {
	r    io.Reader
	buf  []byte
	pos  int   // of the next byte in buf
	gone int64 // bytes before buf
	err  error // of the reader

	holding bool
	start   int // of the held value in buf
	long    bool
	head    []byte // of a held value that was too long
	begun   int    // 1 while a row is being read
}

func (w *window) offset() int64 { return w.gone + int64(w.pos) }

// hold begins to keep what is read.
func (w *window) hold() { w.holding, w.start, w.long = true, w.pos, false }

// release returns what was read since hold, valid until the next read, and whether it is the beginning only.
func (w *window) release() ([]byte, bool) {
	w.holding = false
	if w.long {
		return w.head, true
	}
	raw := w.buf[w.start:w.pos]
	return raw, len(raw) > MaxRecord
}

// forget stops keeping.
func (w *window) forget() { w.holding = false }

// more reads on; all of buf up to pos is dropped, but for what is held. io.ErrUnexpectedEOF: there is nothing more.
func (w *window) more() error {
	if w.err != nil {
		return w.err
	}
	keep := w.pos
	if w.holding && !w.long {
		keep = w.start
	}
	if w.holding && !w.long && w.pos-w.start > MaxRecord {
		w.head = append(w.head[:0], w.buf[w.start:w.start+1000]...)
		w.long, keep = true, w.pos
	}
	rest := len(w.buf) - keep
	switch {
	case rest > 0 && cap(w.buf)-len(w.buf) >= chunk/16: // room behind: a reader that gives single bytes must not make us move all each time
		keep, rest = 0, len(w.buf)
	case cap(w.buf)-rest < chunk:
		grown := make([]byte, rest, max(2*cap(w.buf), rest+2*chunk))
		copy(grown, w.buf[keep:])
		w.buf = grown
	default:
		copy(w.buf[:rest], w.buf[keep:])
		w.buf = w.buf[:rest]
	}
	w.gone += int64(keep)
	w.pos -= keep
	w.start -= keep
	for empty := 0; ; empty++ {
		n, err := w.r.Read(w.buf[rest:cap(w.buf)])
		w.buf = w.buf[:rest+n]
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err == nil && n == 0 && empty > 100 {
			err = io.ErrNoProgress
		}
		w.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// next returns the next byte that is no white space, without passing it.
func (w *window) next() (byte, error) {
	for {
		for w.pos < len(w.buf) {
			switch c := w.buf[w.pos]; c {
			case ' ', '\t', '\n', '\r':
				w.pos++
			default:
				return c, nil
			}
		}
		if err := w.more(); err != nil {
			return 0, err
		}
	}
}

// key passes a text and returns it as it is written, without its quotes; a long one it cuts short.
func (w *window) key() (string, error) {
	const most = 100
	var out []byte
	w.pos++
	for {
		for w.pos < len(w.buf) {
			c := w.buf[w.pos]
			w.pos++
			if c == '"' {
				return string(out), nil
			}
			if len(out) < most {
				out = append(out, c)
			}
			if c == '\\' {
				if err := w.skip(); err != nil {
					return "", err
				}
			}
		}
		if err := w.more(); err != nil {
			return "", err
		}
	}
}

// skip passes one byte.
func (w *window) skip() error {
	if w.pos == len(w.buf) {
		if err := w.more(); err != nil {
			return err
		}
	}
	w.pos++
	return nil
}

// value passes the value at pos and returns how deep it is nested. It finds the end only: whether what is between is JSON,
// it does not check, but for brackets that do not match, after which nobody could tell where the value ends.
func (w *window) value() (deepest int, err error) {
	var (
		depth  int
		square uint64 // one bit for each of the first 64 levels: it is an array
		quoted bool
	)
	for {
		buf, pos := w.buf, w.pos
		for pos < len(buf) {
			if quoted {
				end := bytes.IndexByte(buf[pos:], '"')
				if end < 0 {
					end = len(buf) - pos
				}
				if escape := bytes.IndexByte(buf[pos:pos+end], '\\'); escape >= 0 {
					w.pos = pos + escape + 1
					if err := w.skip(); err != nil {
						return 0, err
					}
					buf, pos = w.buf, w.pos
					continue
				}
				if pos += end; pos == len(buf) {
					break
				}
				pos++
				if quoted = false; depth == 0 {
					w.pos = pos
					return deepest, nil
				}
				continue
			}
			c := buf[pos]
			pos++
			switch c {
			case '"':
				quoted = true
			case '{', '[':
				if depth < 64 {
					square &^= 1 << depth
					if c == '[' {
						square |= 1 << depth
					}
				}
				depth++
				deepest = max(deepest, depth)
			case '}', ']':
				if depth == 0 { // a number or word ends here
					w.pos = pos - 1
					return 0, nil
				}
				depth--
				if depth < 64 && (square>>depth&1 == 1) != (c == ']') {
					w.pos = pos - 1
					return 0, fmt.Errorf("%q closes what the other kind of bracket opened", c)
				}
				if depth == 0 {
					w.pos = pos
					return deepest, nil
				}
			case ',', ' ', '\t', '\n', '\r':
				if depth == 0 {
					w.pos = pos - 1
					return 0, nil
				}
			}
		}
		w.pos = pos
		if err := w.more(); err != nil {
			return 0, err
		}
	}
}
