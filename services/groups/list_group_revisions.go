package groups

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// ListGroupRevisions lists the changes of one of the caller's groups, newest first.
func (s *server) ListGroupRevisions(ctx context.Context, req *groupsv1.ListGroupRevisionsRequest) (*groupsv1.ListGroupRevisionsResponse, error) {
	id, err := aip.ParseName("parent", "groups", req.GetParent())
	if err != nil {
		return nil, err
	}
	t := insider(ctx)
	bound := []any{"ListGroupRevisions", t, req.GetParent()}
	before, more, err := page.Decode[int64](req.GetPageToken(), bound...)
	if err != nil {
		return nil, err
	}
	if !more {
		before = newestRevision
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All, "before": before, "limit": size + 1}

	type row struct {
		Revision int64
		Time     time.Time
		Actor    string
		FeedRun  *uuid.UUID
		Change   int32
		Fields   []byte
	}
	var there bool
	var list []row
	b := s.db.Batch(ctx)
	b.Queue(`SELECT EXISTS (SELECT FROM groups g WHERE g.id = @id AND (@all OR g.org_id = @org))`, args).QueryRow(func(r pgx.Row) error {
		return r.Scan(&there)
	})
	b.Queue(selectRevisions, args).Query(func(rows pgx.Rows) (err error) {
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[row])
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list revisions of group: %w", err)
	}
	if !there {
		return nil, fault.NotFound(req.GetParent())
	}
	list, next, err := page.Cut(list, size, func(r row) int64 { return r.Revision }, bound...)
	if err != nil {
		return nil, err
	}
	resp := &groupsv1.ListGroupRevisionsResponse{NextPageToken: next}
	for _, r := range list {
		rev := &groupsv1.GroupRevision{}
		if err := proto.Unmarshal(r.Fields, rev); err != nil {
			return nil, fmt.Errorf("decode revision %d of group %s: %w", r.Revision, id, err)
		}
		rev.Name = fmt.Sprintf("%s/revisions/%d", req.GetParent(), r.Revision)
		rev.CreateTime, rev.Actor = timestamppb.New(r.Time), r.Actor
		if r.FeedRun != nil {
			rev.FeedRun = aip.Name("feedRuns", *r.FeedRun)
		}
		rev.Change = groupsv1.GroupRevision_Change(r.Change)
		resp.GroupRevisions = append(resp.GroupRevisions, rev)
	}
	return resp, nil
}
