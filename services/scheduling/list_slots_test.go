package scheduling

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
)

// Sessions of every organization are listed for who publishes them, with what changes by answers to them.
func TestListSlots(t *testing.T) {
	t.Parallel()
	f := setup(t)
	series := f.weekly()
	series.OnlineSeats = 1
	f.create(series)
	other := f.newGroup(f.owner)
	second := f.weekly()
	second.Group, second.LocalStart = other, "2027-03-05T10:00"
	f.create(second)
	mine := f.sessions("group = %q", f.group)
	slots := schedulingv1.NewSlotsServiceClient(f.ConnAs("gateway", "scheduling"))
	ctx := auth.System(t.Context(), "gateway")
	list := func(req *schedulingv1.ListSlotsRequest) (names []string) {
		t.Helper()
		req = proto.CloneOf(req)
		for {
			resp, err := slots.ListSlots(ctx, req)
			if err != nil {
				t.Fatalf("list slots: %v", err)
			}
			for _, s := range resp.GetSlots() {
				names = append(names, s.GetSession().GetName())
			}
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				return names
			}
		}
	}
	march := timestamppb.New(thursday.Add(15 * 24 * time.Hour))
	all := list(&schedulingv1.ListSlotsRequest{StartBefore: march, PageSize: 2})
	if len(all) != 6 || all[0] != mine[0].GetName() {
		t.Fatalf("%d sessions in 15 days, want 3 of each group, soonest first: %v", len(all), all)
	}
	if one := list(&schedulingv1.ListSlotsRequest{Groups: []string{f.group}, StartBefore: march, PageSize: 1}); len(one) != 3 || !slices.Contains(all, one[2]) {
		t.Errorf("of one group: %v", one)
	}
	if later := list(&schedulingv1.ListSlotsRequest{StartFrom: mine[1].GetStartTime(), StartBefore: march}); !slices.Equal(later, all[2:]) {
		t.Errorf("from the second week on: %v, want %v", later, all[2:])
	}
	if named := list(&schedulingv1.ListSlotsRequest{Sessions: []string{all[3], all[1]}}); !slices.Equal(named, []string{all[1], all[3]}) {
		t.Errorf("by name: %v", named)
	}

	f.Clock.Advance(time.Hour)
	_, membership := f.active(f.group)
	f.says(mine[1].GetName(), membership, schedulingv1.Rsvp_YES, "CONFIRMED ONLINE")
	now := timestamppb.New(f.Clock.Now())
	if changed := list(&schedulingv1.ListSlotsRequest{UpdatedFrom: now}); !slices.Equal(changed, []string{mine[1].GetName()}) {
		t.Errorf("changed by an answer: %v, want %s", changed, mine[1].GetName())
	}
	if before := list(&schedulingv1.ListSlotsRequest{UpdatedBefore: now, StartBefore: march}); slices.Contains(before, mine[1].GetName()) || len(before) != 5 {
		t.Errorf("not changed: %v", before)
	}
	resp, err := slots.ListSlots(ctx, &schedulingv1.ListSlotsRequest{Sessions: []string{mine[1].GetName()}})
	if err != nil {
		t.Fatal(err)
	}
	got := resp.GetSlots()[0]
	if s := got.GetSession(); s.GetFormat() != schedulingv1.Series_ONLINE || s.GetPlaces().GetConfirmedOnline() != 1 || !got.GetUpdateTime().AsTime().Equal(f.Clock.Now()) {
		t.Errorf("the slot is %v; it is online as its group, one place is taken, and that was now", got)
	}
	if _, err := slots.ListSlots(f.owner, &schedulingv1.ListSlotsRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a client lists: %v", err)
	}
}
