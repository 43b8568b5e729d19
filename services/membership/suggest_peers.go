package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/membership/pairing"
)

const usualSuggestions = 10

// SuggestPeers implements PeerMatchesService.
func (s *server) SuggestPeers(ctx context.Context, req *membershipv1.SuggestPeersRequest) (*membershipv1.SuggestPeersResponse, error) {
	id, err := aip.ParseName("name", "memberships", req.GetName())
	if err != nil {
		return nil, err
	}
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = id
	resp := &membershipv1.SuggestPeersResponse{WeightsVersion: pairing.WeightsVersion}
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		var mentee *membershipRow
		b := new(pgx.Batch)
		b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE x.id = @id AND `+hers, args).Query(one(&mentee))
		audit.QueueIf(ctx, b, req.GetName(), `SELECT FROM memberships x WHERE x.id = @id AND `+hers, args)
		if err := send(ctx, tx, b); err != nil {
			return fmt.Errorf("find membership: %w", err)
		}
		if mentee.State != active {
			return notActive(mentee)
		}
		found, err := supporters(ctx, tx, s.keys, mentee, s.clock.Now())
		if err != nil {
			return err
		}
		disclosed := new(pgx.Batch)
		for _, p := range found {
			if !p.suitable() || len(resp.GetSuggestions()) == int(cmp.Or(req.GetMaxResults(), usualSuggestions)) {
				continue
			}
			audit.Queue(ctx, disclosed, p.name())
			resp.Suggestions = append(resp.Suggestions, &membershipv1.SuggestPeersResponse_Suggestion{
				Supporter: p.name(), Alias: p.Alias, Score: p.fit.Score, Criteria: p.fit.Criteria, OpenPlaces: p.limit - p.open,
			})
		}
		return send(ctx, tx, disclosed)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func notActive(r *membershipRow) error {
	return fault.Precondition("NOT_ACTIVE", r.name(), "the membership is %s: only who takes part is matched or takes a role", r.State)
}
