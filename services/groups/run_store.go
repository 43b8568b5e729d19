package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// The phases of a run.
const (
	phaseFetch int16 = iota + 1
	phaseScan
	phaseApply
)

// runRow is a run as its table holds it.
type runRow struct {
	ID             uuid.UUID
	FeedID         uuid.UUID
	OrgID          uuid.UUID
	State          int32
	DryRun         bool
	Source         int32
	RequestID      *uuid.UUID
	ContentDigest  []byte
	Approved       bool
	Cancelled      bool
	Attempt        int32
	Phase          int16
	Scan           int32
	Batches        int32
	Batch          int32
	AppliedRow     int64
	Changes        int64
	RowsRead       int64
	RowsToApply    int64
	RowsApplied    int64
	GroupsToRemove int64
	ContentBytes   int64
	BytesRead      int64
	NotModified    bool
	FetchNext      string
	FetchPart      int
	FetchSeq       int
	FeedRevision   int64
	Partial        bool
	RemoteETag     string `db:"remote_etag"`
	RemoteModified string
	Created        int64
	Updated        int64
	Unchanged      int64
	Removed        int64
	Rejected       int64
	Held           int64
	Unpublished    int64
	Error          string
	CreateTime     time.Time
	StartTime      *time.Time
	EndTime        *time.Time
}

const runColumns = `
	r.id, r.feed_id, r.org_id, r.state, r.dry_run, r.source, r.request_id, r.content_digest, r.approved, r.cancelled, r.attempt, r.phase, r.scan, r.batches, r.batch,
	r.applied_row, r.changes, r.rows_read, r.rows_to_apply, r.rows_applied, r.groups_to_remove, r.content_bytes, r.bytes_read, r.not_modified,
	r.fetch_next, r.fetch_part, r.fetch_seq, r.feed_revision, r.partial, r.remote_etag, r.remote_modified, r.created, r.updated, r.unchanged, r.removed, r.rejected, r.held, r.unpublished, r.error,
	r.create_time, r.start_time, r.end_time`

func (r *runRow) toProto() *groupsv1.FeedRun {
	return &groupsv1.FeedRun{
		Name: aip.Name("feedRuns", r.ID), Feed: aip.Name("feeds", r.FeedID), Organization: aip.Name("organizations", r.OrgID),
		State: groupsv1.FeedRun_State(r.State), DryRun: r.DryRun, Source: groupsv1.Feed_Source(r.Source), NotModified: r.NotModified,
		Counts: &groupsv1.FeedRun_Counts{
			Created: r.Created, Updated: r.Updated, Unchanged: r.Unchanged, Removed: r.Removed, Rejected: r.Rejected, Held: r.Held, Unpublished: r.Unpublished,
		},
		Progress: &groupsv1.FeedRun_Progress{
			RowsRead: r.RowsRead, RowsToApply: r.RowsToApply, RowsApplied: r.RowsApplied, GroupsToRemove: r.GroupsToRemove,
			ContentBytes: r.ContentBytes, BytesRead: r.BytesRead,
		},
		Error: r.Error, CreateTime: timestamppb.New(r.CreateTime), StartTime: instantOf(r.StartTime), EndTime: instantOf(r.EndTime),
	}
}

// ended reports whether the run is over.
func (r *runRow) ended() bool {
	switch groupsv1.FeedRun_State(r.State) {
	case groupsv1.FeedRun_SUCCEEDED, groupsv1.FeedRun_FAILED, groupsv1.FeedRun_CANCELLED:
		return true
	}
	return false
}

// selectRun reads the tenant's run; lock is "" or "FOR UPDATE".
func selectRun(ctx context.Context, tx pg.Querier, id uuid.UUID, lock string) (*runRow, error) {
	t := auth.TenantFrom(ctx)
	return oneRun(ctx, tx, aip.Name("feedRuns", id), `r.id = @id AND (@all OR r.org_id = @org) `+lock, pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All})
}

// runOfRequest returns the run that a push or pull with the same request_id has made, nil if there is none.
func runOfRequest(ctx context.Context, tx pg.Querier, feed *feedRow, request *uuid.UUID) (*runRow, error) {
	if request == nil {
		return nil, nil
	}
	r, err := oneRun(ctx, tx, "", `r.feed_id = @feed AND r.org_id = @org AND r.request_id = @request`,
		pgx.NamedArgs{"feed": feed.ID, "org": feed.OrgID, "request": *request})
	if _, absent := errors.AsType[*fault.Error](err); absent {
		return nil, nil
	}
	return r, err
}

func oneRun(ctx context.Context, tx pg.Querier, name, where string, args pgx.NamedArgs) (*runRow, error) {
	rows, err := tx.Query(ctx, `SELECT `+runColumns+` FROM feed_runs r WHERE `+where, args)
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[runRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	return r, nil
}

// insertRun adds a run that waits for a worker, and the job that works on it.
func (s *feedServer) insertRun(ctx context.Context, tx pgx.Tx, r *runRow) error {
	if err := s.insertRunRow(ctx, tx, r); err != nil {
		return err
	}
	return s.enqueue(ctx, tx, r.ID)
}

func (s *feedServer) insertRunRow(ctx context.Context, tx pgx.Tx, r *runRow) error {
	r.State = int32(groupsv1.FeedRun_QUEUED)
	if _, err := tx.Exec(ctx, `
		INSERT INTO feed_runs (id, feed_id, org_id, state, dry_run, source, request_id, content_digest, phase, content_bytes, create_time)
		VALUES (@id, @feed, @org, @state, @dry_run, @source, @request, @digest, @phase, @bytes, @now)`,
		pgx.NamedArgs{
			"id": r.ID, "feed": r.FeedID, "org": r.OrgID, "state": r.State, "dry_run": r.DryRun, "source": r.Source, "request": r.RequestID,
			"digest": r.ContentDigest, "phase": r.Phase, "bytes": r.ContentBytes, "now": r.CreateTime,
		}); err != nil {
		return fmt.Errorf("insert run: %w", err)
	}
	return nil
}

// enqueue has a worker look at the run.
func (s *feedServer) enqueue(ctx context.Context, tx pgx.Tx, run uuid.UUID) error {
	if _, err := s.jobs().InsertTx(ctx, tx, runArgs{Run: run}, nil); err != nil {
		return fmt.Errorf("enqueue run: %w", err)
	}
	return nil
}
