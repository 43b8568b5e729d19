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

// ListReferralVersions implements ReferralRecordsService.
func (s *server) ListReferralVersions(ctx context.Context, req *referralv1.ListReferralVersionsRequest) (*referralv1.ListReferralVersionsResponse, error) {
	id, err := aip.ParseName("parent", "referrals", req.GetParent())
	if err != nil {
		return nil, err
	}
	if req.GetSinceTime() != nil && !req.GetSinceTime().IsValid() {
		return nil, fault.Invalid(fault.Field("since_time", "is no time between the years 1 and 9999"))
	}
	tenant := auth.TenantFrom(ctx)
	query := []any{"ListReferralVersions", tenant, id, req.GetSinceTime().AsTime()}
	before, more, err := page.Decode[int64](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org, "before": before, "more": more, "since": instant(req.GetSinceTime()), "n": size + 1}
	var found []*row
	var versions []*versionRow
	b := s.db.Batch(ctx)
	b.Queue(selectReferral, args).Query(collect(&found))
	b.Queue(`SELECT v.referral_id, v.revision, v.create_time, v.body FROM referral_versions v WHERE `+shownVersions+`
		AND (NOT @more OR v.revision < @before) AND (@since::timestamptz IS NULL OR v.create_time >= @since) ORDER BY v.revision DESC LIMIT @n`, args).
		Query(collect(&versions))
	audit.QueueIf(ctx, b, req.GetParent(), selectReferral, args)
	s.disclose(ctx, b, selectReferral, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetParent())
	}
	now := found[0]
	if last := now.present(); !more && (len(versions) == 0 || versions[0].Revision < last.Revision) {
		if since := instant(req.GetSinceTime()); since == nil || !last.CreateTime.Before(*since) {
			versions = append([]*versionRow{last}, versions...)
		}
	}
	versions, next, err := page.Cut(versions, size, func(v *versionRow) int64 { return v.Revision }, query...)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListReferralVersionsResponse{NextPageToken: next}
	for _, v := range versions {
		m, err := s.version(now, v, viewFor(tenant, now))
		if err != nil {
			return nil, err
		}
		resp.ReferralVersions = append(resp.ReferralVersions, m)
	}
	return resp, nil
}
