package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// ListReferralConcerns implements ConcernsService.
func (s *server) ListReferralConcerns(ctx context.Context, req *referralv1.ListReferralConcernsRequest) (*referralv1.ListReferralConcernsResponse, error) {
	tenant := auth.TenantFrom(ctx)
	query := []any{"ListReferralConcerns", tenant, req.GetOpen()}
	before, more, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if !more {
		before = uuid.Max
	}
	size := page.Size(req.GetPageSize())
	var rows []*concernRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		b := new(pgx.Batch)
		b.Queue(`SELECT `+concernColumns+` FROM concerns WHERE (@all OR org_id = @org) AND referral_id < @before AND (NOT @open OR state <> 3)
			ORDER BY referral_id DESC LIMIT @n`, pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "before": before, "open": req.GetOpen(), "n": size + 1}).
			Query(collect(&rows))
		if err := sendBatch(ctx, tx, b); err != nil {
			return err
		}
		return show(ctx, tx, new(pgx.Batch), "referralConcerns/-", upTo(size, rows))
	}); err != nil {
		return nil, fmt.Errorf("list concerns: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(c *concernRow) uuid.UUID { return c.ReferralID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListReferralConcernsResponse{NextPageToken: next}
	for _, c := range rows {
		resp.Concerns = append(resp.Concerns, c.toProto())
	}
	return resp, nil
}
