package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
)

// How often what keeps people safe is looked after, and how much at once.
const (
	safetyEvery  = 5 * time.Second
	safetyAtOnce = 100
)

type safetyArgs struct{}

// Kind names the job.
func (safetyArgs) Kind() string { return "membership_safety" }

// addSafetyJobs adds the workers and returns the periodic jobs of concerns.
func (s *server) addSafetyJobs(w *river.Workers) []*river.PeriodicJob {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[safetyArgs]) error {
		return errors.Join(s.passOnOverdue(ctx), s.tellThoseWhoAct(ctx))
	}))
	return []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(safetyEvery), func() (river.JobArgs, *river.InsertOpts) {
		return safetyArgs{}, oneAtATime()
	}, &river.PeriodicJobOpts{RunOnStart: true})}
}

// oneAtATime is how a periodic job is queued that is not run twice when it is late.
func oneAtATime() *river.InsertOpts {
	return &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled, rivertype.JobStateRetryable,
	}}}
}

// passOnOverdue gives every concern whose due time has passed to the next who acts. One that cannot be passed on does not keep
// the others from it; the error tells of it.
func (s *server) passOnOverdue(ctx context.Context) error {
	tried := []uuid.UUID{}
	var broken []error
	for {
		late, err := s.overdue(ctx, tried)
		if err != nil {
			return errors.Join(append(broken, err)...)
		}
		for _, id := range late {
			if err := s.passOn(ctx, id); err != nil {
				broken = append(broken, fmt.Errorf("%s: %w", aip.Name("safetyConcerns", id), err))
			}
		}
		if len(late) < safetyAtOnce {
			return errors.Join(broken...)
		}
		tried = append(tried, late...)
	}
}

// overdue returns concerns whose due time has passed, the longest overdue first, but not those that were tried.
func (s *server) overdue(ctx context.Context, tried []uuid.UUID) (late []uuid.UUID, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT id FROM safety_concerns WHERE state <> 3 AND due_time <= @now AND id <> ALL(@tried) ORDER BY due_time LIMIT @n`,
			pgx.NamedArgs{"now": s.clock.Now(), "tried": tried, "n": safetyAtOnce})
		if err != nil {
			return err
		}
		late, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find overdue concerns: %w", err)
	}
	return late, nil
}

// passOn gives one overdue concern to the next who acts, unless somebody was faster.
func (s *server) passOn(ctx context.Context, id uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		now := s.clock.Now()
		var row *concernRow
		lock := new(pgx.Batch)
		lock.Queue(`SELECT `+concernColumns+` FROM safety_concerns c WHERE c.id = @id AND c.state <> 3 AND c.due_time <= @now FOR NO KEY UPDATE`,
			pgx.NamedArgs{"id": id, "now": now}).Query(atMostOne(&row))
		if err := send(ctx, tx, lock); err != nil || row == nil {
			return err
		}
		there, err := findLeads(ctx, tx, row.GroupID)
		if err != nil {
			return err
		}
		row.passOn(there, now)
		s.tellSoon(row)
		b := new(pgx.Batch)
		updateConcern(b, row)
		if err := queueConcernChanged(ctx, b, row, "escalated"); err != nil {
			return err
		}
		audit.Queue(ctx, b, row.name())
		return send(ctx, tx, b)
	})
}
