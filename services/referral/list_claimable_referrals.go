package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/page"
)

// consentStands is that a referral's consent has not ended at @now: see [consentEnded].
const consentStands = `NOT r.consent ? 'withdrawTime' AND coalesce((r.consent ->> 'expireTime')::timestamptz > @now, true)`

// ListClaimableReferrals implements ReferralService.
func (s *server) ListClaimableReferrals(ctx context.Context, req *referralv1.ListClaimableReferralsRequest) (*referralv1.ListClaimableReferralsResponse, error) {
	after, _, err := page.Decode[uuid.UUID](req.GetPageToken(), "ListClaimableReferrals")
	if err != nil {
		return nil, err
	}
	if err := s.claimant(ctx); err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	var rows []*row
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		b := new(pgx.Batch)
		b.Queue(admitClaimant)
		b.Queue(`SELECT `+columns+` FROM referrals r WHERE r.owner_org_id IS NULL AND r.state = 2 AND r.id > @after AND `+consentStands+` ORDER BY r.id LIMIT @n`,
			pgx.NamedArgs{"after": after, "n": size + 1, "now": s.clock.Now()}).Query(collect(&rows))
		if err := sendBatch(ctx, tx, b); err != nil {
			return err
		}
		return show(ctx, tx, new(pgx.Batch), "referrals/-", upTo(size, rows))
	}); err != nil {
		return nil, fmt.Errorf("list claimable referrals: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *row) uuid.UUID { return r.ID }, "ListClaimableReferrals")
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListClaimableReferralsResponse{NextPageToken: next}
	for _, r := range rows {
		m, err := s.toProto(r, claimable)
		if err != nil {
			return nil, err
		}
		resp.Referrals = append(resp.Referrals, m)
	}
	return resp, nil
}

// collect returns a batch callback that collects every row.
func collect[T any](dst *[]*T) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*dst, err = pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[T])
		return err
	}
}
