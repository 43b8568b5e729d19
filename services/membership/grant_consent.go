package membership

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/fault"
)

// maxConsents bounds a member's history of consents.
const maxConsents = 200

// GrantConsent implements MembershipService.
func (s *server) GrantConsent(ctx context.Context, req *membershipv1.GrantConsentRequest) (*membershipv1.Member, error) {
	return s.changeMember(ctx, "name", req.GetName(), req.GetEtag(), func(m *membershipv1.Member) error {
		if len(m.GetConsents()) >= maxConsents {
			return fault.Precondition("TOO_MANY_CONSENTS", req.GetName(), "the member's history already holds %d consents", maxConsents)
		}
		now := timestamppb.New(s.clock.Now())
		if old := standing(m, req.GetKind()); old != nil {
			old.WithdrawnTime = now
		}
		m.Consents = append(m.Consents, &membershipv1.Member_Consent{Kind: req.GetKind(), Version: req.GetVersion(), GrantedTime: now})
		return nil
	})
}

// standing returns the member's consent of a kind that is not withdrawn, nil if there is none.
func standing(m *membershipv1.Member, kind membershipv1.Member_ConsentKind) *membershipv1.Member_Consent {
	for _, c := range m.GetConsents() {
		if c.GetKind() == kind && c.GetWithdrawnTime() == nil {
			return c
		}
	}
	return nil
}

// withdrawn tells whether a member has taken back a consent of a kind and not given it again.
func withdrawn(m *membershipv1.Member, kind membershipv1.Member_ConsentKind) bool {
	return standing(m, kind) == nil && slices.ContainsFunc(m.GetConsents(), func(c *membershipv1.Member_Consent) bool { return c.GetKind() == kind })
}
