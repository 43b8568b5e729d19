package jobs_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/jobs"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

type echoArgs struct {
	Word string `json:"word"`
}

func (echoArgs) Kind() string { return "echo" }

// start runs a service's jobs, with a worker for echo jobs.
func start(t *testing.T, db *pg.DB, work func(context.Context, *river.Job[echoArgs]) error, periodic ...*river.PeriodicJob) (client *river.Client[pgx.Tx], stop func()) {
	t.Helper()
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(work))
	client, err := jobs.New(jobs.Config{
		Service: "jobs", DB: db, Workers: workers, Periodic: periodic, Waker: events.NewWaker(),
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := jobs.Run(ctx, client, db, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return client, stop
}

func TestAJobActsAsItsService(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "jobs", nil)
	type seen struct {
		word      string
		principal auth.Principal
		tenant    auth.Tenant
	}
	worked := make(chan seen, 1)
	client, _ := start(t, db, func(ctx context.Context, j *river.Job[echoArgs]) error {
		worked <- seen{j.Args.Word, auth.PrincipalFrom(ctx), auth.TenantFrom(ctx)}
		return nil
	})
	err := db.Tx(t.Context(), func(tx pgx.Tx) error {
		_, err := client.InsertTx(t.Context(), tx, echoArgs{"hello"}, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := <-worked
	if got.word != "hello" || got.principal.Kind != auth.Service || got.principal.Subject != "jobs" || !got.tenant.All {
		t.Errorf("got %+v, want it to act as the service on all tenants", got)
	}
}

func TestARunningJobFinishesWhenTheProcessStops(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "jobs", nil)
	begun, finish := make(chan struct{}), make(chan struct{})
	client, stop := start(t, db, func(ctx context.Context, _ *river.Job[echoArgs]) error {
		close(begun)
		<-finish
		return ctx.Err()
	})
	if _, err := client.Insert(t.Context(), echoArgs{}, nil); err != nil {
		t.Fatal(err)
	}
	<-begun
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(finish)
	<-stopped
	var state string
	if err := db.QueryRow(t.Context(), `SELECT state FROM river_job WHERE kind = 'echo'`).Scan(&state); err != nil || state != "completed" {
		t.Errorf("state = %q, %v, want completed", state, err)
	}
}

func TestPeriodicJobsAndTheChassisSweep(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "jobs", nil)
	if _, err := db.Exec(t.Context(), `INSERT INTO idempotency (key, answer, created_at) VALUES ('\x01', '\x01', now() - $1::interval)`, idem.Kept+time.Hour); err != nil {
		t.Fatal(err)
	}
	worked := make(chan struct{}, 10)
	start(t, db, func(context.Context, *river.Job[echoArgs]) error { worked <- struct{}{}; return nil },
		river.NewPeriodicJob(river.PeriodicInterval(time.Hour),
			func() (river.JobArgs, *river.InsertOpts) { return echoArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true}))
	<-worked
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 1; n > 0; <-tick.C {
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM idempotency`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTwoWorkersOfOneKindAreRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "jobs", nil)
	config := jobs.Config{Service: "jobs", DB: db, Workers: river.NewWorkers(), Waker: events.NewWaker(), Log: slog.New(slog.DiscardHandler)}
	if _, err := jobs.New(config); err != nil {
		t.Fatal(err)
	}
	if _, err := jobs.New(config); err == nil {
		t.Error("the same workers were used twice")
	}
}
