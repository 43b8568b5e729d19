package membership

import (
	"strings"
	"testing"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
)

func TestIneligible(t *testing.T) {
	t.Parallel()
	survivors := []int32{int32(groupsv1.Group_SURVIVORS), int32(groupsv1.Group_PATIENTS)}
	families := []int32{int32(groupsv1.Group_CHILDREN_OF_PATIENTS)}
	const year = 2026
	for name, tc := range map[string]struct {
		group groupRow
		role  membershipv1.Member_Role
		birth int32
		want  string // part of the only sentence; empty: eligible
	}{
		"no limits":                        {groupRow{}, membershipv1.Member_SURVIVOR, 0, ""},
		"audience fits":                    {groupRow{Audiences: survivors}, membershipv1.Member_SURVIVOR, 0, ""},
		"second audience fits":             {groupRow{Audiences: survivors}, membershipv1.Member_PATIENT, 0, ""},
		"audience does not fit":            {groupRow{Audiences: survivors}, membershipv1.Member_CAREGIVER, 0, "for SURVIVORS and PATIENTS, and the member's role is CAREGIVER"},
		"a child is family":                {groupRow{Audiences: families}, membershipv1.Member_FAMILY, 0, ""},
		"bereaved are not family":          {groupRow{Audiences: families}, membershipv1.Member_BEREAVED, 0, "for CHILDREN_OF_PATIENTS"},
		"flexible limits refuse nobody":    {groupRow{MinYears: 18, MaxYears: 39}, membershipv1.Member_SURVIVOR, 1940, ""},
		"strict, inside":                   {groupRow{MinYears: 18, MaxYears: 39, StrictAge: true}, membershipv1.Member_SURVIVOR, 2000, ""},
		"strict, unknown age":              {groupRow{MinYears: 18, MaxYears: 39, StrictAge: true}, membershipv1.Member_SURVIVOR, 0, "birth_year is not known"},
		"strict without limits":            {groupRow{StrictAge: true}, membershipv1.Member_SURVIVOR, 0, ""},
		"turns 18 this year":               {groupRow{MinYears: 18, StrictAge: true}, membershipv1.Member_SURVIVOR, 2008, ""},
		"turns 18 next year":               {groupRow{MinYears: 18, StrictAge: true}, membershipv1.Member_SURVIVOR, 2009, "younger than 18"},
		"turns 40 this year":               {groupRow{MaxYears: 39, StrictAge: true}, membershipv1.Member_SURVIVOR, 1986, ""},
		"turned 40 last year":              {groupRow{MaxYears: 39, StrictAge: true}, membershipv1.Member_SURVIVOR, 1985, "older than 39"},
		"only a least age, and very old":   {groupRow{MinYears: 18, StrictAge: true}, membershipv1.Member_SURVIVOR, 1900, ""},
		"only a greatest age, and newborn": {groupRow{MaxYears: 12, StrictAge: true}, membershipv1.Member_FAMILY, 2026, ""},
	} {
		got := ineligible(&tc.group, tc.role, tc.birth, year)
		switch {
		case tc.want == "" && len(got) == 0:
		case len(got) == 1 && tc.want != "" && strings.Contains(got[0], tc.want):
		default:
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
	both := ineligible(&groupRow{Audiences: survivors, MaxYears: 39, StrictAge: true}, membershipv1.Member_FAMILY, 1950, year)
	if len(both) != 2 {
		t.Errorf("outside audience and age: got %q, want both reasons", both)
	}
}

// A group whose guidelines were taken away asks nobody to acknowledge them, whether it tells that by an event or when it is asked.
func TestNothingToAcknowledge(t *testing.T) {
	t.Parallel()
	const name, owner = "groups/0192d7a5-0000-7000-8000-000000000001", "organizations/0192d7a5-0000-7000-8000-00000000000a"
	for text, want := range map[string]int32{"Be kind.": 2, "": 0} {
		got, err := facts(&groupsv1.Group{Name: name, Organization: owner, Etag: aip.ETag(3), Guidelines: &groupsv1.Group_Guidelines{Version: 2, Text: text}})
		if err != nil {
			t.Fatal(err)
		}
		if got.GuidelinesVersion != want {
			t.Errorf("guidelines %q are at version %d, want %d", text, got.GuidelinesVersion, want)
		}
	}
}
