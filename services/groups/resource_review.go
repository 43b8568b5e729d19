package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// reviewArgs asks for a look at every resource that is due to be reviewed again.
type reviewArgs struct{}

// Kind names the job.
func (reviewArgs) Kind() string { return "review_sweep" }

// reviewSweep looks every hour, so that a resource is marked early on its day.
func reviewSweep() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(time.Hour), func() (river.JobArgs, *river.InsertOpts) {
		return reviewArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: 30 * time.Minute}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

type reviewWorker struct {
	river.WorkerDefaults[reviewArgs]
	server *server
}

// Work marks the resources whose day has come, each in a transaction of its own, and tells.
func (w *reviewWorker) Work(ctx context.Context, _ *river.Job[reviewArgs]) error {
	return w.server.markDue(ctx)
}

func (s *server) markDue(ctx context.Context) error {
	var ids []uuid.UUID
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT r.id FROM resources r WHERE r.state = 2 AND r.delete_time IS NULL AND r.review_due <= @today::date ORDER BY r.id`,
			pgx.NamedArgs{"today": s.clock.Now()})
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	}); err != nil {
		return fmt.Errorf("find resources to review: %w", err)
	}
	var errs []error
	for _, id := range ids {
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			r, err := lockResource(ctx, tx, id)
			if err != nil {
				return err
			}
			_, err = s.applyToResource(ctx, tx, &r, func(r *resourceRow, m *groupsv1.Resource) (string, error) {
				if r.DeleteTime != nil || m.GetState() != groupsv1.Resource_VETTED || dateTime(m.GetReviewDue()).After(s.clock.Now()) {
					return "", nil // changed meanwhile
				}
				r.State = int32(groupsv1.Resource_REVIEW_DUE)
				return "review_due", nil
			})
			return err
		}); err != nil {
			errs = append(errs, fmt.Errorf("mark resource %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}
