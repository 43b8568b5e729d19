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

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
)

// How often the periodic jobs run, and how much is looked at together.
const (
	offersEvery     = 10 * time.Second
	guidelinesEvery = time.Minute
	waitlistsEvery  = time.Hour

	sweepAtOnce = 100
)

type (
	offersArgs     struct{}
	guidelinesArgs struct{}
	waitlistsArgs  struct{}
)

// Kind names the job.
func (offersArgs) Kind() string { return "membership_expire_offers" }

// Kind names the job.
func (guidelinesArgs) Kind() string { return "membership_ask_guidelines" }

// Kind names the job.
func (waitlistsArgs) Kind() string { return "membership_serve_waitlists" }

// addJobs adds the workers of joining and returns their periodic jobs.
func (s *server) addJobs(w *river.Workers) []*river.PeriodicJob {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[offersArgs]) error {
		return errors.Join(s.expireOffers(ctx), s.serveBehind(ctx))
	}))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[guidelinesArgs]) error { return s.askGuidelines(ctx) }))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[waitlistsArgs]) error {
		return errors.Join(s.readGroups(ctx), s.serveWaitlists(ctx))
	}))
	// One of each at a time: a run that is late is not run twice.
	once := &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled, rivertype.JobStateRetryable,
	}}}
	atStart := &river.PeriodicJobOpts{RunOnStart: true}
	return []*river.PeriodicJob{
		river.NewPeriodicJob(river.PeriodicInterval(offersEvery), func() (river.JobArgs, *river.InsertOpts) { return offersArgs{}, once }, atStart),
		river.NewPeriodicJob(river.PeriodicInterval(guidelinesEvery), func() (river.JobArgs, *river.InsertOpts) { return guidelinesArgs{}, once }, atStart),
		river.NewPeriodicJob(river.PeriodicInterval(waitlistsEvery), func() (river.JobArgs, *river.InsertOpts) { return waitlistsArgs{}, once }, atStart),
	}
}

// item is one of the things that a sweep has found.
type item struct {
	id uuid.UUID
	do func(ctx context.Context) error
}

// sweep finds what is due and does it, some at a time until nothing is left. What fails does not keep the rest from it, and is
// told in the error; what names it.
func (s *server) sweep(ctx context.Context, what string, find func(tx pgx.Tx, skip []uuid.UUID) ([]item, error)) error {
	var broken []error
	skip := []uuid.UUID{}
	for {
		var found []item
		if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
			found, err = find(tx, skip)
			return err
		}); err != nil {
			return errors.Join(append(broken, fmt.Errorf("%s: find: %w", what, err))...)
		}
		for _, i := range found {
			if err := i.do(ctx); err != nil {
				broken = append(broken, fmt.Errorf("%s %s: %w", what, i.id, err))
			}
			skip = append(skip, i.id)
		}
		if len(found) < sweepAtOnce || ctx.Err() != nil {
			return errors.Join(broken...)
		}
	}
}

// sweepGroups is sweep over the groups for which the condition holds.
func (s *server) sweepGroups(ctx context.Context, what, condition string, do func(ctx context.Context, group uuid.UUID) error) error {
	return s.sweep(ctx, what, func(tx pgx.Tx, skip []uuid.UUID) ([]item, error) {
		rows, err := tx.Query(ctx, `SELECT group_id FROM group_seats WHERE `+condition+` AND NOT group_id = ANY(@skip) ORDER BY group_id LIMIT @n`,
			pgx.NamedArgs{"skip": skip, "n": sweepAtOnce})
		if err != nil {
			return nil, err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		items := make([]item, len(ids))
		for i, id := range ids {
			items[i] = item{id: id, do: func(ctx context.Context) error { return do(ctx, id) }}
		}
		return items, err
	})
}

// serveWaitlists offers free seats to those who have come to qualify without anything having happened in the group: another year,
// another role.
func (s *server) serveWaitlists(ctx context.Context) error {
	return s.sweepGroups(ctx, "serve waitlist", `waiting > 0 AND accepts_intake AND (capacity = 0 OR taken < capacity)`,
		s.serveWaitlist)
}

// readGroups reads the groups again of which not all is known that is to be.
func (s *server) readGroups(ctx context.Context) error {
	return s.sweepGroups(ctx, "read group", `group_revision = 0`, func(ctx context.Context, id uuid.UUID) error {
		group, err := s.groups.GetGroup(ctx, &groupsv1.GetGroupRequest{Name: aip.Name("groups", id)})
		if err != nil {
			return err
		}
		f, err := facts(group)
		if err != nil {
			return err
		}
		return s.db.Tx(ctx, func(tx pgx.Tx) error {
			_, err := s.applyFacts(ctx, tx, f, s.clock.Now())
			return err
		})
	})
}
