package groups

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// ListGuidelinesVersions lists what the members of one of the caller's groups were asked to acknowledge, newest first.
func (s *server) ListGuidelinesVersions(ctx context.Context, req *groupsv1.ListGuidelinesVersionsRequest) (*groupsv1.ListGuidelinesVersionsResponse, error) {
	id, err := aip.ParseName("parent", "groups", req.GetParent())
	if err != nil {
		return nil, err
	}
	t := insider(ctx)
	bound := []any{"ListGuidelinesVersions", t, req.GetParent()}
	before, more, err := page.Decode[int32](req.GetPageToken(), bound...)
	if err != nil {
		return nil, err
	}
	if !more {
		before = math.MaxInt32
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All, "before": before, "limit": size + 1}

	type row struct {
		Version     int32
		Text, URI   string
		ReplaceTime time.Time
	}
	var r groupRow
	var replaced []row
	b := s.db.Batch(ctx)
	b.Queue(`
		SELECT `+groupColumns+`
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON p.group_id = g.id
		WHERE g.id = @id AND (@all OR g.org_id = @org)`, args).QueryRow(r.scan)
	b.Queue(`
		SELECT v.version, v.text, v.uri, v.replace_time
		FROM guidelines_versions v
		WHERE v.group_id = @id AND (@all OR v.org_id = @org) AND v.version < @before
		ORDER BY v.version DESC LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		replaced, err = pgx.CollectRows(rows, pgx.RowToStructByPos[row])
		return err
	})
	if err := s.db.Send(ctx, b); errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetParent())
	} else if err != nil {
		return nil, fmt.Errorf("list versions of guidelines: %w", err)
	}
	g, err := r.toProto(s.clock.Now())
	if err != nil {
		return nil, err
	}
	var list []*groupsv1.GuidelinesVersion
	if now := g.GetGuidelines(); acknowledgeable(now) > 0 && now.GetVersion() < before {
		list = append(list, &groupsv1.GuidelinesVersion{Version: now.GetVersion(), Text: now.GetText(), Uri: now.GetUri()})
	}
	for _, v := range replaced {
		list = append(list, &groupsv1.GuidelinesVersion{Version: v.Version, Text: v.Text, Uri: v.URI, ReplaceTime: timestamppb.New(v.ReplaceTime)})
	}
	for _, v := range list {
		v.Name = fmt.Sprintf("%s/guidelinesVersions/%d", req.GetParent(), v.GetVersion())
	}
	list, next, err := page.Cut(list, size, (*groupsv1.GuidelinesVersion).GetVersion, bound...)
	if err != nil {
		return nil, err
	}
	return &groupsv1.ListGuidelinesVersionsResponse{GuidelinesVersions: list, NextPageToken: next}, nil
}
