package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// ListAnnouncements implements GroupAppsService.
func (s *server) ListAnnouncements(ctx context.Context, req *membershipv1.ListAnnouncementsRequest) (*membershipv1.ListAnnouncementsResponse, error) {
	group, err := aip.ParseName("parent", "groups", req.GetParent())
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	query := []any{"ListAnnouncements", group}
	before, given, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if !given {
		before = uuid.Max
	}
	if err := s.known(ctx, group); err != nil {
		return nil, err
	}
	var rows []*announcementRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		who, err := footingIn(ctx, tx, group)
		if err != nil {
			return err
		}
		if !who.inside() {
			return fault.NotFound(req.GetParent())
		}
		b := new(pgx.Batch)
		b.Queue(`SELECT `+announcementColumns+` FROM announcements a
			WHERE a.group_id = @group AND a.id < @before AND `+current+` ORDER BY a.id DESC LIMIT @limit`,
			pgx.NamedArgs{"group": group, "before": before, "now": s.clock.Now(), "limit": size + 1}).Query(all(&rows))
		return send(ctx, tx, b)
	}); err != nil {
		return nil, fmt.Errorf("list announcements: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *announcementRow) uuid.UUID { return r.ID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &membershipv1.ListAnnouncementsResponse{NextPageToken: next}
	for _, r := range rows {
		a, err := r.toProto(s.keys)
		if err != nil {
			return nil, err
		}
		resp.Announcements = append(resp.Announcements, a)
	}
	return resp, nil
}
