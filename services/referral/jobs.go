package referral

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

// How often the periodic jobs run, and how much one run does.
const (
	resumeEvery   = 3 * time.Second
	dueEvery      = 10 * time.Second
	consentsEvery = time.Minute
	concernsEvery = 10 * time.Second
	forgetEvery   = 24 * time.Hour
	atOnce        = 100
	oneFor        = 5 * time.Second // the most that one referral keeps the others waiting

	attendanceKept = 60 * day // of people whom no referral sent
	sessionKept    = 60 * day // changes of sessions that are over
)

type (
	resumeArgs   struct{}
	dueArgs      struct{}
	consentsArgs struct{}
	concernsArgs struct{}
	forgetArgs   struct{}
	linkArgs     struct{}
	// scheduleArgs asks scheduling for the session that a person is expected at.
	scheduleArgs struct {
		Referral uuid.UUID `json:"referral"`
	}
)

// Kind names the job.
func (resumeArgs) Kind() string { return "referral_resume_placements" }

// Kind names the job.
func (dueArgs) Kind() string { return "referral_sweep_due_times" }

// Kind names the job.
func (consentsArgs) Kind() string { return "referral_end_consents" }

// Kind names the job.
func (concernsArgs) Kind() string { return "referral_sweep_concerns" }

// Kind names the job.
func (forgetArgs) Kind() string { return "referral_forget" }

// Kind names the job.
func (linkArgs) Kind() string { return "referral_link_patients" }

// Kind names the job.
func (scheduleArgs) Kind() string { return "referral_schedule" }

// addJobs adds the service's workers and returns its periodic jobs.
func (s *server) addJobs(w *river.Workers) []*river.PeriodicJob {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[resumeArgs]) error { return s.resume(ctx) }))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[dueArgs]) error { return s.sweepDue(ctx) }))
	// By itself: that somebody is in danger waits for nothing else, and asks no peer.
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[concernsArgs]) error { return s.sweepConcerns(ctx) }))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[consentsArgs]) error { return s.sweepConsents(ctx) }))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[linkArgs]) error { return s.linkPatients(ctx) }))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[forgetArgs]) error { return s.forget(ctx) }))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, j *river.Job[scheduleArgs]) error { return s.schedule(ctx, j.Args.Referral) }))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, j *river.Job[noticeArgs]) error { return s.write(ctx, j.Args) }))
	// One of each at a time: a run that is late is not run twice.
	once := &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled, rivertype.JobStateRetryable,
	}}}
	return []*river.PeriodicJob{
		river.NewPeriodicJob(river.PeriodicInterval(resumeEvery), func() (river.JobArgs, *river.InsertOpts) { return resumeArgs{}, once }, &river.PeriodicJobOpts{RunOnStart: true}),
		river.NewPeriodicJob(river.PeriodicInterval(dueEvery), func() (river.JobArgs, *river.InsertOpts) { return dueArgs{}, once }, &river.PeriodicJobOpts{RunOnStart: true}),
		river.NewPeriodicJob(river.PeriodicInterval(consentsEvery), func() (river.JobArgs, *river.InsertOpts) { return consentsArgs{}, once }, &river.PeriodicJobOpts{RunOnStart: true}),
		river.NewPeriodicJob(river.PeriodicInterval(concernsEvery), func() (river.JobArgs, *river.InsertOpts) { return concernsArgs{}, once }, &river.PeriodicJobOpts{RunOnStart: true}),
		river.NewPeriodicJob(river.PeriodicInterval(linkEvery), func() (river.JobArgs, *river.InsertOpts) { return linkArgs{}, once }, &river.PeriodicJobOpts{RunOnStart: true}),
		river.NewPeriodicJob(river.PeriodicInterval(forgetEvery), func() (river.JobArgs, *river.InsertOpts) { return forgetArgs{}, once }, nil),
	}
}

// resume ends what was begun with membership and left: the caller's process died, or membership was out of reach.
func (s *server) resume(ctx context.Context) error {
	now := s.clock.Now()
	var left []uuid.UUID
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		// Taking one puts off its next turn, so that a broken one does not keep the others waiting.
		left, err = ids(ctx, tx, `
			UPDATE placements p SET attempts = attempts + 1, retry_time = @now + LEAST(@most::interval, @first::interval * power(2, LEAST(attempts, 10)))
			FROM (SELECT referral_id FROM placements WHERE retry_time <= @now ORDER BY retry_time LIMIT @n FOR UPDATE SKIP LOCKED) due
			WHERE p.referral_id = due.referral_id RETURNING p.referral_id`,
			pgx.NamedArgs{"now": now, "first": retryFirst, "most": retryMost, "n": atOnce})
		return err
	}); err != nil {
		return fmt.Errorf("find placements: %w", err)
	}
	for _, id := range left {
		if err := s.finish(ctx, id); err != nil {
			if ctx.Err() != nil {
				return err
			}
			s.log.WarnContext(ctx, "placement came to nothing, or is tried again", "referral", aip.Name("referrals", id), "error", err)
			if err := s.tellStuck(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// enqueueSchedule has the next session looked up for referrals, once the transaction is committed.
func (s *server) enqueueSchedule(ctx context.Context, tx pgx.Tx, referrals ...uuid.UUID) error {
	if len(referrals) == 0 {
		return nil
	}
	params := make([]river.InsertManyParams, len(referrals))
	for i, id := range referrals {
		params[i] = river.InsertManyParams{Args: scheduleArgs{Referral: id}}
	}
	if _, err := s.jobs().InsertManyFastTx(ctx, tx, params); err != nil {
		return fmt.Errorf("enqueue scheduling: %w", err)
	}
	return nil
}

// errSessionGone says that a session was cancelled while it was being given to somebody.
var errSessionGone = errors.New("the session has just been cancelled")

// schedule gives a placed person the group's next session. Where none is planned she waits: calendar.changed looks again.
func (s *server) schedule(ctx context.Context, id uuid.UUID) error {
	var r *row
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		r, err = find(ctx, tx, auth.TenantFrom(ctx), id)
		return err
	}); err != nil || r == nil || !r.awaitsSession() || r.GroupID == nil {
		return err
	}
	next, err := s.sessionToExpect(ctx, r)
	if err != nil || next == nil {
		return err
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		if err := s.lockSession(ctx, tx, next); err != nil {
			return err
		}
		r, err := lock(ctx, tx, auth.TenantFrom(ctx), id)
		if err != nil || r == nil || !r.awaitsSession() {
			return err
		}
		if off, err := declined(ctx, tx, id, s.clock.Now()); err != nil || slices.Contains(off, next.id) {
			return cmp.Or(err, errSessionGone) // she has said so meanwhile
		}
		c := s.newChange(r, told("scheduling"))
		r.FirstSessionID, r.FirstSessionTime = &next.id, &next.start
		if err := c.take(transition{from: r.State, action: schedule, to: scheduled}, entry{by: system, session: &next.id}); err != nil {
			return err
		}
		return c.save(ctx, tx)
	})
}

// lockSession keeps a session's changes out until the transaction ends, and takes in those that came since it was read.
func (s *server) lockSession(ctx context.Context, tx pgx.Tx, next *session) error {
	if err := lockKey(ctx, tx, "sessions", next.id); err != nil {
		return err
	}
	var cancelled bool
	var start time.Time
	err := tx.QueryRow(ctx, `SELECT cancelled, start_time FROM session_changes WHERE session_id = $1 AND revision > $2`,
		next.id, next.revision).Scan(&cancelled, &start)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("find session: %w", err)
	case cancelled:
		return errSessionGone
	}
	next.start = start
	return nil
}

// forget deletes what was kept for referrals that never came, and what was recommended long ago.
func (s *server) forget(ctx context.Context) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		now := s.clock.Now()
		if _, err := tx.Exec(ctx, `DELETE FROM attendances WHERE applied IS NULL AND create_time < $1
			AND NOT EXISTS (SELECT FROM referrals r WHERE r.membership_id = attendances.membership_id)`, now.Add(-attendanceKept)); err != nil {
			return fmt.Errorf("forget attendance: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM session_changes WHERE start_time < $1`, now.Add(-sessionKept)); err != nil {
			return fmt.Errorf("forget sessions: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM recommendations WHERE create_time < $1`, now.AddDate(-2, 0, 0)); err != nil {
			return fmt.Errorf("forget recommendations: %w", err)
		}
		return forgetBookings(ctx, tx, now)
	})
}

// finishSoon ends, after the caller's own transaction, what it has left with membership. If that fails, the job does it.
func (s *server) finishSoon(ctx context.Context, name string) {
	id, err := aip.ParseName("name", "referrals", name)
	if err == nil {
		err = s.finish(ctx, id)
	}
	if err != nil {
		s.log.InfoContext(ctx, "giving the seat back is tried again", "referral", name, "error", err)
	}
}
