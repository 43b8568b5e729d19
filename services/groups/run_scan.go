package groups

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

const (
	windowRows  = 5000    // records that are looked up at once
	windowBytes = 8 << 20 // of their content, about
	batchBytes  = 8 << 20 // of the records that one transaction applies, about
	maxID       = 200     // characters of an external_id

	// batchGroups is how many groups one transaction applies: each has up to five rows, and the change feed waits for the longest
	// transaction. It is also how many names one event holds at most.
	batchGroups = 1000

	// decoding counts how records have been decoded: a change of what formats make of the same record must count it up, so that the
	// next run of every feed looks at every record.
	decoding = 1
)

// Batches of feed_stage that are none to apply.
const (
	stageMark    = -1 // says that the table has not been emptied
	stageApplied = -2 // records that were applied before it was
)

// scanned is a record of the content.
type scanned struct {
	row      int64
	id       string
	digest   []byte
	raw      []byte
	rejected *formats.Rejected
	removed  bool
}

// known is what the feed has of a record already.
type known struct {
	item   int32
	state  int16
	digest []byte
}

// scanner is one pass over a run's content.
type scanner struct {
	*feedServer
	run     *runRow
	feed    *feedRow
	f       *groupsv1.Feed
	again   bool // what the run counts was counted by an earlier pass
	content *contentReader

	seen    bitset // items of the feed
	live    int64  // of them, those that the feed had
	batch   int32
	inBatch int
	batched int64 // bytes
	rows    int64
	same    int64
	refused int64
	toApply int64
	removed int64 // items that the content says are gone

	nameless int64 // rejected rows of which nobody knows whether the feed had them
}

// scan goes through the content once: it finds what is new or changed, and what is absent, and stages both in batches. Nothing of
// what others see changes.
func (s *feedServer) scan(ctx context.Context, run *runRow, feed *feedRow, f *groupsv1.Feed, _ time.Time) error {
	ctx = system(ctx)
	sc := &scanner{feedServer: s, run: run, feed: feed, f: f, again: run.Phase == phaseApply}
	var err error
	if sc.content, err = newContentReader(ctx, s.db, run); err != nil {
		return err
	}
	// A worker whose run another has taken up leaves what that one has staged.
	if _, err := s.db.Exec(ctx, `DELETE FROM feed_stage WHERE run_id = $1 AND scan <= $2`, run.ID, run.Attempt); err != nil {
		return fmt.Errorf("empty stage: %w", err)
	}
	if err := sc.windows(ctx); err != nil {
		return err
	}
	if err := sc.duplicates(ctx); err != nil {
		return err
	}
	unsaid := int64(0)
	if f.GetMode() == groupsv1.Feed_WHOLE && !run.Partial {
		unsaid = feed.LiveItems - sc.live
	}
	kept := ""
	if sc.nameless > 0 && unsaid > 0 { // they may be the absent ones
		kept = fmt.Sprintf("rejected rows without a readable id: %d; they may be any of the %d groups that seem absent, so none of these was removed", sc.nameless, unsaid)
		run.Error, unsaid = kept, 0
	}
	absent := unsaid + sc.removed
	tooMany := absent > 0 && absent*100 > feed.LiveItems*int64(f.GetMaxRemovedPercent())
	switch {
	case tooMany && !run.Approved && !sc.again && !run.DryRun:
		return sc.hold(ctx, absent)
	case tooMany && !run.Approved && run.DryRun:
		run.Held, run.Error = absent, strings.TrimPrefix(kept+"; "+sc.holdReason(absent), "; ")
	case unsaid > 0:
		if err := sc.stageAbsent(ctx); err != nil {
			return err
		}
		run.GroupsToRemove = absent
	default:
		run.GroupsToRemove = absent
	}
	return sc.done(ctx)
}

// windows reads the content, a window of records at a time: while one is looked up, the next is read.
func (sc *scanner) windows(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	ch, failed := make(chan []scanned, 1), make(chan error, 1)
	go func() {
		defer close(ch)
		failed <- sc.read(ctx, ch)
	}()
	defer func() {
		cancel()
		for range ch { // the reader has ended when it is closed
			continue
		}
	}()
	for w := range ch {
		if err := sc.window(ctx, w); err != nil {
			return err
		}
	}
	return <-failed
}

// read splits the content.
func (sc *scanner) read(ctx context.Context, to chan<- []scanned) error {
	options, salt := options(sc.f), digestSalt(sc.f)
	hash := sha256.New()
	var w []scanned
	size := 0
	send := func() error {
		select {
		case to <- w:
			w, size = nil, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for before, last, more := 0, 0, true; more; before = last {
		for r, err := range sc.format(sc.f).Records(sc.content, options) {
			if sc.content.err != nil {
				return sc.content.err
			}
			if err != nil {
				return badContent("%s", err)
			}
			r.Row += before
			s := scanned{row: int64(r.Row), id: r.ID, rejected: r.Rejected, removed: r.Removed}
			last = r.Row
			if s.rejected != nil {
				s.rejected.Row = r.Row
			}
			if s.rejected == nil {
				s.rejected = badID(r)
			}
			if s.rejected == nil && !s.removed {
				hash.Reset()
				hash.Write(salt)
				hash.Write(r.Raw)
				s.digest = hash.Sum(nil)[:16]
				s.raw = append([]byte(nil), r.Raw...)
				size += len(r.Raw)
			}
			if w == nil {
				w = make([]scanned, 0, windowRows)
			}
			if w = append(w, s); len(w) == windowRows || size >= windowBytes {
				if err := send(); err != nil {
					return err
				}
			}
		}
		if sc.content.err != nil {
			return sc.content.err
		}
		var err error
		if more, err = sc.content.nextPart(); err != nil {
			return err
		}
	}
	if len(w) > 0 {
		return send()
	}
	return nil
}

// digestSalt is what a record's digest depends on beside the record.
func digestSalt(f *groupsv1.Feed) []byte {
	o, err := json.Marshal(options(f)) // strings and a map of strings, in the order of its keys
	if err != nil {
		o = nil
	}
	return binary.BigEndian.AppendUint32(append([]byte(f.GetFormat()+"\x00"), o...), decoding)
}

// badID refuses a record that cannot be found again.
func badID(r formats.Record) *formats.Rejected {
	switch {
	case r.ID == "":
		return formats.Reject(r.Row, "", "", "has no id, by which it would be found again")
	case len(r.ID) > maxID:
		return formats.Reject(r.Row, "", r.ID, "its id is longer than %d bytes", maxID)
	case !utf8.ValidString(r.ID) || strings.ContainsRune(r.ID, 0):
		return formats.Reject(r.Row, "", r.ID, "its id is no valid text")
	}
	return nil
}

// window looks a window's records up, and stages those that are new or changed.
func (sc *scanner) window(ctx context.Context, w []scanned) error {
	have, err := sc.lookUp(ctx, w)
	if err != nil {
		return err
	}
	var stage [][]any
	var refused []rejection
	reject := func(r *formats.Rejected, row int64) { refused = append(refused, rejection{row: row, Rejected: *r}) }
	fresh := map[string]bool{}
	for _, r := range w {
		sc.rows++
		k, there := have[r.id]
		if there && r.id != "" && (r.rejected == nil || !sc.seen.has(k.item)) {
			if sc.seen.has(k.item) {
				reject(duplicate(r.row, r.id), r.row)
				continue
			}
			sc.seen.set(k.item)
			if k.state == itemLive {
				sc.live++
			}
		}
		switch {
		case r.rejected != nil:
			reject(r.rejected, r.row)
			if !there && (badID(formats.Record{ID: r.id}) != nil || strings.ContainsRune(r.id, utf8.RuneError)) {
				sc.nameless++
			}
		case !there && fresh[r.id]:
			reject(duplicate(r.row, r.id), r.row)
		case r.removed && there && k.state == itemLive:
			stage = append(stage, []any{sc.run.ID, sc.run.Attempt, sc.place(0), r.row, r.id, []byte(nil), []byte(nil)})
			sc.removed++
		case r.removed:
			sc.same++
		case there && k.state == itemLive && string(k.digest) == string(r.digest):
			sc.same++
		case sc.again && r.row <= sc.run.AppliedRow:
			stage = append(stage, []any{sc.run.ID, sc.run.Attempt, int32(stageApplied), r.row, r.id, r.digest, []byte(nil)})
		default:
			fresh[r.id] = true
			stage = append(stage, []any{sc.run.ID, sc.run.Attempt, sc.place(len(r.raw)), r.row, r.id, r.digest, r.raw})
			sc.toApply++
		}
	}
	sc.refused += int64(len(refused))
	if err := sc.copyStage(ctx, stage); err != nil {
		return err
	}
	if err := sc.saveRejections(ctx, sc.run, refused); err != nil {
		return err
	}
	return sc.progress(ctx)
}

// place returns the batch of the next record.
func (sc *scanner) place(size int) int32 {
	if sc.inBatch == sc.atOnce || sc.inBatch > 0 && sc.batched+int64(size) > batchBytes {
		sc.batch, sc.inBatch, sc.batched = sc.batch+1, 0, 0
	}
	sc.inBatch++
	sc.batched += int64(size)
	return sc.batch
}

// closeBatch begins another batch for what is staged next.
func (sc *scanner) closeBatch() {
	if sc.inBatch > 0 {
		sc.batch, sc.inBatch, sc.batched = sc.batch+1, 0, 0
	}
}

func duplicate(row int64, id string) *formats.Rejected {
	return formats.Reject(int(row), "", id, "its id stands in an earlier row already; that one is taken")
}

// lookUp returns what the feed has of the records of a window, by id.
func (sc *scanner) lookUp(ctx context.Context, w []scanned) (map[string]known, error) {
	have := map[string]known{}
	if sc.feed.NextItem == 0 {
		return have, nil
	}
	ids := make([]string, 0, len(w))
	for _, r := range w {
		if r.id != "" && badID(formats.Record{ID: r.id}) == nil {
			ids = append(ids, r.id)
		}
	}
	b := sc.db.Batch(ctx)
	// A window is a small part of the feed, whatever the statistics say.
	b.Queue(`SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)`)
	b.Queue(`SELECT external_id, item, state, digest FROM feed_items WHERE feed_id = @feed AND org_id = @org AND external_id = ANY(@ids::text[])`,
		pgx.NamedArgs{"feed": sc.feed.ID, "org": sc.feed.OrgID, "ids": ids}).Query(func(rows pgx.Rows) error {
		var id string
		var k known
		_, err := pgx.ForEachRow(rows, []any{&id, &k.item, &k.state, &k.digest}, func() error {
			have[id] = k
			k.digest = nil
			return nil
		})
		return err
	})
	if err := sc.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("look records up: %w", err)
	}
	return have, nil
}

// progress tells how far the pass is, and learns whether to stop.
func (sc *scanner) progress(ctx context.Context) error {
	if sc.again {
		return nil
	}
	b := sc.db.Batch(ctx)
	at := *sc.run
	b.Queue(`
		UPDATE feed_runs SET rows_read = @rows, bytes_read = @bytes, rows_to_apply = @to_apply
		WHERE id = @id AND org_id = @org AND attempt = @attempt RETURNING cancelled`,
		pgx.NamedArgs{
			"id": at.ID, "org": at.OrgID, "attempt": at.Attempt, "rows": sc.rows, "bytes": sc.content.bytes.Load(), "to_apply": sc.toApply,
		}).QueryRow(func(row pgx.Row) error { return row.Scan(&at.Cancelled) })
	err := sc.db.Send(ctx, b)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errStale
	case err != nil:
		return fmt.Errorf("tell progress: %w", err)
	case at.Cancelled:
		return errCancelled
	}
	return nil
}

func (sc *scanner) holdReason(absent int64) string {
	return fmt.Sprintf("%d of the feed's %d groups are absent: more than the %d %% that a run may remove by itself",
		absent, sc.feed.LiveItems, sc.f.GetMaxRemovedPercent())
}

// hold leaves the run to a person.
func (sc *scanner) hold(ctx context.Context, absent int64) error {
	return sc.finish(ctx, func(tx pgx.Tx, r *runRow) error {
		if _, err := tx.Exec(ctx, `UPDATE feed_runs SET held = @held WHERE id = @id AND org_id = @org`,
			pgx.NamedArgs{"id": r.ID, "org": r.OrgID, "held": absent}); err != nil {
			return err
		}
		sc.run.State = int32(groupsv1.FeedRun_HELD) // for this worker: there is nothing to apply
		return sc.end(ctx, tx, r, groupsv1.FeedRun_HELD, sc.holdReason(absent))
	})
}

// done leaves the run to be applied.
func (sc *scanner) done(ctx context.Context) error {
	sc.closeBatch()
	if err := sc.copyStage(ctx, [][]any{{sc.run.ID, sc.run.Attempt, int32(stageMark), int64(0), "", []byte(nil), []byte(nil)}}); err != nil {
		return err
	}
	return sc.finish(ctx, func(tx pgx.Tx, r *runRow) error {
		*sc.run = *r
		sc.run.Phase, sc.run.Scan, sc.run.Batches, sc.run.Batch = phaseApply, r.Attempt, sc.batch, 0
		_, err := tx.Exec(ctx, `
			UPDATE feed_runs SET phase = @phase, scan = @scan, batches = @batches, batch = 0 WHERE id = @id AND org_id = @org`,
			pgx.NamedArgs{"id": r.ID, "org": r.OrgID, "phase": sc.run.Phase, "scan": sc.run.Scan, "batches": sc.run.Batches})
		return err
	})
}

// finish writes what the pass has counted, together with what follows from it.
func (sc *scanner) finish(ctx context.Context, then func(tx pgx.Tx, r *runRow) error) error {
	return sc.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := selectRun(ctx, tx, sc.run.ID, "FOR UPDATE")
		if err != nil {
			return err
		}
		if r.Attempt != sc.run.Attempt {
			return errStale
		}
		if r.Cancelled {
			return errCancelled
		}
		if !sc.again {
			r.RowsRead, r.BytesRead, r.RowsToApply, r.Unchanged, r.Rejected = sc.rows, sc.content.bytes.Load(), sc.toApply, sc.same, sc.refused
			r.GroupsToRemove, r.Held, r.Error = sc.run.GroupsToRemove, sc.run.Held, sc.run.Error
			if _, err := tx.Exec(ctx, `
				UPDATE feed_runs SET rows_read = @rows, bytes_read = @bytes, rows_to_apply = @to_apply, unchanged = @unchanged, rejected = @rejected,
					groups_to_remove = @to_remove, held = @held, error = @error
				WHERE id = @id AND org_id = @org`,
				pgx.NamedArgs{
					"id": r.ID, "org": r.OrgID, "rows": r.RowsRead, "bytes": r.BytesRead, "to_apply": r.RowsToApply, "unchanged": r.Unchanged,
					"rejected": r.Rejected, "to_remove": r.GroupsToRemove, "held": r.Held, "error": r.Error,
				}); err != nil {
				return err
			}
		}
		return then(tx, r)
	})
}
