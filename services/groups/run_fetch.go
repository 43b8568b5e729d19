package groups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/outbound"
	"cairn.care/services/formats/hsds"
)

const (
	pullTimeout = 2 * time.Minute // of a whole get
	maxPages    = 20_000          // of an API
	dueAtOnce   = 100             // feeds whose pull one look begins
)

// get brings the content of a run that is pulled. Of what an earlier attempt got it keeps the pages after which that paused.
func (s *feedServer) get(ctx context.Context, run *runRow, feed *feedRow, f *groupsv1.Feed, until time.Time) error {
	ctx = system(ctx)
	w, err := s.resume(ctx, run, feed)
	if err != nil {
		return fmt.Errorf("drop content: %w", err)
	}
	at, err := url.Parse(f.GetPull().GetUri())
	if err != nil || f.GetSource() != groupsv1.Feed_PULLED {
		return badContent("the feed has no URL to get its content from")
	}
	if follows(f) {
		return s.follow(ctx, run, feed, at, w, until)
	}
	header := http.Header{"Accept": {"application/json, text/csv, */*;q=0.5"}, "Accept-Encoding": {"gzip"}}
	api := f.GetFormat() == hsds.Name && strings.HasSuffix(strings.TrimSuffix(at.Path, "/"), "/services")
	switch {
	case run.FetchNext != "":
		if at, err = url.Parse(run.FetchNext); err != nil {
			return fmt.Errorf("next page: %w", err)
		}
	case api && f.GetMode() == groupsv1.Feed_PARTIAL && feed.ModifiedAfter != nil && !run.DryRun:
		at, run.Partial = hsds.FirstPage(at, *feed.ModifiedAfter), true
	case api:
		at = hsds.FirstPage(at, time.Time{})
	case !run.DryRun:
		set(header, "If-None-Match", feed.RemoteETag)
		set(header, "If-Modified-Since", feed.RemoteModified)
	}
	for more := true; more; {
		if w.part == maxPages {
			return badContent("the API has more than %d pages", maxPages)
		}
		page, resp := &hsds.Page{}, (*http.Response)(nil)
		resp, err = s.fetch.Open(ctx, at.String(), header)
		if err != nil {
			return fetchError(ctx, err)
		}
		if resp.StatusCode == http.StatusNotModified {
			if err := resp.Body.Close(); err != nil {
				return fetchError(ctx, err)
			}
			return s.notModified(ctx, run, feed)
		}
		if w.part == 0 && !api {
			run.RemoteETag, run.RemoteModified = short(resp.Header.Get("ETag")), short(resp.Header.Get("Last-Modified"))
		}
		err = w.keep(ctx, resp.Body, page)
		if closed := resp.Body.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return fetchError(ctx, err)
		}
		more = false
		if f.GetFormat() == hsds.Name {
			var next *url.URL
			if next, more = hsds.NextPage(at, page); more {
				at = next
			}
		}
		if w.part++; more && !time.Now().Before(until) {
			return s.pause(ctx, run, feed, w, at.String())
		}
	}
	return s.fetched(ctx, run, feed, w)
}

// resume returns what keeps the rest of the run's content. All is got anew if the feed has changed since the run paused.
func (s *feedServer) resume(ctx context.Context, run *runRow, feed *feedRow) (*contentWriter, error) {
	if run.FetchNext == "" || run.FeedRevision != feed.Revision {
		run.FetchNext, run.FetchPart, run.FetchSeq, run.ContentBytes, run.Partial = "", 0, 0, 0, false
		run.RemoteETag, run.RemoteModified = "", ""
	}
	w := s.keeper(run)
	w.part, w.seq, w.bytes = run.FetchPart, run.FetchSeq, run.ContentBytes
	b := s.db.Batch(ctx)
	b.Queue(`DELETE FROM feed_chunks WHERE run_id = @run AND org_id = @org AND seq >= @seq`, pgx.NamedArgs{"run": run.ID, "org": run.OrgID, "seq": w.seq})
	return w, s.db.Send(ctx, b)
}

// pause leaves the run to whoever takes it up next, to go on with the page at next.
func (s *feedServer) pause(ctx context.Context, run *runRow, feed *feedRow, w *contentWriter, next string) error {
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		var cancelled bool
		err := tx.QueryRow(ctx, `
			UPDATE feed_runs SET fetch_next = @next, fetch_part = @part, fetch_seq = @seq, content_bytes = @bytes, feed_revision = @revision,
				partial = @partial, remote_etag = @etag
			WHERE id = @id AND org_id = @org AND attempt = @attempt RETURNING cancelled`,
			pgx.NamedArgs{
				"id": run.ID, "org": run.OrgID, "attempt": run.Attempt, "next": next, "part": w.part, "seq": w.seq, "bytes": w.bytes,
				"revision": feed.Revision, "partial": run.Partial, "etag": run.RemoteETag,
			}).Scan(&cancelled)
		if errors.Is(err, pgx.ErrNoRows) {
			return errStale
		}
		if err == nil && cancelled {
			return errCancelled
		}
		return err
	})
	if err != nil {
		return err
	}
	return errMore
}

// fetched leaves the run to be scanned.
func (s *feedServer) fetched(ctx context.Context, run *runRow, feed *feedRow, w *contentWriter) error {
	if w.bytes == 0 {
		return badContent("the content is empty")
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		run.Phase, run.ContentBytes = phaseScan, w.bytes
		tag, err := tx.Exec(ctx, `
			UPDATE feed_runs SET phase = @phase, content_bytes = @bytes, feed_revision = @revision, partial = @partial, remote_etag = @etag, remote_modified = @modified
			WHERE id = @id AND org_id = @org AND attempt = @attempt`,
			pgx.NamedArgs{
				"id": run.ID, "org": run.OrgID, "attempt": run.Attempt, "phase": run.Phase, "bytes": run.ContentBytes, "partial": run.Partial,
				"etag": run.RemoteETag, "modified": run.RemoteModified, "revision": feed.Revision,
			})
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return errStale
		}
		return s.supersede(ctx, tx, run)
	})
}

func set(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// short drops a validator that is longer than any sensible one, or no text.
func short(s string) string {
	if len(s) > 500 || clean(s) != s {
		return ""
	}
	return s
}

// fetchError says for the feed's owner why its content could not be got; an error of ours stays one.
func fetchError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, ok := errors.AsType[*contentError](err); ok {
		return err
	}
	if code, ok := errors.AsType[outbound.ErrStatus](err); ok {
		return badContent("the server of the feed's URL answers with status %d", int(code))
	}
	if errors.Is(err, outbound.ErrRefused) {
		return badContent("the feed's URL, or one that it redirects to, is not a public https address")
	}
	network, isNetwork := errors.AsType[net.Error](err)
	switch {
	case isNetwork && network.Timeout():
		return badContent("the server of the feed's URL did not answer in time")
	case isNetwork, errors.Is(err, io.EOF):
		return badContent("the server of the feed's URL cannot be reached")
	}
	return err
}

// notModified ends a run whose content is that of the last one.
func (s *feedServer) notModified(ctx context.Context, run *runRow, feed *feedRow) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := selectRun(ctx, tx, run.ID, "FOR UPDATE")
		if err != nil {
			return err
		}
		if r.Attempt != run.Attempt {
			return errStale
		}
		if _, err := tx.Exec(ctx, `UPDATE feed_runs SET not_modified = true, unchanged = @items WHERE id = @id AND org_id = @org`,
			pgx.NamedArgs{"id": r.ID, "org": r.OrgID, "items": feed.LiveItems}); err != nil {
			return err
		}
		r.RemoteETag, r.RemoteModified, r.FeedRevision = feed.RemoteETag, feed.RemoteModified, feed.Revision
		run.State = int32(groupsv1.FeedRun_SUCCEEDED)
		if err := s.supersede(ctx, tx, r); err != nil { // what is held is not at the source any more
			return err
		}
		return s.end(ctx, tx, r, groupsv1.FeedRun_SUCCEEDED, "")
	})
}

// dueArgs asks for the feeds whose pull is due.
type dueArgs struct{}

// Kind names the job.
func (dueArgs) Kind() string { return "feeds_due" }

// feedsDue looks every half minute.
func feedsDue() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(30*time.Second), func() (river.JobArgs, *river.InsertOpts) {
		return dueArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: 15 * time.Second}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

type dueWorker struct {
	river.WorkerDefaults[dueArgs]
	server *feedServer
}

// Work begins the pulls that are due, and ends the runs that nobody works on any more.
func (w *dueWorker) Work(ctx context.Context, _ *river.Job[dueArgs]) error {
	return errors.Join(w.server.lost(ctx), w.server.pullDue(ctx))
}

// pullDue makes a run for each feed whose pull is due, a transaction each. A feed whose last run goes on waits for it.
func (s *feedServer) pullDue(ctx context.Context) error {
	for range dueAtOnce {
		more := false
		err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `
				SELECT `+feedColumns+` FROM feeds f
				WHERE f.next_pull_time <= @now AND NOT f.paused
				  AND NOT EXISTS (SELECT FROM feed_runs r WHERE r.feed_id = f.id AND r.state IN (1, 2))
				ORDER BY f.next_pull_time LIMIT 1 FOR UPDATE SKIP LOCKED`, pgx.NamedArgs{"now": s.clock.Now()})
			if err != nil {
				return err
			}
			due, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[feedRow])
			if err != nil || len(due) == 0 {
				return err
			}
			more = true
			if _, err := tx.Exec(ctx, nextPull, pgx.NamedArgs{"now": s.clock.Now(), "feed": due[0].ID, "org": due[0].OrgID, "pulled": true}); err != nil {
				return err
			}
			return s.insertRun(ctx, tx, &runRow{
				ID: aip.NewID(), FeedID: due[0].ID, OrgID: due[0].OrgID, Source: int32(groupsv1.Feed_PULLED), Phase: phaseFetch, CreateTime: s.clock.Now(),
			})
		})
		if err != nil {
			return fmt.Errorf("begin a pull that is due: %w", err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// What is kept of runs, and of pushes that broke off.
const (
	keptReports = 90 * 24 * time.Hour
	keptPieces  = 6 * time.Hour
)

// tidyArgs asks to drop what is kept no longer.
type tidyArgs struct{}

// Kind names the job.
func (tidyArgs) Kind() string { return "feeds_tidy" }

func feedsTidy() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(time.Hour), func() (river.JobArgs, *river.InsertOpts) {
		return tidyArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: 30 * time.Minute}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

type tidyWorker struct {
	river.WorkerDefaults[tidyArgs]
	server *feedServer
}

// Work drops it.
func (w *tidyWorker) Work(ctx context.Context, _ *river.Job[tidyArgs]) error {
	return w.server.tidy(ctx)
}

// tidy drops what runs have left, the pieces of pushes that broke off, and the rejected rows of old runs.
func (s *feedServer) tidy(ctx context.Context) error {
	var left []uuid.UUID
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT run_id FROM feed_chunks WHERE seq = 0 UNION SELECT run_id FROM feed_stage`)
		if err != nil {
			return err
		}
		left, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	}); err != nil {
		return fmt.Errorf("tidy feeds: %w", err)
	}
	for _, id := range left {
		if err := s.clear(ctx, id); err != nil {
			return err
		}
	}
	return s.drop(ctx, `
		DELETE FROM feed_rejected WHERE (run_id, row, n) IN (
			SELECT x.run_id, x.row, x.n FROM feed_runs r JOIN feed_rejected x ON x.run_id = r.id WHERE r.end_time < @before LIMIT 5000)`,
		pgx.NamedArgs{"before": s.clock.Now().Add(-keptReports)})
}

// clear drops what the run has staged, unless it goes on, and its content, if it has ended; and the content of a push that broke off.
func (s *feedServer) clear(ctx context.Context, run uuid.UUID) error {
	args := pgx.NamedArgs{"run": run, "before": s.clock.Now().Add(-keptPieces)}
	return errors.Join(
		s.drop(ctx, `
			DELETE FROM feed_stage WHERE ctid = ANY (ARRAY (
				SELECT ctid FROM feed_stage WHERE run_id = @run AND NOT EXISTS (SELECT FROM feed_runs WHERE id = @run AND state IN (1, 2)) LIMIT 5000))`, args),
		// The first piece goes last: it is what the others are found by.
		s.drop(ctx, `
			DELETE FROM feed_chunks WHERE run_id = @run AND seq = ANY (ARRAY (
				SELECT c.seq FROM feed_chunks c LEFT JOIN feed_runs r ON r.id = c.run_id
				WHERE c.run_id = @run AND (r.end_time IS NOT NULL OR r.id IS NULL AND c.create_time < @before) ORDER BY c.seq DESC LIMIT 64))`, args),
	)
}

// drop repeats a statement that deletes some rows until none is left: a long transaction would hold back the feed of changes.
func (s *feedServer) drop(ctx context.Context, sql string, args pgx.NamedArgs) error {
	for deleted := int64(1); deleted > 0; {
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, sql, args)
			deleted = tag.RowsAffected()
			return err
		}); err != nil {
			return fmt.Errorf("drop what runs have left: %w", err)
		}
	}
	return nil
}
