package membership

import (
	"context"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/emptypb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/mail"
)

// DeleteAnnouncement implements GroupAppsService.
func (s *server) DeleteAnnouncement(ctx context.Context, req *membershipv1.DeleteAnnouncementRequest) (*emptypb.Empty, error) {
	answer := new(emptypb.Empty)
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := findAnnouncement(ctx, tx, req.GetName(), "FOR UPDATE")
		if err != nil {
			return err
		}
		who, err := footingIn(ctx, tx, row.GroupID)
		if err != nil {
			return err
		}
		if !who.inside() {
			return fault.NotFound(req.GetName())
		}
		if err := mayAnnounce(who, req.GetName()); err != nil {
			return err
		}
		now := s.clock.Now()
		b := new(pgx.Batch)
		b.Queue(`UPDATE announcements SET body = NULL, mailing = false, delete_time = @now WHERE id = @id`, pgx.NamedArgs{"id": row.ID, "now": now})
		mail.Withdraw(b, row.name(), now)
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}
