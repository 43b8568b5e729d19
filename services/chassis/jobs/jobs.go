// Package jobs runs what is scheduled or retried, on River in the service's own database:
// deadlines, reminders, deliveries, sweeps. Events do not go through it.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// Times of a job's life.
const (
	timeout = time.Minute     // of one attempt, unless the worker says otherwise
	rescue  = 5 * time.Minute // after which a job whose process died runs again; longer than any attempt
	poll    = 250 * time.Millisecond
	grace   = 10 * time.Second // for running jobs when the process stops
)

// Config is what a service's jobs need.
type Config struct {
	Service  string // "groups": jobs act as this service, on every tenant's rows
	DB       *pg.DB
	Workers  *river.Workers
	Periodic []*river.PeriodicJob
	Waker    *events.Waker // of the service's relay; nil: jobs queue no events that are in a hurry
	Log      *slog.Logger
}

// New returns the client that inserts jobs and, once [Run], works them. It adds the chassis's
// own periodic jobs.
//
// It polls, because River's NOTIFY takes a lock at commit that makes writers wait for each
// other. A job with a deadline of its own in the database is still better swept than queued.
func New(c Config) (*river.Client[pgx.Tx], error) {
	if err := river.AddWorkerSafely(c.Workers, &sweeper{db: c.DB}); err != nil {
		return nil, fmt.Errorf("jobs of %s: %w", c.Service, err)
	}
	if err := river.AddWorkerSafely(c.Workers, &chainer{db: c.DB, log: c.Log}); err != nil {
		return nil, fmt.Errorf("jobs of %s: %w", c.Service, err)
	}
	client, err := river.NewClient(riverpgxv5.New(c.DB.Pool), &river.Config{
		ID:                   c.Service + "_" + uuid.NewString(),
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 8}},
		Workers:              c.Workers,
		PeriodicJobs:         append(c.Periodic, sweep(), chain()),
		Middleware:           []rivertype.Middleware{&identity{service: c.Service, waker: c.Waker}},
		Logger:               slog.New(warnings{c.Log.Handler()}),
		JobTimeout:           timeout,
		RescueStuckJobsAfter: rescue,
		FetchPollInterval:    poll,
		FetchCooldown:        poll / 5,
		PollOnly:             true,
		ReindexerSchedule:    river.NeverSchedule(), // the service's role owns no index
	})
	if err != nil {
		return nil, fmt.Errorf("jobs of %s: %w", c.Service, err)
	}
	return client, nil
}

// warnings keeps River's own reports of every start, stop and count out of the log.
type warnings struct{ slog.Handler }

// Enabled drops what is less than a warning.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// WithAttrs keeps the limit.
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }

// WithGroup keeps the limit.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }

// Run works jobs of db until ctx ends, then lets running ones finish for a while before it
// cancels them; a cancelled one runs again later. Jobs whose process died run again within
// seconds of the next look of any living one.
func Run(ctx context.Context, client *river.Client[pgx.Tx], db *pg.DB, log *slog.Logger) error {
	p := &presence{db: db, client: client.ID(), log: log}
	conn, err := p.enter(ctx)
	if ctx.Err() != nil && err != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start jobs: %w", closing(ctx, conn, err))
	}
	lasting, leave := context.WithCancel(context.WithoutCancel(ctx))
	var kept sync.WaitGroup
	kept.Go(func() { p.keep(lasting, conn) })
	defer kept.Wait()
	defer leave()
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err = client.Stop(stopping)
	if errors.Is(err, context.DeadlineExceeded) {
		killing, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err = client.StopAndCancel(killing)
	}
	if err != nil {
		return fmt.Errorf("stop jobs: %w", err)
	}
	return nil
}

// identity lets jobs act as the service.
type identity struct {
	river.MiddlewareDefaults
	service string
	waker   *events.Waker
}

// Work runs one attempt of a job.
func (m *identity) Work(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
	ctx = audit.Operation(auth.System(ctx, m.service), "job "+job.Kind)
	if m.waker != nil {
		tracked, wake := m.waker.Track(ctx)
		defer wake()
		ctx = tracked
	}
	return work(ctx)
}

type sweepArgs struct{}

// Kind names the job.
func (sweepArgs) Kind() string { return "chassis_sweep" }

// sweeper deletes what the chassis keeps for a while.
type sweeper struct {
	river.WorkerDefaults[sweepArgs]
	db *pg.DB
}

// Work deletes expired answers.
func (s *sweeper) Work(ctx context.Context, _ *river.Job[sweepArgs]) error {
	return idem.Sweep(ctx, s.db, idem.Kept)
}

func sweep() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(10*time.Minute), func() (river.JobArgs, *river.InsertOpts) {
		return sweepArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: 5 * time.Minute}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}
