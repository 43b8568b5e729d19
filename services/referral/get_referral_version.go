package referral

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// GetReferralVersion implements ReferralRecordsService.
func (s *server) GetReferralVersion(ctx context.Context, req *referralv1.GetReferralVersionRequest) (*referralv1.ReferralVersion, error) {
	referral, number, _ := strings.Cut(req.GetName(), "/versions/")
	id, err := aip.ParseName("name", "referrals", referral)
	if err != nil {
		return nil, err
	}
	revision, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return nil, fault.Invalid(fault.Field("name", "must end with /versions/ and a number"))
	}
	tenant := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org, "revision": revision}
	// One that is not stored is only the referral as an older release left it.
	shown := selectReferral + ` AND (r.revision = @revision OR EXISTS (SELECT FROM referral_versions v WHERE ` + shownVersions + ` AND v.revision = @revision))`
	var found []*row
	var versions []*versionRow
	b := s.db.Batch(ctx)
	b.Queue(shown, args).Query(collect(&found))
	b.Queue(`SELECT v.referral_id, v.revision, v.create_time, v.body FROM referral_versions v WHERE `+shownVersions+` AND v.revision = @revision`, args).
		Query(collect(&versions))
	audit.QueueIf(ctx, b, referral, shown, args)
	s.disclose(ctx, b, shown, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find version: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetName())
	}
	now, v := found[0], found[0].present()
	if len(versions) > 0 {
		v = versions[0]
	}
	return s.version(now, v, viewFor(tenant, now))
}
