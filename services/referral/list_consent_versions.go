package referral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// ListConsentVersions implements ConsentsService.
func (s *server) ListConsentVersions(ctx context.Context, req *referralv1.ListConsentVersionsRequest) (*referralv1.ListConsentVersionsResponse, error) {
	id, err := aip.ParseName("parent", "referrals", req.GetParent())
	if err != nil {
		return nil, err
	}
	after, _, err := page.Decode[int32](req.GetPageToken(), "ListConsentVersions", id)
	if err != nil {
		return nil, err
	}
	tenant, size := auth.TenantFrom(ctx), page.Size(req.GetPageSize())
	var found []*row
	var rows []*consentRow
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	b := s.db.Batch(ctx)
	b.Queue(selectReferral, args).Query(collect(&found))
	b.Queue(`SELECT `+consentColumns+` FROM consent_versions WHERE referral_id = @id AND (@all OR org_id = @org) AND number > @after
		ORDER BY number LIMIT @n`, pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org, "after": after, "n": size + 1}).Query(collect(&rows))
	audit.QueueIf(ctx, b, req.GetParent(), selectReferral, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list consent versions: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetParent())
	}
	r := found[0]
	standing := &consentRow{ReferralID: r.ID, Number: max(r.ConsentVersion, 1), Consent: r.Consent, CreateTime: r.consentSince(), Actor: r.ConsentActor}
	if len(rows) <= size && standing.Number > after {
		rows = append(rows, standing)
	}
	rows, next, err := page.Cut(rows, size, func(c *consentRow) int32 { return c.Number }, "ListConsentVersions", id)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListConsentVersionsResponse{NextPageToken: next}
	for _, c := range rows {
		m, err := c.toProto()
		if err != nil {
			return nil, err
		}
		if c == standing {
			m.EndTime = nil
		}
		resp.ConsentVersions = append(resp.ConsentVersions, m)
	}
	return resp, nil
}
