package membership

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/mail"
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

// alternatives asks the directory what to offer to a member who left a group for the reason, and says it to the caller in a language;
// if that is empty, in hers.
func (s *server) alternatives(ctx context.Context, left *leaver, reason membershipv1.Membership_EndReason, language string) (*membershipv1.Alternatives, error) {
	herself := isSelf(ctx, left.MemberID)
	ctx = auth.System(ctx, service)
	m, mine := left.member, left.mine
	ask := &referralv1.RecommendGroupsRequest{Needs: needsOf(m, s.clock.Now()), MaxResults: int32(maxOffers + len(mine)), LanguageCode: readIn(language, m.GetLanguages())}
	if reason == membershipv1.Membership_DISTRESS {
		ask.Distress = proto.Int32(severe)
		ask.Needs.Country = s.countryOf(ctx, left)
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
		CrisisResources: suit.GetCrisisResources(), LanguageCode: suit.GetLanguageCode(),
	}
	out.Notes = notesOf(out, reason == membershipv1.Membership_DISTRESS, herself)
	return out, nil
}

// notesOf says what there is to know about what is offered, in its language, to herself or to who cares for her.
func notesOf(a *membershipv1.Alternatives, distressed, herself bool) []string {
	var what []note
	if distressed {
		what = append(what, noteHardToBear)
		if slices.ContainsFunc(a.GetGroups(), func(r *referralv1.Recommendation) bool { return professional(r.GetGroup()) }) {
			what = append(what, noteLedFirst)
		} else {
			what = append(what, noteNobodyLeads)
		}
	}
	switch {
	case len(a.GetGroups()) == 0:
		what = append(what, noteNoGroup)
	case len(a.GetNearMisses()) > 0:
		what = append(what, noteFewGroups)
	}
	words := wordsOf(a.GetLanguageCode())
	var all []string
	for _, n := range what {
		if herself {
			all = append(all, words[n].toHer)
		} else {
			all = append(all, words[n].ofHer)
		}
	}
	return all
}

// readIn returns the language to explain in to who asked for one or, if nobody did, to a member with these languages: that of them
// which is spoken here.
func readIn(asked string, languages []string) string {
	for _, base := range bases(languages) {
		if asked == "" && slices.Contains(mail.Languages(), base) {
			return base
		}
	}
	return asked
}

func professional(g *groupsv1.Group) bool {
	return g.GetFacilitation() == groupsv1.Group_PROFESSIONALLY_LED || g.GetKind() == groupsv1.Group_GROUP_THERAPY
}

// countryOf returns whose crisis lines to show to who leaves: of where she lives or, if she has not said, of where the group meets
// or its organization is. Empty if nobody says, or who would is out of reach.
func (s *server) countryOf(ctx context.Context, left *leaver) string {
	if country := left.member.GetArea().GetCountry(); country != "" {
		return country
	}
	group, err := s.groups.GetGroup(ctx, &groupsv1.GetGroupRequest{Name: aip.Name("groups", left.GroupID)})
	if err != nil {
		s.log.WarnContext(ctx, "crisis lines without the group's country", slog.Any("error", err))
	}
	if country := group.GetVenue().GetAddress().GetCountry(); country != "" {
		return country
	}
	org, err := s.organizations.GetOrganization(ctx, &partnersv1.GetOrganizationRequest{Name: aip.Name("organizations", left.OrgID)})
	if err != nil {
		s.log.WarnContext(ctx, "crisis lines without the organization's country", slog.Any("error", err))
	}
	return org.GetContact().GetAddress().GetCountry()
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
