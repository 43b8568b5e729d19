package scheduling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/fault"
)

const (
	// lag is how much less than the window may be filled before the job fills it.
	lag = 24 * time.Hour

	// chunk is how many calendars a job tells at once.
	chunk = 200

	jobTimeout = 4 * time.Minute // the next run goes on where one ends
)

func (s *server) addJobs(h *chassis.Host) error {
	if err := errors.Join(
		river.AddWorkerSafely(h.Workers, &windowWorker{server: s}),
		river.AddWorkerSafely(h.Workers, &calendarWorker{server: s}),
		river.AddWorkerSafely(h.Workers, &listedWorker{server: s}),
		river.AddWorkerSafely(h.Workers, &arrivalsWorker{server: s}),
	); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	h.Periodic = append(h.Periodic, listedSweep(), arrivalsSweep(),
		river.NewPeriodicJob(river.PeriodicInterval(time.Hour), func() (river.JobArgs, *river.InsertOpts) {
			return windowArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: 30 * time.Minute}}
		}, &river.PeriodicJobOpts{RunOnStart: true}),
		river.NewPeriodicJob(river.PeriodicInterval(10*time.Minute), func() (river.JobArgs, *river.InsertOpts) {
			return calendarArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: 5 * time.Minute}}
		}, &river.PeriodicJobOpts{RunOnStart: true}),
	)
	return nil
}

type windowArgs struct{}

// Kind names the job.
func (windowArgs) Kind() string { return "scheduling_window" }

// windowWorker keeps sessions 54 weeks ahead of the present.
type windowWorker struct {
	river.WorkerDefaults[windowArgs]
	*server
}

// Timeout bounds an attempt.
func (w *windowWorker) Timeout(*river.Job[windowArgs]) time.Duration { return jobTimeout }

// Work extends every series whose sessions no longer reach far enough.
func (w *windowWorker) Work(ctx context.Context, _ *river.Job[windowArgs]) error {
	return w.extendAll(ctx)
}

// extendAll extends the series whose sessions reach less than the window. One that
// fails does not keep the others from it; the error tells of it.
func (s *server) extendAll(ctx context.Context) error {
	now := s.clock.Now()
	var failed []error
	var after uuid.UUID
	for {
		var ids []uuid.UUID
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `
				SELECT id FROM series
				WHERE horizon < @reach AND delete_time IS NULL AND NOT closed AND last_end IS NULL AND id > @after
				ORDER BY id LIMIT @chunk`, pgx.NamedArgs{"reach": now.Add(window - lag), "after": after, "chunk": together})
			if err != nil {
				return err
			}
			ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		}); err != nil {
			return errors.Join(append(failed, fmt.Errorf("find series to extend: %w", err))...)
		}
		if len(ids) == 0 {
			return errors.Join(failed...)
		}
		after = ids[len(ids)-1]
		err := s.extend(ctx, ids, now)
		if err == nil {
			continue
		}
		if ctx.Err() != nil || fault.Unreachable(err) {
			return errors.Join(append(failed, err)...)
		}
		for _, id := range ids { // one of them keeps the others from it
			if err := s.extend(ctx, []uuid.UUID{id}, now); err != nil {
				s.log.ErrorContext(ctx, "cannot extend series", "series", id, "error", err)
				failed = append(failed, fmt.Errorf("extend series %s: %w", id, err))
				if ctx.Err() != nil || fault.Unreachable(err) {
					return errors.Join(failed...)
				}
			}
		}
	}
}

// extend brings series up to the window, all or none. Those that are over or deleted by now are left as they are.
func (s *server) extend(ctx context.Context, ids []uuid.UUID, now time.Time) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `
			SELECT FROM calendars WHERE group_id IN (SELECT group_id FROM series WHERE id = ANY($1)) ORDER BY group_id FOR NO KEY UPDATE`, ids); err != nil {
			return fmt.Errorf("lock calendars: %w", err)
		}
		rows, err := tx.Query(ctx, `SELECT `+seriesColumns+` FROM series
			WHERE id = ANY($1) AND delete_time IS NULL AND NOT closed AND last_end IS NULL ORDER BY id FOR UPDATE`, ids)
		if err != nil {
			return fmt.Errorf("lock series: %w", err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[seriesRow])
		if err != nil {
			return fmt.Errorf("lock series: %w", err)
		}
		edits := make([]edit, len(list))
		for i, r := range list {
			edits[i] = edit{series: r, aim: aim{lenient: true, reason: droppedReason}}
		}
		return reconcileAll(ctx, tx, edits, now)
	})
}

type calendarArgs struct{}

// Kind names the job.
func (calendarArgs) Kind() string { return "scheduling_calendar" }

// calendarWorker keeps what others know of a group's coming sessions current.
type calendarWorker struct {
	river.WorkerDefaults[calendarArgs]
	*server
}

// Timeout bounds an attempt.
func (w *calendarWorker) Timeout(*river.Job[calendarArgs]) time.Duration { return jobTimeout }

// Work tells the calendars of which a session has begun.
func (w *calendarWorker) Work(ctx context.Context, _ *river.Job[calendarArgs]) error {
	return w.tellAll(ctx)
}

// tellAll tells the calendar of every group of which a session that was told as coming
// has begun.
func (s *server) tellAll(ctx context.Context) error {
	now := s.clock.Now()
	for {
		told := 0
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `SELECT group_id FROM calendars WHERE first_start <= @now ORDER BY group_id LIMIT @chunk FOR UPDATE SKIP LOCKED`,
				pgx.NamedArgs{"now": now, "chunk": chunk})
			if err != nil {
				return err
			}
			groups, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			if err != nil {
				return err
			}
			told = len(groups)
			return tellCalendars(ctx, tx, groups, now)
		}); err != nil {
			return fmt.Errorf("tell calendars: %w", err)
		}
		if told < chunk {
			return nil
		}
	}
}
