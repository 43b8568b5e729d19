package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
)

// GetPeerMatch implements PeerMatchesService.
func (s *server) GetPeerMatch(ctx context.Context, req *membershipv1.GetPeerMatchRequest) (*membershipv1.PeerMatch, error) {
	id, err := aip.ParseName("name", "peerMatches", req.GetName())
	if err != nil {
		return nil, err
	}
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = id
	var row *matchRow
	b := s.db.Batch(ctx)
	b.Queue(selectMatch, args).Query(one(&row))
	audit.QueueIf(ctx, b, req.GetName(), selectMatch, args)
	err = s.db.Send(ctx, b)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, fmt.Errorf("find match: %w", err)
	}
	return row.toFullProto(ctx, s.keys)
}
