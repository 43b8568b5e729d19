package membership

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/erasure"
	"cairn.care/services/chassis/events"
)

// How often erasures are looked after.
const (
	erasuresEvery = 2 * time.Second
	erasureRetry  = time.Minute // after an attempt that failed
)

type erasuresArgs struct{}

// Kind names the job.
func (erasuresArgs) Kind() string { return "membership_erasures" }

// addErasureJobs adds the workers and returns the periodic jobs of erasures.
func (s *server) addErasureJobs(w *river.Workers) []*river.PeriodicJob {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[erasuresArgs]) error { return s.goOnErasing(ctx) }))
	return []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(erasuresEvery), func() (river.JobArgs, *river.InsertOpts) {
		return erasuresArgs{}, oneAtATime()
	}, &river.PeriodicJobOpts{RunOnStart: true})}
}

// goOnErasing does what is left to do here of erasures, wherever it was left. One that fails does not keep the others from it.
func (s *server) goOnErasing(ctx context.Context) error {
	return s.sweep(ctx, "erase", func(tx pgx.Tx, skip []uuid.UUID) ([]item, error) {
		now := s.clock.Now()
		rows, err := tx.Query(ctx, `UPDATE erasures SET retry_time = @retry WHERE id IN (
				SELECT id FROM erasures WHERE retry_time <= @now AND NOT id = ANY(@skip) ORDER BY retry_time LIMIT @n FOR UPDATE SKIP LOCKED)
			RETURNING id`, pgx.NamedArgs{"now": now, "retry": now.Add(erasureRetry), "skip": skip, "n": sweepAtOnce})
		if err != nil {
			return nil, err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		items := make([]item, len(ids))
		for i, id := range ids {
			items[i] = item{id: id, do: func(ctx context.Context) error { return s.finishHere(ctx, id) }}
		}
		return items, err
	})
}

// finishHere ends the memberships of an erased member, each in a transaction of its own and as any other that ends, so that its seat
// goes to the next; then this service has done its part.
func (s *server) finishHere(ctx context.Context, id uuid.UUID) error {
	type open struct{ ID, GroupID uuid.UUID }
	var left []open
	var records int64
	hers := new(membershipv1.ErasureRequested)
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := findErasure(ctx, tx, `e.id = @id`, id)
		if err != nil || row == nil {
			return err
		}
		records, hers.Member = row.Records, aip.Name("members", row.MemberID)
		if hers.Memberships, hers.Referrals, err = holdings(ctx, tx, row.MemberID); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT id, group_id FROM memberships WHERE member_id = $1 AND state NOT IN (6, 7) ORDER BY id`, row.MemberID)
		if err != nil {
			return fmt.Errorf("find memberships: %w", err)
		}
		left, err = pgx.CollectRows(rows, pgx.RowToStructByPos[open])
		return err
	}); err != nil {
		return err
	}
	for _, m := range left {
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			return s.close(ctx, tx, m.GroupID, m.ID, membershipv1.Membership_DATA_ERASED)
		}); err != nil {
			return err
		}
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		// Changes that had begun before she was erased have ended by now; they may have kept answers and queued e-mail since.
		b := new(pgx.Batch)
		erasure.Forget(b, hers, s.clock)
		b.Queue(`UPDATE erasures SET retry_time = NULL WHERE id = $1`, id)
		if err := send(ctx, tx, b); err != nil {
			return fmt.Errorf("finish erasure: %w", err)
		}
		return finishPart(ctx, tx, id, service, records, s.clock.Now())
	})
}

// acknowledgements follows what the other services say that they have erased.
func (s *server) acknowledgements() []events.Subscription {
	var all []events.Subscription
	for _, peer := range erasing {
		if peer != service {
			all = append(all, events.Subscription{Name: "membership-erasure-" + peer, Source: peer, Handlers: map[string]events.Handler{
				erasure.Acknowledged(peer): s.acknowledged,
			}})
		}
	}
	return all
}

func (s *server) acknowledged(_ context.Context, e *events.Received) (events.Write, error) {
	var m membershipv1.ErasureAcknowledged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	id, err := aip.ParseName("erasure", "erasures", m.GetErasure())
	if err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		return finishPart(ctx, tx, id, m.GetService(), m.GetRecords(), m.GetFinishTime().AsTime())
	}, nil
}
