package membership

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

const (
	maxOffers = 10

	// severe is the distress that somebody is taken to be in whom a group distressed: professional help comes first, and crisis
	// lines are shown.
	severe = 8
)

// calls says whether leaving for a reason calls for alternatives.
func calls(r membershipv1.Membership_EndReason) bool {
	return r == membershipv1.Membership_DISTRESS || r == membershipv1.Membership_NOT_HELPFUL
}

// alternatives asks the directory what to offer to a member who left a group for the reason; mine are the groups that she is
// in or leaves.
func (s *server) alternatives(ctx context.Context, m *membershipv1.Member, reason membershipv1.Membership_EndReason, mine []uuid.UUID) (*membershipv1.Alternatives, error) {
	ctx = auth.System(ctx, service)
	ask := &referralv1.RecommendGroupsRequest{Needs: needsOf(m, s.clock.Now()), MaxResults: int32(maxOffers + len(mine))}
	if reason == membershipv1.Membership_DISTRESS {
		ask.Distress = proto.Int32(severe)
	}
	suit, err := s.referrals.RecommendGroups(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("ask for groups: %w", err)
	}
	vetted, err := s.resources.SearchResources(ctx, &groupsv1.SearchResourcesRequest{
		CancerTypes: ask.GetNeeds().GetCancerTypes(), Languages: bases(m.GetLanguages()), Audiences: audiencesOf(m.GetRole()), PageSize: maxOffers,
	})
	if err != nil {
		return nil, fmt.Errorf("ask for resources: %w", err)
	}
	out := &membershipv1.Alternatives{
		Groups: others(suit.GetRecommendations(), mine), NearMisses: others(suit.GetNearMisses(), mine), Resources: vetted.GetResources(),
		CrisisResources: suit.GetCrisisResources(), Notes: suit.GetNotes(),
	}
	if len(out.GetGroups()) == 0 {
		out.Notes = append(out.Notes, "No other open group meets all that is needed: see the near misses and the resources, or ask a coordinator.")
	}
	return out, nil
}

// others returns the first of what was recommended that she is not in.
func others(list []*referralv1.Recommendation, mine []uuid.UUID) []*referralv1.Recommendation {
	in := map[string]bool{}
	for _, id := range mine {
		in[aip.Name("groups", id)] = true
	}
	var out []*referralv1.Recommendation
	for _, r := range list {
		if len(out) < maxOffers && !in[r.GetGroup().GetName()] {
			out = append(out, r)
		}
	}
	return out
}

// needsOf returns what a member is known to need of a group.
func needsOf(m *membershipv1.Member, now time.Time) *referralv1.Needs {
	n := &referralv1.Needs{
		CancerTypes: m.GetCancerTypes(), Phase: m.GetPhase(), Role: needsRole(m.GetRole()), Languages: m.GetLanguages(),
		Country: m.GetArea().GetCountry(), Times: m.GetSuitableTimes(),
	}
	if m.GetBirthYear() != 0 {
		n.AgeYears = proto.Int32(min(max(int32(now.Year())-m.GetBirthYear(), 0), 120))
	}
	return n
}

func needsRole(r membershipv1.Member_Role) referralv1.Needs_Role {
	switch r {
	case membershipv1.Member_PATIENT:
		return referralv1.Needs_PATIENT
	case membershipv1.Member_SURVIVOR:
		return referralv1.Needs_SURVIVOR
	case membershipv1.Member_CAREGIVER:
		return referralv1.Needs_CAREGIVER
	case membershipv1.Member_FAMILY:
		return referralv1.Needs_FAMILY
	case membershipv1.Member_BEREAVED:
		return referralv1.Needs_BEREAVED
	}
	return referralv1.Needs_ROLE_UNSPECIFIED
}

// bases returns language tags without regions, each once.
func bases(tags []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, t := range tags {
		base, _, _ := strings.Cut(strings.ToLower(t), "-")
		if !seen[base] {
			seen[base] = true
			out = append(out, base)
		}
	}
	return out
}
