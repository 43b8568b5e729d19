package referral

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// ListDuplicateReferrals implements ReferralRecordsService.
func (s *server) ListDuplicateReferrals(ctx context.Context, req *referralv1.ListDuplicateReferralsRequest) (*referralv1.ListDuplicateReferralsResponse, error) {
	tenant := auth.TenantFrom(ctx)
	query := []any{"ListDuplicateReferrals", tenant}
	after, _, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "after": after, "n": size + 1}
	var people []uuid.UUID
	var rows []*row
	b := new(pgx.Batch)
	const doubled = `EXISTS (SELECT FROM referrals d WHERE ` + duplicates + `)`
	const whose = `SELECT DISTINCT r.patient_id FROM referrals r WHERE (@all OR r.org_id = @org) AND r.patient_id > @after AND r.state < 10
		AND ` + doubled + ` ORDER BY r.patient_id LIMIT @n`
	b.Queue(whose, args).Query(func(rows pgx.Rows) (err error) {
		people, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	// Of one person, the oldest are enough to see it.
	b.Queue(`SELECT f.* FROM (`+whose+`) p CROSS JOIN LATERAL (
			SELECT `+columns+` FROM referrals r WHERE r.patient_id = p.patient_id AND r.state < 10 AND `+doubled+` ORDER BY r.id LIMIT 20) f
		ORDER BY f.patient_id, f.id`, args).Query(collect(&rows))
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		if err := sendBatch(ctx, tx, b); err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(r *row) bool { return !slices.Contains(upTo(size, people), *r.PatientID) })
		return s.showReferrals(ctx, tx, rows)
	}); err != nil {
		return nil, fmt.Errorf("list duplicates: %w", err)
	}
	people, next, err := page.Cut(people, size, func(id uuid.UUID) uuid.UUID { return id }, query...)
	if err != nil {
		return nil, err
	}
	of := make(map[uuid.UUID]*referralv1.DuplicateReferrals, len(people))
	resp := &referralv1.ListDuplicateReferralsResponse{NextPageToken: next}
	for _, id := range people {
		of[id] = &referralv1.DuplicateReferrals{Patient: aip.Name("patients", id)}
		resp.Duplicates = append(resp.Duplicates, of[id])
	}
	for _, r := range rows {
		m, err := s.toShortProto(r, viewFor(tenant, r))
		if err != nil {
			return nil, err
		}
		d := of[*r.PatientID]
		d.Referrals = append(d.Referrals, m)
	}
	return resp, nil
}
