package scheduling

import (
	"context"

	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
)

// GetSession returns one session.
func (s *server) GetSession(ctx context.Context, req *schedulingv1.GetSessionRequest) (*schedulingv1.Session, error) {
	id, err := aip.ParseName("name", "sessions", req.GetName())
	if err != nil {
		return nil, err
	}
	var session *schedulingv1.Session
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		row, err := oneSession(ctx, tx, id, "")
		if err != nil {
			return err
		}
		session, err = withPlaces(ctx, tx, row)
		return err
	}); err != nil {
		return nil, err
	}
	return session, nil
}
