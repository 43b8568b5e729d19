package joining

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/groups"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
)

// What membership asks of groups it asks on its own account: whoever keeps members need not be let into groups.
func TestWhoeverKeepsMembersNeedsNoScopeOfGroups(t *testing.T) {
	t.Parallel()
	s := suitetest.Start(t, []chassis.Component{partners.Component(), groups.Component(), membership.Component()})
	const ours, theirs = "organizations/0192d7a5-0000-7000-8000-00000000000a", "organizations/0192d7a5-0000-7000-8000-00000000000b"
	draft, err := groupsv1.NewGroupsServiceClient(s.Conn("groups")).CreateGroup(suitetest.Client(t.Context(), ours, "groups.write"), &groupsv1.CreateGroupRequest{
		Group: &groupsv1.Group{Title: "Draft", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_ONLINE},
	})
	if err != nil {
		t.Fatal(err)
	}
	members := membershipv1.NewMembershipServiceClient(s.Conn("membership"))
	for org, want := range map[string]codes.Code{ours: codes.FailedPrecondition, theirs: codes.NotFound} {
		ctx := suitetest.Client(t.Context(), org, "members.write")
		m, err := members.CreateMember(ctx, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{Alias: "Wren", Role: membershipv1.Member_SURVIVOR}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = members.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{Group: draft.GetName(), Member: m.GetName()})
		if status.Code(err) != want {
			t.Errorf("%s: got %v, want %s", org, err, want)
		}
	}
}
