package jobs_test

import (
	"context"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cairn.care/services/internal/pgtest"
)

// A job that a killed process left running is worked again at once, and one that a living
// process works on is left alone.
func TestAKilledProcessesJobRunsAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "jobs", nil)
	words := make(chan string, 10)
	hold := make(chan struct{})
	work := func(_ context.Context, j *river.Job[echoArgs]) error {
		words <- j.Args.Word
		if j.Args.Word == "living" {
			<-hold
		}
		return nil
	}
	first, _ := start(t, db, work)
	t.Cleanup(func() { close(hold) })
	if _, err := first.Insert(t.Context(), echoArgs{"living"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := <-words; got != "living" {
		t.Fatalf("worked %q first", got)
	}
	// As a client leaves it that is killed after it took the job.
	if _, err := db.Exec(t.Context(), `INSERT INTO river_job (kind, args, state, queue, priority, attempt, max_attempts, attempted_at, attempted_by)
		VALUES ('echo', '{"word": "left"}', 'running', 'default', 1, 1, 25, now(), '{jobs_dead}')`); err != nil {
		t.Fatal(err)
	}
	start(t, db, work) // looks, as first does
	select {
	case got := <-words:
		if got != "left" {
			t.Errorf("worked %q, want the job that was left", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the job that was left is not worked")
	}
	// The look that gave the left job back has seen the living one too.
	var attempt int
	var state string
	if err := db.QueryRow(t.Context(), `SELECT attempt, state FROM river_job WHERE args->>'word' = 'living'`).Scan(&attempt, &state); err != nil {
		t.Fatal(err)
	}
	if attempt != 1 || state != "running" {
		t.Errorf("the living process's job is %s in attempt %d, want running in attempt 1", state, attempt)
	}
}

// A killed process's job that was to be tried once does not keep the next one of its kind away.
func TestAKilledProcessesLastAttemptIsOver(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "jobs", nil)
	worked := make(chan struct{}, 10)
	states := river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled, rivertype.JobStateRetryable,
	}}
	once := &river.InsertOpts{MaxAttempts: 1, UniqueOpts: states}
	client, stop := start(t, db, func(context.Context, *river.Job[echoArgs]) error { return nil })
	stop()
	left, err := client.Insert(t.Context(), echoArgs{"once"}, once)
	if err != nil {
		t.Fatal(err)
	}
	// As a client leaves it that is killed in its only attempt.
	if _, err := db.Exec(t.Context(), `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = '{jobs_dead}', finalized_at = NULL
		WHERE id = $1`, left.Job.ID); err != nil {
		t.Fatal(err)
	}
	if again, err := client.Insert(t.Context(), echoArgs{"once"}, once); err != nil || !again.UniqueSkippedAsDuplicate {
		t.Fatalf("while it stands as running: got %+v, %v; want it to be skipped", again, err)
	}
	start(t, db, func(context.Context, *river.Job[echoArgs]) error {
		worked <- struct{}{}
		return nil
	}, river.NewPeriodicJob(river.PeriodicInterval(time.Second), func() (river.JobArgs, *river.InsertOpts) { return echoArgs{"once"}, once }, nil))
	select {
	case <-worked:
	case <-time.After(30 * time.Second):
		t.Fatal("no other job of the kind is worked")
	}
	var state string
	if err := db.QueryRow(t.Context(), `SELECT state FROM river_job WHERE id = $1`, left.Job.ID).Scan(&state); err != nil || state != "discarded" {
		t.Errorf("the job that was left is %s (%v), want it discarded", state, err)
	}
}
