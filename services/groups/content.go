package groups

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"

	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/pg"
)

const (
	chunkSize  = 1 << 20 // bytes of content in a row of feed_chunks
	maxContent = 1 << 30 // bytes of a run's content, decompressed, if nothing else is set
)

// contentError is what is wrong with the content of a run, for its sender.
type contentError struct{ text string }

func (e *contentError) Error() string { return e.text }

func badContent(format string, a ...any) error { return &contentError{fmt.Sprintf(format, a...)} }

// contentWriter keeps content as it comes.
type contentWriter struct {
	db    *pg.DB
	clock clock.Clock
	run   uuid.UUID
	org   uuid.UUID
	most  int64 // bytes that are kept, decompressed

	part  int // of what is kept next: content of an API comes in pages
	seq   int
	bytes int64
	zstd  *zstd.Encoder
}

// keeper returns what keeps the content of a run.
func (s *feedServer) keeper(run *runRow) *contentWriter {
	return &contentWriter{db: s.db, clock: s.clock, run: run.ID, org: run.OrgID, most: s.most}
}

// keep keeps what r brings, compressed with gzip or not, and shows it to the writers. Nothing more of it than a chunk is in memory at
// a time.
func (w *contentWriter) keep(ctx context.Context, r io.Reader, watch ...io.Writer) (err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var plain io.Reader = in
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return damage(err)
		}
		plain = z
	}
	if w.zstd == nil {
		if w.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)); err != nil {
			return fmt.Errorf("compress content: %w", err)
		}
	}
	buf := make([]byte, chunkSize)
	for {
		n, err := fill(plain, buf)
		if w.bytes += int64(n); w.bytes > w.most {
			return badContent("the content is larger than %d MiB", w.most>>20)
		}
		for _, to := range watch {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if n > 0 {
			if err := w.insert(ctx, w.zstd.EncodeAll(buf[:n], nil)); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return damage(err)
		}
	}
}

// fill reads until buf is full or r has ended: then, and only then, it returns io.EOF.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// damage tells damage of what was sent from a failure to get it.
func damage(err error) error {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badContent("the content was cut off")
	case corrupt, errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return badContent("the content is damaged: it begins like gzip and does not go on so")
	}
	return err
}

func (w *contentWriter) insert(ctx context.Context, body []byte) error {
	b := w.db.Batch(ctx)
	b.Queue(`INSERT INTO feed_chunks (run_id, seq, part, org_id, body, create_time) VALUES (@run, @seq, @part, @org, @body, @now)`,
		pgx.NamedArgs{"run": w.run, "seq": w.seq, "part": w.part, "org": w.org, "body": body, "now": w.clock.Now()})
	if err := w.db.Send(ctx, b); err != nil {
		return fmt.Errorf("keep content: %w", err)
	}
	w.seq++
	return nil
}

// drop deletes what was kept of a run that will not be.
func (w *contentWriter) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	b := w.db.Batch(ctx)
	b.Queue(`DELETE FROM feed_chunks WHERE run_id = @run AND org_id = @org`, pgx.NamedArgs{"run": w.run, "org": w.org})
	return w.db.Send(ctx, b)
}

// contentReader reads what was kept, part by part.
type contentReader struct {
	ctx  context.Context //nolint:containedctx // io.Reader has none
	db   *pg.DB
	run  *runRow
	zstd *zstd.Decoder

	seq, part int
	rest, buf []byte
	ended     bool         // there is no further part
	bytes     atomic.Int64 // read so far
	err       error        // our own failure to read, which formats take for the feed's
}

func newContentReader(ctx context.Context, db *pg.DB, run *runRow) (*contentReader, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(4*chunkSize))
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	return &contentReader{ctx: ctx, db: db, run: run, zstd: z}, nil
}

// Read implements [io.Reader]; the end is that of the part.
func (r *contentReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.bytes.Add(int64(n))
	return n, nil
}

// next gets the next chunk of the part.
func (r *contentReader) next() error {
	var body []byte
	var part int
	b := r.db.Batch(r.ctx)
	b.Queue(`SELECT part, CASE WHEN part = @part THEN body END FROM feed_chunks WHERE run_id = @run AND seq = @seq AND org_id = @org`,
		pgx.NamedArgs{"run": r.run.ID, "seq": r.seq, "part": r.part, "org": r.run.OrgID}).
		QueryRow(func(row pgx.Row) error { return row.Scan(&part, &body) })
	err := r.db.Send(r.ctx, b)
	if errors.Is(err, pgx.ErrNoRows) {
		r.ended = true
		return io.EOF
	}
	if err == nil && part != r.part {
		return io.EOF
	}
	if err == nil {
		r.buf, err = r.zstd.DecodeAll(body, r.buf[:0])
	}
	if err != nil {
		r.err = fmt.Errorf("read content: %w", err)
		return r.err
	}
	r.seq, r.rest = r.seq+1, r.buf
	return nil
}

// nextPart goes on to the next part, false if there is none. A format may leave the end of a part unread.
func (r *contentReader) nextPart() (bool, error) {
	for r.err == nil {
		err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
	}
	r.part, r.rest = r.part+1, nil
	return !r.ended, r.err
}
