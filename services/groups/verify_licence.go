package groups

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// VerifyLicence records who verified a licence, when and how.
func (s *server) VerifyLicence(ctx context.Context, req *groupsv1.VerifyLicenceRequest) (*groupsv1.Facilitator, error) {
	id, err := aip.ParseName("name", "facilitators", req.GetName())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	return s.changeFacilitator(ctx, id, req.GetEtag(), "licence_verified", func(f *groupsv1.Facilitator) error {
		l := f.GetLicence()
		if l == nil {
			return fault.Precondition("NO_LICENCE", f.GetName(), "the facilitator has no licence: set licence with UpdateFacilitator first")
		}
		if !now.Before(dateTime(l.GetExpireDate()).AddDate(0, 0, 1)) {
			return fault.Precondition("LICENCE_EXPIRED", f.GetName(), "the licence has expired: update licence.expire_date first")
		}
		l.VerifiedBy, l.VerifyTime, l.Evidence = auth.PrincipalFrom(ctx).Subject, timestamppb.New(now), req.GetEvidence()
		c := &checker{}
		c.plainText("evidence", req.GetEvidence())
		return c.err()
	})
}
