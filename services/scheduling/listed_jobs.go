package scheduling

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
)

const (
	// together is how many groups of bulk changes are planned in one transaction: a long one would hold up who reads changes
	// by transaction in the same cluster.
	together = 100

	// A burst is many groups of which the last have just come: planning a year for each would take the machine from the feed
	// that brings them.
	burst     = 1000
	quiet     = 2 * time.Second // after which it is over
	burstMost = 2 * time.Minute // after which planning begins all the same

	setBack = 5 * time.Minute // of a group that could not be planned
)

// listedArgs asks for a look at the groups whose listings are due.
type listedArgs struct{}

// Kind names the job.
func (listedArgs) Kind() string { return "scheduling_listed" }

// InsertOpts allows one job at a time. One that waits for its next attempt does not keep another from coming.
func (listedArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}

// listedSweep looks every minute, should a job have been lost.
func listedSweep() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(time.Minute), func() (river.JobArgs, *river.InsertOpts) {
		return listedArgs{}, nil
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

// listingsLock is held in share mode by who adds to listings_due, and alone by the job that ends because it is empty: else an addition
// could go unseen by the job that ends, and have been refused one of its own.
const listingsLock = `'listings_due'::regclass::bigint`

// groupsSynced notes the groups of a bulk change, to be planned when there is time.
func (s *server) groupsSynced(_ context.Context, e *events.Received) (events.Write, error) {
	var synced groupsv1.GroupsSynced
	if err := e.Decode(&synced); err != nil {
		return nil, events.Poison(err)
	}
	ids := make([]uuid.UUID, len(synced.GetGroups()))
	for i, name := range synced.GetGroups() {
		id, err := aip.ParseName("groups", "groups", name)
		if err != nil {
			return nil, events.Poison(err)
		}
		ids[i] = id
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		if err := queueListings(ctx, tx, ids); err != nil {
			return err
		}
		if _, err := s.jobs().InsertTx(ctx, tx, listedArgs{}, nil); err != nil {
			return fmt.Errorf("enqueue planning: %w", err)
		}
		return nil
	}, nil
}

// queueListings notes groups whose listings are to be planned.
func queueListings(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) error {
	b := &pgx.Batch{}
	b.Queue(`SELECT pg_advisory_xact_lock_shared(` + listingsLock + `)`)
	b.Queue(`
		INSERT INTO listings_due (group_id, asked, due_time)
		SELECT id, 1, clock_timestamp() FROM (SELECT DISTINCT unnest($1::uuid[]) AS id ORDER BY 1) AS g
		ON CONFLICT (group_id) DO UPDATE SET asked = listings_due.asked + 1`, ids)
	return sendAll(ctx, tx, b, "note listings")
}

type listedWorker struct {
	river.WorkerDefaults[listedArgs]
	*server
}

// Timeout bounds an attempt.
func (w *listedWorker) Timeout(*river.Job[listedArgs]) time.Duration { return jobTimeout }

// Work plans what is due, some groups at a time, and gives way to bursts.
func (w *listedWorker) Work(ctx context.Context, job *river.Job[listedArgs]) error {
	until := time.Now().Add(jobTimeout / 2)
	for time.Now().Before(until) {
		busy, err := w.inBurst(ctx)
		if err != nil {
			return err
		}
		if busy {
			return river.JobSnooze(quiet / 2)
		}
		planned, err := w.planDue(ctx)
		if unreachable(err) {
			w.log.WarnContext(ctx, "listings wait: the groups service is away", "error", err)
			return river.JobSnooze(quiet)
		}
		if err != nil {
			return err
		}
		if planned > 0 {
			continue
		}
		if ended, err := w.conclude(ctx, job); err != nil || ended {
			return err
		}
	}
	return river.JobSnooze(0)
}

// conclude ends the job, unless something has come meanwhile.
func (w *listedWorker) conclude(ctx context.Context, job *river.Job[listedArgs]) (ended bool, err error) {
	err = w.db.Tx(ctx, func(tx pgx.Tx) error {
		var due bool
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(`+listingsLock+`)`); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM listings_due WHERE due_time <= clock_timestamp())`).Scan(&due); err != nil || due {
			return err
		}
		ended = true
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("end planning: %w", err)
	}
	return ended, nil
}

// inBurst reports whether groups keep coming.
func (s *server) inBurst(ctx context.Context) (busy bool, err error) {
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			SELECT coalesce((SELECT count(*) FROM (SELECT FROM listings_due LIMIT @burst) AS first) = @burst
				AND max(due_time) > clock_timestamp() - @quiet::interval AND min(due_time) > clock_timestamp() - @most::interval, false)
			FROM listings_due WHERE due_time <= clock_timestamp()`,
			pgx.NamedArgs{"burst": burst, "quiet": quiet, "most": burstMost}).Scan(&busy)
	})
	if err != nil {
		return false, fmt.Errorf("look for a burst: %w", err)
	}
	return busy, nil
}

// dueListing is a row of listings_due.
type dueListing struct {
	GroupID uuid.UUID
	Asked   int64
}

// planDue plans the groups that have been due for longest, and returns how many they were. If they cannot be planned together, each
// is by itself, and those that still cannot are set back.
func (s *server) planDue(ctx context.Context) (int, error) {
	var due []dueListing
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT group_id, asked FROM listings_due WHERE due_time <= clock_timestamp() ORDER BY due_time, group_id LIMIT @together`,
			pgx.NamedArgs{"together": together})
		if err != nil {
			return err
		}
		due, err = pgx.CollectRows(rows, pgx.RowToStructByPos[dueListing])
		return err
	}); err != nil {
		return 0, fmt.Errorf("find listings to plan: %w", err)
	}
	if len(due) == 0 {
		return 0, nil
	}
	err := s.planListings(ctx, due)
	if err == nil || unreachable(err) || ctx.Err() != nil {
		return len(due), err
	}
	for i := range due {
		one := due[i : i+1]
		switch err := s.planListings(ctx, one); {
		case err == nil:
		case unreachable(err) || ctx.Err() != nil:
			return i, err
		default:
			name := aip.Name("groups", one[0].GroupID)
			gone := fault.From(err).Code() == codes.NotFound
			s.log.ErrorContext(ctx, "cannot plan the listing of a group", "group", name, "gone", gone, "error", err)
			if err := s.setBack(ctx, one[0], gone); err != nil {
				return i, err
			}
		}
	}
	return len(due), nil
}

// planListings plans what groups say now, and takes them off the list, but for those that have changed meanwhile.
func (s *server) planListings(ctx context.Context, due []dueListing) error {
	names, ids, asked := make([]string, len(due)), make([]uuid.UUID, len(due)), make([]int64, len(due))
	for i, d := range due {
		names[i], ids[i], asked[i] = aip.Name("groups", d.GroupID), d.GroupID, d.Asked
	}
	resp, err := s.groups.BatchGetGroups(ctx, &groupsv1.BatchGetGroupsRequest{Names: names})
	if err != nil {
		return fmt.Errorf("get groups: %w", err)
	}
	list := make([]listing, len(resp.GetGroups()))
	for i, g := range resp.GetGroups() {
		if list[i], err = listingNow(g); err != nil {
			return err
		}
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		if err := takeListings(ctx, tx, list, s.clock.Now()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			DELETE FROM listings_due d USING unnest($1::uuid[], $2::bigint[]) AS g (id, asked) WHERE d.group_id = g.id AND d.asked = g.asked`,
			ids, asked); err != nil {
			return fmt.Errorf("take listings off the list: %w", err)
		}
		return nil
	})
}

// unreachable tells whether err only says that something is away for a while.
func unreachable(err error) bool {
	return fault.Unreachable(err) || fault.From(err).Code() == codes.Unavailable
}

// setBack has a group that cannot be planned wait, or takes it off the list if there is no such group.
func (s *server) setBack(ctx context.Context, d dueListing, gone bool) error {
	statement := `UPDATE listings_due SET due_time = clock_timestamp() + @later::interval WHERE group_id = @id`
	if gone {
		statement = `DELETE FROM listings_due WHERE group_id = @id`
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, statement, pgx.NamedArgs{"id": d.GroupID, "later": setBack}); err != nil {
			return fmt.Errorf("set listing back: %w", err)
		}
		return nil
	})
}

// listingNow reads what a group says.
func listingNow(g *groupsv1.Group) (listing, error) {
	revision, err := aip.Revision(g.GetEtag())
	if err != nil {
		return listing{}, fmt.Errorf("%s: %w", g.GetName(), err)
	}
	return listingOf(&groupsv1.GroupChanged{
		Group: g.GetName(), Organization: g.GetOrganization(), State: g.GetState(), Deleted: g.GetDeleteTime() != nil || g.GetMergedInto() != "",
		Format: g.GetFormat(), TimeZone: g.GetTimeZone(), RegularTimes: g.GetRegularTimes(),
		Facilitators: g.GetFacilitators(),
	}, revision)
}
