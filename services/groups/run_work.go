package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

const (
	slice     = 3 * time.Minute // for which a worker stays with a run before it queues up again
	sliceMost = slice + time.Minute
	turn      = time.Second // between two looks of a run that waits for another of its feed

	// modifiedMargin is how much of the time before a pull the next one asks for again: clocks differ, and what is being changed shows later.
	modifiedMargin = 10 * time.Minute
)

// runArgs asks for work on a run.
type runArgs struct {
	Run uuid.UUID `json:"run"`
}

// Kind names the job.
func (runArgs) Kind() string { return "feed_run" }

// InsertOpts bounds how often a run is tried: the six attempts take about a quarter of an hour, and the feed waits meanwhile.
func (runArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 6} }

type runWorker struct {
	river.WorkerDefaults[runArgs]
	server *feedServer
}

// Timeout bounds one attempt; it is less than the time after which River takes a job's process for dead.
func (*runWorker) Timeout(*river.Job[runArgs]) time.Duration { return sliceMost }

// Work goes on with a run, until it ends, is held, or it is another job's turn.
func (w *runWorker) Work(ctx context.Context, job *river.Job[runArgs]) error {
	err := w.server.work(ctx, job.Args.Run, time.Now().Add(slice))
	switch {
	case errors.Is(err, errNotYet):
		return river.JobSnooze(turn)
	case errors.Is(err, errMore):
		return river.JobSnooze(0)
	case err == nil:
		return nil
	}
	w.server.log.ErrorContext(ctx, "an attempt at a run failed", "run", job.Args.Run, "attempt", job.Attempt, "of", job.MaxAttempts, "err", err)
	if job.Attempt >= job.MaxAttempts {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), turn*10) // the attempt may have ended for want of time
		defer cancel()
		err = errors.Join(err, w.server.giveUp(ctx, job.Args.Run))
	}
	return err
}

var (
	errNotYet = errors.New("another run of the feed goes first")
	errMore   = errors.New("there is more to do")
	errStale  = errors.New("another worker has taken the run up")
)

// work takes the run up where it stands, and drops what it needs no more. The error is ours, not the feed's: the same again may succeed.
func (s *feedServer) work(ctx context.Context, id uuid.UUID, until time.Time) error {
	if err := s.advance(ctx, id, until); err != nil {
		return err
	}
	return s.clear(ctx, id)
}

func (s *feedServer) advance(ctx context.Context, id uuid.UUID, until time.Time) error {
	run, feed, err := s.claim(ctx, id)
	if err != nil || run == nil {
		return err
	}
	f, err := feed.toProto()
	if err != nil {
		return err
	}
	steps := []struct {
		phase int16
		do    func(context.Context, *runRow, *feedRow, *groupsv1.Feed, time.Time) error
	}{
		{phaseFetch, s.get},
		{phaseScan, s.scan},
		{phaseApply, s.apply},
	}
	for _, step := range steps {
		if run.Phase > step.phase || run.State != int32(groupsv1.FeedRun_RUNNING) {
			continue
		}
		err := step.do(ctx, run, feed, f, until)
		if bad, ok := errors.AsType[*contentError](err); ok {
			return s.conclude(ctx, run, groupsv1.FeedRun_FAILED, bad.text)
		}
		if errors.Is(err, errCancelled) {
			return s.conclude(ctx, run, groupsv1.FeedRun_CANCELLED, byOwner)
		}
		if errors.Is(err, errStale) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("run %s, phase %d: %w", run.ID, step.phase, err)
		}
	}
	return nil
}

var errCancelled = errors.New("cancelled")

// claim makes the run this worker's, nil if there is nothing to do.
func (s *feedServer) claim(ctx context.Context, id uuid.UUID) (run *runRow, feed *feedRow, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		at, err := selectRun(ctx, tx, id, "FOR UPDATE")
		if err != nil {
			return absent(err)
		}
		if feed, err = selectFeed(ctx, tx, at.FeedID, "FOR UPDATE"); err != nil {
			return absent(err)
		}
		if at.State != int32(groupsv1.FeedRun_QUEUED) && at.State != int32(groupsv1.FeedRun_RUNNING) {
			return nil
		}
		args := pgx.NamedArgs{"id": id, "feed": feed.ID, "org": feed.OrgID, "created": at.CreateTime, "now": s.clock.Now()}
		var wait bool
		if err := tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM feed_runs WHERE feed_id = @feed AND org_id = @org AND id <> @id
				AND (state = 2 OR (state = 1 AND (create_time, id) < (@created, @id))))`, args).Scan(&wait); err != nil {
			return err
		}
		if wait {
			return errNotYet
		}
		if at.Cancelled {
			return s.end(ctx, tx, at, groupsv1.FeedRun_CANCELLED, byOwner)
		}
		if at.Phase > phaseFetch { // a pull may find nothing that is newer
			if err := s.supersede(ctx, tx, at); err != nil {
				return err
			}
		}
		run, err = oneClaimed(ctx, tx, args)
		return err
	})
	if err != nil && !errors.Is(err, errNotYet) {
		return nil, nil, fmt.Errorf("claim run: %w", err)
	}
	return run, feed, err
}

func oneClaimed(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) (*runRow, error) {
	rows, err := tx.Query(ctx, `
		UPDATE feed_runs r SET state = 2, attempt = attempt + 1, start_time = coalesce(start_time, @now)
		WHERE id = @id AND org_id = @org RETURNING `+runColumns, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[runRow])
}

// absent makes nothing of a run or feed that was deleted meanwhile.
func absent(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == codes.NotFound {
		return nil
	}
	return err
}

// supersede cancels the held runs of the feed, since newer content has come, unless the run is a rehearsal.
func (s *feedServer) supersede(ctx context.Context, tx pgx.Tx, run *runRow) error {
	if run.DryRun {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT `+runColumns+` FROM feed_runs r WHERE r.feed_id = @feed AND r.org_id = @org AND r.state = 3 FOR UPDATE SKIP LOCKED`,
		pgx.NamedArgs{"feed": run.FeedID, "org": run.OrgID})
	if err != nil {
		return err
	}
	held, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[runRow])
	if err != nil {
		return err
	}
	for _, h := range held {
		if err := s.end(ctx, tx, h, groupsv1.FeedRun_CANCELLED, "newer content has come before the run was approved"); err != nil {
			return err
		}
	}
	return nil
}

// conclude ends the run that this worker has claimed.
func (s *feedServer) conclude(ctx context.Context, run *runRow, state groupsv1.FeedRun_State, reason string) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		at, err := selectRun(ctx, tx, run.ID, "FOR UPDATE")
		if err != nil {
			return absent(err)
		}
		if at.Attempt != run.Attempt || at.ended() {
			return nil
		}
		return s.end(ctx, tx, at, state, reason)
	})
}

// giveUp fails a run that no attempt brought further.
func (s *feedServer) giveUp(ctx context.Context, id uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		at, err := selectRun(ctx, tx, id, "FOR UPDATE")
		if err != nil || at.ended() {
			return absent(err)
		}
		if at.Cancelled {
			return s.end(ctx, tx, at, groupsv1.FeedRun_CANCELLED, byOwner)
		}
		return s.end(ctx, tx, at, groupsv1.FeedRun_FAILED, "something in Cairn failed again and again; its operator finds the cause in the log")
	})
}

// lost gives up the runs that have no job any more, which would keep their feeds from every other: River has discarded it after its
// last attempt, and the worker of that died with it.
func (s *feedServer) lost(ctx context.Context) error {
	var ids []uuid.UUID
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT r.id FROM feed_runs r WHERE r.state IN (1, 2) AND NOT EXISTS (
				SELECT FROM river_job j WHERE j.kind = $1 AND j.state IN ('available', 'pending', 'retryable', 'running', 'scheduled') AND j.args ->> 'run' = r.id::text)
			LIMIT 100`, runArgs{}.Kind())
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	}); err != nil {
		return fmt.Errorf("find runs without a job: %w", err)
	}
	for _, id := range ids {
		s.log.ErrorContext(ctx, "a run has no job any more", "run", id)
		if err := s.giveUp(ctx, id); err != nil {
			return fmt.Errorf("give up run: %w", err)
		}
	}
	return nil
}

// end writes that a locked run has ended, or is held, and what it means for the feed. What it has staged and its content are left to
// [feedServer.clear].
func (s *feedServer) end(ctx context.Context, tx pgx.Tx, r *runRow, state groupsv1.FeedRun_State, reason string) error {
	now := s.clock.Now()
	r.State, r.Error = int32(state), reason
	args := pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "feed": r.FeedID, "state": r.State, "reason": reason, "now": now, "dry_run": r.DryRun,
		"failed": state == groupsv1.FeedRun_FAILED, "succeeded": state == groupsv1.FeedRun_SUCCEEDED,
		"etag": r.RemoteETag, "modified": r.RemoteModified, "pulled": r.Source == int32(groupsv1.Feed_PULLED),
	}
	b := new(pgx.Batch)
	if state != groupsv1.FeedRun_HELD {
		r.EndTime = &now
	}
	args["end"] = r.EndTime
	b.Queue(`UPDATE feed_runs SET state = @state, error = @reason, end_time = @end WHERE id = @id AND org_id = @org`, args)
	if !r.DryRun {
		b.Queue(`
			UPDATE feeds SET last_run = @id, last_run_time = @end, last_error = CASE WHEN @failed THEN @reason ELSE '' END,
				failures = CASE WHEN @failed THEN failures + 1 WHEN @succeeded THEN 0 ELSE failures END,
				last_success_time = CASE WHEN @succeeded THEN @now ELSE last_success_time END
			WHERE id = @feed AND org_id = @org`, args)
		if state == groupsv1.FeedRun_SUCCEEDED && r.Source == int32(groupsv1.Feed_PULLED) {
			args["revision"], args["since"] = r.FeedRevision, nil
			if r.StartTime != nil { // which is before the content was asked for
				args["since"] = r.StartTime.Add(-modifiedMargin)
			}
			b.Queue(`
				UPDATE feeds SET remote_etag = @etag, remote_modified = @modified, modified_after = @since
				WHERE id = @feed AND org_id = @org AND revision = @revision`, args) // of a feed that was changed meanwhile all is got anew
		}
		b.Queue(nextPull, args)
	}
	return tx.SendBatch(ctx, b).Close()
}

// nextPull sets when the feed is due again: after its interval, after failures later and later, up to 16 intervals or a week.
const nextPull = `
UPDATE feeds SET next_pull_time = @now::timestamptz + least(pull_seconds * power(2, least(failures, 4)), greatest(pull_seconds, 604800)) * interval '1 second'
WHERE id = @feed AND org_id = @org AND next_pull_time IS NOT NULL AND @pulled`

// system returns the context in which the engine works: on every tenant's rows, each statement naming the run's.
func system(ctx context.Context) context.Context { return auth.System(ctx, "groups") }
