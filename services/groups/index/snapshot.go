package index

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A snapshot is magic, the caller's note as JSON, the state, and a CRC-32C of all before. Numbers are varints; slices have their
// length before them. Sets and arrays are as in memory.
const magic = "cairn index 1\n"

// Save writes the index and a note to a file, whole or not at all. Changes wait meanwhile.
func (x *Index) Save(path string, note any) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("snapshot: %w", err), f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := x.Write(f, note); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return f.Close()
}

// Load reads an index and its note from a file.
func Load(path string, note any) (*Index, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	x, err := Read(f, note)
	return x, errors.Join(err, f.Close())
}

// Write writes the index and a note. Changes wait meanwhile.
func (x *Index) Write(to io.Writer, note any) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	b, err := json.Marshal(note)
	if err != nil {
		return err
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	w := &writer{Writer: bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<20)}
	w.raw([]byte(magic))
	w.bytes(b)
	x.cur.write(w)
	if w.err == nil {
		w.err = w.Flush()
	}
	if w.err != nil {
		return w.err
	}
	_, err = to.Write(sum.Sum(nil))
	return err
}

// Read reads what Write has written. Anything else is an error.
func Read(from io.Reader, note any) (*Index, error) {
	r := &reader{Reader: bufio.NewReaderSize(from, 1<<20), sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	if string(r.raw(len(magic))) != magic {
		return nil, errors.New("snapshot: of another format")
	}
	head := r.bytes()
	s := newState()
	if r.err == nil {
		s.read(r)
	}
	want := r.sum.Sum(nil)
	if got := r.raw(len(want)); r.err == nil && string(got) != string(want) {
		r.fail("is damaged")
	}
	if r.err == nil {
		if err := json.Unmarshal(head, note); err != nil {
			r.fail("has an unreadable note")
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("snapshot: %w", r.err)
	}
	x := New()
	x.cur = s
	return x, nil
}

type writer struct {
	*bufio.Writer
	err error
	buf [binary.MaxVarintLen64]byte
}

func (w *writer) raw(b []byte) {
	if w.err == nil {
		_, w.err = w.Write(b)
	}
}

func (w *writer) num(n int) { w.raw(w.buf[:binary.PutUvarint(w.buf[:], uint64(n))]) }
func (w *writer) bytes(b []byte) {
	w.num(len(b))
	w.raw(b)
}
func (w *writer) text(s string) { w.bytes([]byte(s)) }

// reader reads with errors kept, and never takes more memory than there are bytes to read, but for a constant.
type reader struct {
	*bufio.Reader
	sum hash.Hash32
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = errors.New(what)
	}
}

func (r *reader) raw(n int) []byte {
	const step = 1 << 20
	var out []byte
	for len(out) < n && r.err == nil {
		at := len(out)
		out = append(out, make([]byte, min(n-at, max(step, at)))...)
		if _, err := io.ReadFull(r.Reader, out[at:]); err != nil {
			r.err = err
			return nil
		}
	}
	if _, err := r.sum.Write(out); err != nil {
		r.err = err
	}
	return out
}

// most is the greatest number of documents, entries of a list, or bytes of a text.
const most = 1 << 31

func (r *reader) num() int {
	var n uint64
	for shift := 0; r.err == nil; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			r.err = err
			break
		}
		if _, err := r.sum.Write([]byte{b}); err != nil {
			r.err = err
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift > 56 {
			r.fail("has a number that is too long")
		}
	}
	if n >= most {
		r.fail("has a number that is too great")
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte { return r.raw(r.num()) }
func (r *reader) text() string  { return strings.Clone(string(r.bytes())) }
