package membership

import (
	"context"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/fault"
)

// GetAnnouncement implements GroupAppsService.
func (s *server) GetAnnouncement(ctx context.Context, req *membershipv1.GetAnnouncementRequest) (*membershipv1.Announcement, error) {
	var row *announcementRow
	err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		if row, err = findAnnouncement(ctx, tx, req.GetName(), ""); err != nil {
			return err
		}
		who, err := footingIn(ctx, tx, row.GroupID)
		if err != nil {
			return err
		}
		if !who.inside() {
			return fault.NotFound(req.GetName())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return row.toProto(s.keys)
}
