package index

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
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
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return Read(b, note)
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
func Read(b []byte, note any) (*Index, error) {
	body := len(b) - crc32.Size
	if body < len(magic) || string(b[:len(magic)]) != magic {
		return nil, errors.New("snapshot: of another format")
	}
	if binary.BigEndian.Uint32(b[body:]) != crc32.Checksum(b[:body], crc32.MakeTable(crc32.Castagnoli)) {
		return nil, errors.New("snapshot: is damaged")
	}
	return read(b[len(magic):body], note)
}

func read(b []byte, note any) (*Index, error) {
	r, s := &reader{b: b}, newState()
	head := r.bytes()
	s.read(r)
	if r.err == nil && len(r.b) > 0 {
		r.fail("goes on behind its end")
	}
	if r.err == nil {
		r.err = json.Unmarshal(head, note)
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

// reader keeps its first error, after which it reads zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err, r.b = errors.New(what), nil
	}
}

// raw returns the next n bytes, or some zeros behind the end.
func (r *reader) raw(n int) []byte {
	if n > len(r.b) {
		r.fail("ends too soon")
		return make([]byte, min(n, 64))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// many returns a number of things of which each takes at least so many bytes.
func (r *reader) many(least int) int {
	n := r.num()
	if n > len(r.b)/least {
		r.fail("ends too soon")
		return 0
	}
	return n
}

func (r *reader) num() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v >= 1<<31 {
		r.fail("has an unreadable number")
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) bytes() []byte { return r.raw(r.num()) }
func (r *reader) text() string  { return string(r.bytes()) }
