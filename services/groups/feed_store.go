package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// feedRow is a feed as its table holds it.
type feedRow struct {
	ID              uuid.UUID
	OrgID           uuid.UUID
	Revision        int64
	Body            []byte
	CreateTime      time.Time
	UpdateTime      time.Time
	NextPullTime    *time.Time
	RemoteETag      string `db:"remote_etag"`
	RemoteModified  string
	ModifiedAfter   *time.Time
	LastRun         *uuid.UUID
	LastRunTime     *time.Time
	LastSuccessTime *time.Time
	Failures        int32
	LastError       string
	LiveItems       int64
	NextItem        int32
}

const feedColumns = `
	f.id, f.org_id, f.revision, f.body, f.create_time, f.update_time, f.next_pull_time, f.remote_etag, f.remote_modified,
	f.modified_after, f.last_run, f.last_run_time, f.last_success_time, f.failures, f.last_error, f.live_items, f.next_item`

func (r *feedRow) toProto() (*groupsv1.Feed, error) {
	f := &groupsv1.Feed{}
	if err := proto.Unmarshal(r.Body, f); err != nil {
		return nil, fmt.Errorf("decode feed %s: %w", r.ID, err)
	}
	f.Name, f.Organization, f.Etag = aip.Name("feeds", r.ID), aip.Name("organizations", r.OrgID), aip.ETag(r.Revision)
	f.CreateTime, f.UpdateTime = timestamppb.New(r.CreateTime), timestamppb.New(r.UpdateTime)
	f.Health = &groupsv1.Feed_Health{
		LastRunTime: instantOf(r.LastRunTime), LastSuccessTime: instantOf(r.LastSuccessTime), NextPullTime: instantOf(r.NextPullTime),
		ConsecutiveFailures: r.Failures, LastError: r.LastError, Groups: r.LiveItems,
	}
	if r.LastRun != nil {
		f.Health.LastRun = aip.Name("feedRuns", *r.LastRun)
	}
	return f, nil
}

// instantOf returns a time that may be absent.
func instantOf(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}

// writtenFeed returns a copy of what clients write of the feed: the content of its body.
func writtenFeed(f *groupsv1.Feed) *groupsv1.Feed {
	w := proto.CloneOf(f)
	w.Name, w.Organization, w.Etag, w.Health, w.CreateTime, w.UpdateTime = "", "", "", nil, nil, nil
	return w
}

// selectFeed reads the tenant's feed; lock is "", "FOR UPDATE", or "FOR KEY SHARE", which keeps it from being deleted only.
func selectFeed(ctx context.Context, tx pg.Querier, id uuid.UUID, lock string) (*feedRow, error) {
	t := auth.TenantFrom(ctx)
	rows, err := tx.Query(ctx, `SELECT `+feedColumns+` FROM feeds f WHERE f.id = @id AND (@all OR f.org_id = @org) `+lock,
		pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All})
	if err != nil {
		return nil, fmt.Errorf("read feed: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[feedRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(aip.Name("feeds", id))
	}
	if err != nil {
		return nil, fmt.Errorf("read feed: %w", err)
	}
	return r, nil
}

// queueWriteFeed queues the row of a new or changed feed.
func queueWriteFeed(b *pgx.Batch, r *feedRow, f *groupsv1.Feed) (err error) {
	if r.Body, err = proto.Marshal(writtenFeed(f)); err != nil {
		return fmt.Errorf("encode feed: %w", err)
	}
	b.Queue(`
		INSERT INTO feeds (id, org_id, revision, title, format, source_system, paused, body, create_time, update_time, next_pull_time,
			pull_seconds)
		VALUES (@id, @org, @revision, @title, @format, @source_system, @paused, @body, @create_time, @update_time, @next_pull_time, @pull_seconds)
		ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, title = excluded.title, paused = excluded.paused, body = excluded.body,
			update_time = excluded.update_time, next_pull_time = excluded.next_pull_time, pull_seconds = excluded.pull_seconds,
			remote_etag = '', remote_modified = '', modified_after = NULL`,
		pgx.NamedArgs{
			"id": r.ID, "org": r.OrgID, "revision": r.Revision, "title": f.GetTitle(), "format": f.GetFormat(), "source_system": f.GetSourceSystem(),
			"paused": f.GetPaused(), "body": r.Body, "create_time": r.CreateTime, "update_time": r.UpdateTime, "next_pull_time": r.NextPullTime,
			"pull_seconds": int64(f.GetPull().GetInterval().AsDuration().Seconds()),
		})
	return nil
}

// feedError turns a broken constraint into what the caller did.
func feedError(err error, f *groupsv1.Feed) error {
	if pg.Constraint(err) == "feeds_source" {
		return fault.AlreadyExists(f.GetName(), "the organization already has a feed with source_system %q: update that one, or set another source_system",
			f.GetSourceSystem())
	}
	return err
}
