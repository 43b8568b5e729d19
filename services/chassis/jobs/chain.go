package jobs

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"

	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/pg"
)

const (
	chainEvery  = time.Minute // how long a record of the audit log may stand outside of its hash chain
	anchorEvery = time.Hour   // how often the program's own log says where the chain ends
)

type chainArgs struct{}

// Kind names the job.
func (chainArgs) Kind() string { return "chassis_audit_chain" }

// chainer lays the hash chain over the audit log.
type chainer struct {
	river.WorkerDefaults[chainArgs]
	db  *pg.DB
	log *slog.Logger

	anchored atomic.Int64 // when, in Unix seconds
}

// Work chains what has been added to the log. Now and then it says in the program's own log, which is kept elsewhere than the database,
// where the chain ends.
func (c *chainer) Work(ctx context.Context, _ *river.Job[chainArgs]) error {
	end, err := audit.Extend(ctx, c.db)
	if err != nil {
		return err
	}
	if now := time.Now().Unix(); end.Position > 0 && now-c.anchored.Load() >= int64(anchorEvery.Seconds()) {
		c.anchored.Store(now)
		c.log.InfoContext(ctx, "audit anchor", "anchor", end.String())
	}
	return nil
}

func chain() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(chainEvery), func() (river.JobArgs, *river.InsertOpts) {
		return chainArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: chainEvery / 2}}
	}, nil)
}
