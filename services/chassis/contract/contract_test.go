package contract_test

import (
	"errors"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/contract"
)

func TestWords(t *testing.T) {
	t.Parallel()
	const id = "memberships/0192d7a5-0000-7000-8000-000000000001"
	end := func(r membershipv1.Membership_EndReason) proto.Message {
		return &membershipv1.EndMembershipRequest{Name: id, Reason: r}
	}
	reasons := "one of MOVED_ON, NOT_HELPFUL, DISTRESS, RECOVERED, DECEASED, REMOVED, REQUEST_WITHDRAWN"
	for name, row := range map[string]struct {
		msg  proto.Message
		want []string // one a violation
	}{
		"no value of an enum":     {end(0), []string{"reason: is needed: " + reasons}},
		"the system's own value":  {end(membershipv1.Membership_GROUP_ARCHIVED), []string{"reason: GROUP_ARCHIVED is not allowed here: " + reasons}},
		"a number without a name": {end(99), []string{"reason: 99 is not " + reasons}},
		"a value in a list": {
			&groupsv1.SearchGroupsRequest{Kinds: []groupsv1.Group_Kind{0}}, []string{"kinds[0]: is needed: one of PEER_SUPPORT, GROUP_THERAPY"},
		},
		"an empty text": {&schedulingv1.CreateRoomRequest{Room: &schedulingv1.Room{}}, []string{"room.title: is needed"}},
		"no message":    {&groupsv1.CreateGroupRequest{}, []string{"group: is needed"}},
		"no name":       {&membershipv1.GetMembershipRequest{}, []string{"name: is needed: memberships/ and a UUID in lower case"}},
		"a name that is none": {
			&membershipv1.GetMembershipRequest{Name: "memberships/7"}, []string{"name: must be memberships/ and a UUID in lower case"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			invalid, ok := errors.AsType[*protovalidate.ValidationError](protovalidate.Validate(row.msg))
			if !ok {
				t.Fatal("it breaks no rule")
			}
			var got []string
			for _, v := range contract.Violations("", row.msg, invalid) {
				got = append(got, v.GetField()+": "+v.GetDescription())
			}
			for _, want := range row.want {
				if !strings.Contains(strings.Join(got, "\n"), want) {
					t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), want)
				}
			}
		})
	}
}
