package membership

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

const (
	matchesEvery = 10 * time.Minute
	matchesChunk = 500
)

type matchesArgs struct{}

// Kind names the job.
func (matchesArgs) Kind() string { return "membership_matches" }

// addMatchJobs adds the job that declines matches which nobody has answered in time.
func (s *server) addMatchJobs(w *river.Workers) []*river.PeriodicJob {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[matchesArgs]) error { return s.sweepMatches(ctx) }))
	return []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(matchesEvery), func() (river.JobArgs, *river.InsertOpts) {
		return matchesArgs{}, &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: matchesEvery / 2}}
	}, &river.PeriodicJobOpts{RunOnStart: true})}
}

// sweepMatches declines the matches whose deadline is over.
func (s *server) sweepMatches(ctx context.Context) error {
	for more := true; more; {
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			b := new(pgx.Batch)
			n, err := closeMatches(ctx, tx, b, `p.id IN (SELECT id FROM peer_matches WHERE state = 1 AND expire_time <= @now
				ORDER BY expire_time LIMIT @n FOR NO KEY UPDATE SKIP LOCKED)`,
				pgx.NamedArgs{"n": matchesChunk}, membershipv1.PeerMatch_NOT_ANSWERED, s.clock.Now())
			if err != nil {
				return err
			}
			more = n == matchesChunk
			return send(ctx, tx, b)
		}); err != nil {
			return fmt.Errorf("decline matches: %w", err)
		}
	}
	return nil
}
