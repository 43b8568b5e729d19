package membership

import (
	"slices"
	"testing"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// What is said of alternatives depends on why she left and on who reads it.
func TestNotesOfAlternatives(t *testing.T) {
	t.Parallel()
	peers := []*referralv1.Recommendation{{Group: &groupsv1.Group{Facilitation: groupsv1.Group_PEER_LED}}}
	led := []*referralv1.Recommendation{{Group: &groupsv1.Group{Facilitation: groupsv1.Group_PROFESSIONALLY_LED}}}
	for _, c := range []struct {
		groups, near        []*referralv1.Recommendation
		distressed, herself bool
		want                []string
	}{
		{groups: peers, herself: true},
		{groups: peers},
		{near: peers, herself: true, want: []string{"No other open group meets all that you need: see the groups that come near and the resources, or ask your organization."}},
		{groups: peers, near: peers, want: []string{"Few groups meet all that she needs. The near misses say what they fail."}},
		{groups: led, distressed: true, herself: true, want: []string{
			"If it is hard to bear, talk with somebody today: the crisis lines below are there for you.",
			"Groups that professionals lead come first, because the last one distressed you.",
		}},
		{groups: led, distressed: true, want: []string{
			"The group distressed her. Talk with her today: the crisis lines below are open to her and to you.", "Groups led by professionals come first.",
		}},
		{distressed: true, want: []string{
			"The group distressed her. Talk with her today: the crisis lines below are open to her and to you.",
			"No group led by a professional meets all that she needs: consider individual care as well.",
			"No other open group meets all that she needs: see the near misses and the resources.",
		}},
	} {
		got := notesOf(&membershipv1.Alternatives{Groups: c.groups, NearMisses: c.near}, c.distressed, c.herself)
		if !slices.Equal(got, c.want) {
			t.Errorf("distressed %v, herself %v, %d groups and %d near: %q, want %q", c.distressed, c.herself, len(c.groups), len(c.near), got, c.want)
		}
	}
}
