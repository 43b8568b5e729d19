package chassis

import (
	"context"
	"fmt"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
)

// A body within the limit can hold hundreds of thousands of elements, each with something wrong: the answer stays small.
func TestCrowdedRequestGetsABriefAnswer(t *testing.T) {
	t.Parallel()
	times := make([]*typev1.TimeOfWeek, 300_000)
	for i := range times {
		times[i] = &typev1.TimeOfWeek{}
	}
	few := make([]*typev1.TimeOfWeek, 50)
	for i := range few {
		few[i] = &typev1.TimeOfWeek{EndMinute: -1}
	}
	v, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	check := validate(v)
	for name, c := range map[string]struct {
		req   proto.Message
		first string
		most  int
	}{
		"too many":         {&groupsv1.SearchGroupsRequest{Times: times}, "times: must contain no more than 50 item(s)", 1},
		"too many, nested": {&groupsv1.CreateGroupRequest{Group: &groupsv1.Group{Venue: &groupsv1.Group_Venue{Address: &typev1.PostalAddress{AddressLines: make([]string, 5000)}}}}, "group.venue.address.address_lines: ", 1},
		"all bad":          {&groupsv1.SearchGroupsRequest{Times: few}, "times[0]", 50},
	} {
		_, err := check(t.Context(), c.req, nil, func(context.Context, any) (any, error) { return nil, fmt.Errorf("%s: taken", name) })
		st := status.Convert(err)
		var got []*errdetails.BadRequest_FieldViolation
		for _, d := range st.Details() {
			if bad, ok := d.(*errdetails.BadRequest); ok {
				got = bad.GetFieldViolations()
			}
		}
		if len(got) == 0 || len(got) > c.most || len(st.Message()) < len(c.first) || st.Message()[:len(c.first)] != c.first {
			t.Errorf("%s: %d violations, %.200s", name, len(got), st.Message())
		}
	}
}
