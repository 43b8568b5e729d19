package membership

import (
	"fmt"
	"math"
	"slices"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// ineligible says in sentences why a person is outside a group's audience or strict age limits; none when she is inside.
func ineligible(g *groupRow, role membershipv1.Member_Role, birthYear int32, year int) []string {
	if g.StrictAge {
		return outside(g, role, birthYear, year)
	}
	return outsideAudience(g, role)
}

// qualifying returns the roles and the years of birth, first and last, of those who are not ineligible in a group.
func qualifying(g *groupRow, year int) (roles []int32, first, last int32) {
	for role := range membershipv1.Member_Role_name {
		if len(outsideAudience(g, membershipv1.Member_Role(role))) == 0 {
			roles = append(roles, role)
		}
	}
	if !g.StrictAge || g.MinYears == 0 && g.MaxYears == 0 {
		return roles, math.MinInt32, math.MaxInt32
	}
	first, last = 1, int32(year)-g.MinYears // 0 is a year that is not known
	if g.MaxYears != 0 {
		first = int32(year) - 1 - g.MaxYears
	}
	return roles, first, last
}

// outside is ineligible that counts flexible age limits too. Only the year of birth is known, so an age is outside only if it is
// so on every day of the year.
func outside(g *groupRow, role membershipv1.Member_Role, birthYear int32, year int) []string {
	why := outsideAudience(g, role)
	if g.MinYears == 0 && g.MaxYears == 0 {
		return why
	}
	if birthYear == 0 {
		return append(why, "the group has age limits, and the member's birth_year is not known")
	}
	oldest := int32(year) - birthYear
	youngest := oldest - 1
	switch {
	case oldest < g.MinYears:
		why = append(why, fmt.Sprintf("the group takes nobody younger than %d years", g.MinYears))
	case g.MaxYears != 0 && youngest > g.MaxYears:
		why = append(why, fmt.Sprintf("the group takes nobody older than %d years", g.MaxYears))
	}
	return why
}

func outsideAudience(g *groupRow, role membershipv1.Member_Role) []string {
	audiences := audiencesOf(role)
	if len(g.Audiences) == 0 || slices.ContainsFunc(audiences, func(a groupsv1.Group_Audience) bool { return slices.Contains(g.Audiences, int32(a)) }) {
		return nil
	}
	return []string{fmt.Sprintf("the group is for %s, and the member's role is %s", audienceNames(g.Audiences), role)}
}

// audiencesOf returns the audiences that a person in the role belongs to.
func audiencesOf(role membershipv1.Member_Role) []groupsv1.Group_Audience {
	switch role {
	case membershipv1.Member_PATIENT:
		return []groupsv1.Group_Audience{groupsv1.Group_PATIENTS}
	case membershipv1.Member_SURVIVOR:
		return []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS}
	case membershipv1.Member_CAREGIVER:
		return []groupsv1.Group_Audience{groupsv1.Group_CAREGIVERS}
	case membershipv1.Member_FAMILY:
		return []groupsv1.Group_Audience{groupsv1.Group_FAMILY, groupsv1.Group_CHILDREN_OF_PATIENTS}
	case membershipv1.Member_BEREAVED:
		return []groupsv1.Group_Audience{groupsv1.Group_BEREAVED}
	}
	return nil
}

func audienceNames(audiences []int32) string {
	var names string
	for i, a := range audiences {
		switch {
		case i == 0:
		case i == len(audiences)-1:
			names += " and "
		default:
			names += ", "
		}
		names += groupsv1.Group_Audience(a).String()
	}
	return names
}
