package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/page"
)

func matchFields() aip.Fields {
	return aip.Fields{
		"organization": aip.Ref("p.org_id", "organizations"),
		"state":        aip.Enum("p.state", membershipv1.PeerMatch_State_value),
		"end_reason":   aip.Enum("p.end_reason", membershipv1.PeerMatch_EndReason_value),
		"create_time":  aip.Instant("p.create_time"),
		"update_time":  aip.Instant("p.update_time"),
	}
}

// ListPeerMatches implements PeerMatchesService.
func (s *server) ListPeerMatches(ctx context.Context, req *membershipv1.ListPeerMatchesRequest) (*membershipv1.ListPeerMatchesResponse, error) {
	size := page.Size(req.GetPageSize())
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	query := []any{"ListPeerMatches", args["all"], args["org"], args["self_member"], args["self_lead"], req.GetGroup(), req.GetMembership(), req.GetFilter()}
	args["limit"] = size + 1
	where, err := aip.Filter(req.GetFilter(), matchFields(), args)
	if err != nil {
		return nil, err
	}
	for _, by := range []struct{ field, collection, name, condition string }{
		{"group", "groups", req.GetGroup(), " AND p.group_id = @group"},
		{"membership", "memberships", req.GetMembership(), " AND @membership IN (p.mentee_id, p.supporter_id)"},
	} {
		if by.name == "" {
			continue
		}
		if args[by.field], err = aip.ParseName(by.field, by.collection, by.name); err != nil {
			return nil, err
		}
		where += by.condition
	}
	after, ok, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if ok {
		args["after"] = after
		where += " AND p.id < @after"
	}
	var rows []*matchRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+matchColumns+fromMatches+` WHERE `+matchHers+` AND `+where+` ORDER BY p.id DESC LIMIT @limit`, args).Query(all(&rows))
	audit.Queue(ctx, b, "peerMatches/-")
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list matches: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *matchRow) uuid.UUID { return r.ID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &membershipv1.ListPeerMatchesResponse{NextPageToken: next}
	for _, r := range rows {
		resp.PeerMatches = append(resp.PeerMatches, r.toProto())
	}
	return resp, nil
}
