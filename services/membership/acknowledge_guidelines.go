package membership

import (
	"context"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
)

// AcknowledgeGuidelines implements MembershipService.
func (s *server) AcknowledgeGuidelines(ctx context.Context, req *membershipv1.AcknowledgeGuidelinesRequest) (*membershipv1.Membership, error) {
	known, err := s.guidelinesOf(ctx, req.GetName(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(),
		decide: func(r *membershipRow, _ *groupRow) (action, error) {
			does := reaffirm
			if r.State == approved {
				does = acknowledge
			}
			if _, ok := next(r.State, does); !ok {
				return "", illegal(r, acknowledge)
			}
			if does == acknowledge && known.Screening && r.ReferralID != nil && !r.Exception && r.ScreeningOutcome != int32(membershipv1.Membership_SUITABLE) {
				return "", fault.Precondition("SCREENING_NEEDED", r.name(), "a seat is held for her, and the group asks for a talk before she takes part: record what came of it with :recordScreening")
			}
			if current := known.GuidelinesVersion; req.GetVersion() != current {
				return "", fault.Precondition("GUIDELINES_VERSION", aip.Name("groups", r.GroupID),
					"the group's guidelines are at version %d, not %d: read them again and acknowledge that version", current, req.GetVersion())
			}
			r.GuidelinesVersion = req.GetVersion()
			return does, nil
		},
	})
}

// guidelinesOf returns a membership's group with the current version of its guidelines. The groups service is asked only if
// the version offered is not the one known here: it may be newer than the last event.
func (s *server) guidelinesOf(ctx context.Context, membership string, offered int32) (*groupRow, error) {
	id, err := aip.ParseName("name", "memberships", membership)
	if err != nil {
		return nil, err
	}
	g, err := s.groupOf(ctx, membership, id)
	if err != nil || g.GuidelinesVersion == offered {
		return g, err
	}
	return s.groupNow(ctx, g.GroupID)
}
