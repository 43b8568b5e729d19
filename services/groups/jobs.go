package groups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// licenceArgs asks for a look at every licence that a published therapy group rests on.
type licenceArgs struct{}

// Kind names the job.
func (licenceArgs) Kind() string { return "licence_sweep" }

// licenceSweep looks every hour, so that a group is paused early on the day after its licence's last.
func licenceSweep() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(time.Hour), func() (river.JobArgs, *river.InsertOpts) {
		return licenceArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: 30 * time.Minute}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

type licenceWorker struct {
	river.WorkerDefaults[licenceArgs]
	server *server
	log    *slog.Logger
}

// Work pauses the therapy groups that have no licence any more, each in a transaction of its own, and tells of the licences that
// lapse.
func (w *licenceWorker) Work(ctx context.Context, _ *river.Job[licenceArgs]) error {
	paused, err := w.server.pauseUnlicensed(ctx)
	if paused > 0 {
		w.log.InfoContext(ctx, "therapy groups paused, their licence has lapsed", "groups", paused)
	}
	return errors.Join(err, w.server.tellLapsing(ctx))
}

// pauseUnlicensed pauses every published therapy group without a valid licence and returns how many it has paused.
func (s *server) pauseUnlicensed(ctx context.Context) (paused int, err error) {
	var ids []uuid.UUID
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		ids, err = unlicensed(ctx, tx, s.clock.Now(), nil)
		return err
	}); err != nil {
		return 0, err
	}
	var errs []error
	for _, id := range ids {
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error { return s.pauseLapsed(ctx, tx, id) }); err != nil {
			errs = append(errs, fmt.Errorf("pause group %s: %w", id, err))
			continue
		}
		paused++
	}
	return paused, errors.Join(errs...)
}

// pauseLapsed pauses one group whose licence has lapsed, unless it was put right meanwhile.
func (s *server) pauseLapsed(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	r, err := lockGroup(ctx, tx, id)
	if err != nil {
		return err
	}
	g, err := r.toProto(s.clock.Now())
	if err != nil {
		return err
	}
	leads, err := leadsOf(ctx, tx, r.OrgID, g.GetFacilitators(), s.clock.Now())
	if err != nil {
		return err
	}
	for _, l := range leads {
		if l.leads() && l.Licensed {
			return nil
		}
	}
	if r.standing() != (standing{groupsv1.Group_PUBLISHED, false}) || g.GetKind() != groupsv1.Group_GROUP_THERAPY {
		return nil
	}
	before := proto.CloneOf(g)
	r.State, r.PauseReason = int32(groupsv1.Group_PAUSED), int32(groupsv1.Group_LICENCE_LAPSED)
	r.Revision, r.UpdateTime = r.Revision+1, s.clock.Now()
	r.into(g)
	b := new(pgx.Batch)
	if err := queueUpdateGroup(b, &r.groupKey, g); err != nil {
		return err
	}
	if err := queueChange(ctx, b, &r.groupKey, before, g, "paused"); err != nil {
		return err
	}
	return tx.SendBatch(ctx, b).Close()
}
