package fhir

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"cairn.care/services/chassis/fault"
)

const (
	// publishAge is how long it is taken as known what the files hold, and how long after a failure that is not asked again; as often
	// as a client should ask.
	publishAge = time.Minute

	// publishShare is what part of the time at most is spent on finding that out, whatever the directory's size: one in so many.
	publishShare = 10

	// publishTime is how long finding out may take.
	publishTime = 10 * time.Minute

	// publishWait is how long a caller waits for what it holds up to be found out; it is told to come again then.
	publishWait = 50 * time.Second

	// publishPiece is how long a caller may take to receive a piece of a file.
	publishPiece = time.Minute

	// publishFiles is how many files may be on their way at once, each with a page of groups in memory; publishReads of them read the
	// directory at once, while the others send or wait.
	publishFiles = 64
	publishReads = 4
)

// publication is what the files held when they were last read through.
type publication struct {
	sending places // files on their way
	turns   places // pages being read

	mu      sync.Mutex
	reading chan struct{} // closed when the files have been read through, nil unless they are just now
	until   time.Time     // before which that is not begun again
	failed  error         // why it failed the last time
	from    time.Time     // first start of a slot
	files   map[string]publishedFile
}

func newPublication() *publication {
	return &publication{sending: make(places, publishFiles), turns: make(places, publishReads), files: map[string]publishedFile{}}
}

// places bound how much is done at once.
type places chan struct{}

// take takes a place, if there is one.
func (p places) take() bool {
	select {
	case p <- struct{}{}:
		return true
	default:
		return false
	}
}

// await takes a place as soon as there is one.
func (p places) await(ctx context.Context) error {
	select {
	case p <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p places) leave() { <-p }

// publishedFile is one file.
type publishedFile struct {
	tag     string    // checksum
	changed time.Time // when it was first found to be so
	states  []string  // administrative areas that its resources lie in
}

// dataset is a state of the publication.
type dataset struct {
	*publication
	from  time.Time
	files map[string]publishedFile
}

// known returns what is known, or why nothing is. p.mu is held.
func (p *publication) known(now time.Time) (*dataset, error) {
	switch {
	case len(p.files) > 0:
		return &dataset{p, p.from, maps.Clone(p.files)}, nil
	case p.failed != nil:
		return nil, fault.Unavailable(p.until.Sub(now), p.failed)
	}
	return nil, fault.Unavailable(publishAge, errors.New("the published files are being read through"))
}

// current returns what the files hold. Who comes first when that has grown old has them read through, and waits for it; others are told
// what was known before, or wait as well if nothing was. If it fails, everybody is told what was known before.
func (p *publication) current(ctx context.Context, c *call) (*dataset, error) {
	p.mu.Lock()
	wait := p.reading
	if len(p.files) > 0 {
		wait = nil
	}
	if p.reading == nil && !c.face.clock.Now().Before(p.until) {
		p.reading = make(chan struct{})
		wait = p.reading
		go p.read(c.face) //nolint:gosec // others wait for it too, when this request is gone
	}
	p.mu.Unlock()
	if wait != nil {
		end := time.NewTimer(publishWait)
		defer end.Stop()
		select {
		case <-wait:
		case <-end.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known(c.face.clock.Now())
}

// read reads the files through, for nobody in particular: it goes on when the caller has gone.
func (p *publication) read(f *Face) {
	ctx, cancel := context.WithTimeout(anonymous(context.Background()), publishTime)
	defer cancel()
	now, begun := f.clock.Now(), time.Now()
	from := now.Truncate(time.Hour) // so that files change with what they are of, not with every minute
	files, err := p.sum(ctx, f, from)
	if err != nil {
		f.log.ErrorContext(ctx, "the published files cannot be read through", "err", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.reading)
	p.reading, p.failed = nil, err
	if err != nil {
		p.until = f.clock.Now().Add(max(publishAge, time.Since(begun)))
		return
	}
	p.from, p.until = from, now.Add(max(publishAge, publishShare*time.Since(begun)))
	for kind, file := range files {
		file.changed = now
		if had, ok := p.files[kind]; ok && had.tag == file.tag {
			file.changed = had.changed
		}
		p.files[kind] = file
	}
}

// sum returns what the files hold that begin at from.
func (p *publication) sum(ctx context.Context, f *Face, from time.Time) (files map[string]publishedFile, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	c := &call{peers: f.peers, face: f, requestID: uuid.NewString(), memory: &memory{known: map[string]any{}}}
	sums, states := map[string]hash.Hash64{}, map[string]bool{}
	for _, kind := range publishedKinds() {
		sums[kind] = fnv.New64a()
	}
	if err := p.walk(ctx, c, from, publishedKinds(), func(kind, state string, line []byte) error {
		if state != "" {
			states[state] = true
		}
		_, err := sums[kind].Write(line)
		return err
	}); err != nil {
		return nil, err
	}
	files = map[string]publishedFile{}
	for kind, sum := range sums {
		files[kind] = publishedFile{tag: `W/"` + strconv.FormatUint(sum.Sum64(), 16) + `"`, states: slices.Sorted(maps.Keys(states))}
	}
	return files, nil
}

// inPieces sends lines together, some ten thousand bytes at once, each piece in its own time: the listener's limits are for answers
// that are made at once.
type inPieces struct {
	w   http.ResponseWriter
	buf []byte
}

func (p *inPieces) add(line []byte) error {
	if p.buf = append(p.buf, line...); len(p.buf) < 32<<10 {
		return nil
	}
	if err := p.send(); err != nil {
		return err
	}
	return lift(p.w) // until there is more to send
}

// send sends what has come together. What the connection has not taken then it takes in time, or never.
func (p *inPieces) send() error {
	if err := allow(p.w, publishPiece); err != nil {
		return err
	}
	_, err := p.w.Write(p.buf)
	p.buf = p.buf[:0]
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// lift lifts the listener's limits from an answer that takes as long as it takes.
func lift(w http.ResponseWriter) error {
	rc := http.NewResponseController(w)
	return errors.Join(supported(rc.SetReadDeadline(time.Time{})), supported(rc.SetWriteDeadline(time.Time{})))
}

// allow gives the caller so long to receive what comes next.
func allow(w http.ResponseWriter, d time.Duration) error {
	return supported(http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d)))
}

// supported leaves out that a writer has no deadlines, as those of tests.
func supported(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
