package partners

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"
)

// rotateArgs is the job that rotates the signing key when it has signed for long enough.
type rotateArgs struct{}

// Kind names the job.
func (rotateArgs) Kind() string { return "partners_rotate_signing_key" }

type rotateWorker struct {
	river.WorkerDefaults[rotateArgs]
	*service
}

// Work rotates the signing key if it is due.
func (w *rotateWorker) Work(ctx context.Context, _ *river.Job[rotateArgs]) error {
	_, err := w.rotateSigningKey(ctx, keyLife)
	return err
}

// sweepArgs is the job that forgets what has expired.
type sweepArgs struct{}

// Kind names the job.
func (sweepArgs) Kind() string { return "partners_sweep" }

type sweepWorker struct {
	river.WorkerDefaults[sweepArgs]
	*service
}

// Work deletes expired assertions, some thousand at a time, and expired keys.
func (w *sweepWorker) Work(ctx context.Context, _ *river.Job[sweepArgs]) error {
	const chunk = 5000
	now := w.clock.Now()
	for {
		tag, err := w.db.Exec(ctx, `
			DELETE FROM used_assertions WHERE (client_id, jti_hash) IN (
				SELECT client_id, jti_hash FROM used_assertions WHERE expire_time <= $1 ORDER BY expire_time LIMIT $2)
			AND expire_time <= $1`, now, chunk)
		if err != nil {
			return fmt.Errorf("sweep assertions: %w", err)
		}
		if tag.RowsAffected() < chunk {
			break
		}
	}
	if _, err := w.db.Exec(ctx, `DELETE FROM signing_keys WHERE expire_time <= $1`, now); err != nil {
		return fmt.Errorf("sweep signing keys: %w", err)
	}
	return w.sweepEvents(ctx)
}

func periodicJobs() []*river.PeriodicJob {
	once := &river.PeriodicJobOpts{RunOnStart: true}
	return []*river.PeriodicJob{
		river.NewPeriodicJob(river.PeriodicInterval(time.Hour), func() (river.JobArgs, *river.InsertOpts) { return rotateArgs{}, nil }, once),
		river.NewPeriodicJob(river.PeriodicInterval(10*time.Minute), func() (river.JobArgs, *river.InsertOpts) { return sweepArgs{}, nil }, once),
	}
}
