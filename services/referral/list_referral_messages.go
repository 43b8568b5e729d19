package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// ListReferralMessages implements MessagesService.
func (s *server) ListReferralMessages(ctx context.Context, req *referralv1.ListReferralMessagesRequest) (*referralv1.ListReferralMessagesResponse, error) {
	id, err := aip.ParseName("parent", "referrals", req.GetParent())
	if err != nil {
		return nil, err
	}
	after, _, err := page.Decode[uuid.UUID](req.GetPageToken(), "ListReferralMessages", id)
	if err != nil {
		return nil, err
	}
	tenant, size := auth.TenantFrom(ctx), page.Size(req.GetPageSize())
	var found []*row
	var rows []*messageRow
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	b := s.db.Batch(ctx)
	b.Queue(selectReferral, args).Query(collect(&found))
	b.Queue(`SELECT `+messageColumns+` FROM messages WHERE referral_id = @id AND id > @after ORDER BY id LIMIT @n`,
		pgx.NamedArgs{"id": id, "after": after, "n": size + 1}).Query(collect(&rows))
	audit.QueueIf(ctx, b, req.GetParent(), selectReferral, args)
	s.disclose(ctx, b, selectReferral, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list messages: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetParent())
	}
	r, side := found[0], receiver
	if viewFor(tenant, r) == whole {
		side = referrer
	}
	shown, err := s.shownMessages(r, side)
	if err != nil {
		return nil, err
	}
	if !shown {
		return &referralv1.ListReferralMessagesResponse{}, nil
	}
	rows, next, err := page.Cut(rows, size, func(m *messageRow) uuid.UUID { return m.ID }, "ListReferralMessages", id)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListReferralMessagesResponse{NextPageToken: next}
	for _, row := range rows {
		m, err := s.messageToProto(r, row)
		if err != nil {
			return nil, err
		}
		resp.Messages = append(resp.Messages, m)
	}
	return resp, nil
}
