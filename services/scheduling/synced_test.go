package scheduling

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/suitetest"
)

// push sends a Meeting Guide feed with these meetings.
func (f *fixture) push(feed string, meetings string) {
	f.t.Helper()
	stream, err := groupsv1.NewFeedsServiceClient(f.Conn("groups")).PushFeed(f.owner)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := stream.Send(&groupsv1.PushFeedRequest{Name: feed, Content: []byte("[" + meetings + "]")}); err != nil {
		f.t.Fatal(err)
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) newMember(org string) string {
	f.t.Helper()
	m, err := f.members.CreateMember(f.owner, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{Organization: org, Alias: "Wren", Role: membershipv1.Member_SURVIVOR}})
	if err != nil {
		f.t.Fatal(err)
	}
	return m.GetName()
}

// coming returns the wall-clock starts of the group's sessions that take place.
func (f *fixture) coming(group string) (starts []string) {
	f.t.Helper()
	for _, s := range f.sessions(`group = %q AND state = "SCHEDULED"`, group) {
		starts = append(starts, s.GetLocalStart())
	}
	return starts
}

// What a feed brings, changes and takes away is planned, and known to who keeps the members: from one event for all of it.
func TestFeedsArePlanned(t *testing.T) {
	t.Parallel()
	f := setup(t)
	org, err := partnersv1.NewPartnersServiceClient(f.Conn("partners")).CreateOrganization(suitetest.Platform(t.Context(), "partners.write"),
		&partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{DisplayName: "Partner", Kind: partnersv1.Organization_NONPROFIT}})
	if err != nil {
		t.Fatal(err)
	}
	f.owner = suitetest.Client(t.Context(), org.GetName(), "groups.read", "groups.write", "members.write", "members.read", "schedule.read")
	made, err := groupsv1.NewFeedsServiceClient(f.Conn("groups")).CreateFeed(f.owner, &groupsv1.CreateFeedRequest{Feed: &groupsv1.Feed{
		Format: "meeting-guide", TimeZone: "Europe/Berlin", MaxRemovedPercent: new(int32(100)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	const meeting = `{"name": "Circle", "slug": "%s", "day": 2, "time": "%s", "end_time": "20:00", "timezone": "Europe/Berlin",
		"formatted_address": "Rathausstr. 1, 10178 Berlin, Germany", "latitude": 52.5, "longitude": 13.4, "approximate": "no"}`
	f.push(made.GetName(), fmt.Sprintf(meeting, "circle", "18:30")+","+fmt.Sprintf(meeting, "other", "12:00"))
	list, err := f.groups.ListGroups(f.owner, &groupsv1.ListGroupsRequest{Filter: `external_id = "circle"`})
	for ; err == nil && len(list.GetGroups()) == 0; list, err = f.groups.ListGroups(f.owner, &groupsv1.ListGroupsRequest{Filter: `external_id = "circle"`}) {
		if t.Context().Err() != nil {
			t.Fatal("no group came of the feed")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	g := list.GetGroups()[0]
	if g.GetState() == groupsv1.Group_DRAFT {
		if g, err = f.groups.PublishGroup(f.owner, &groupsv1.PublishGroupRequest{Name: g.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the Tuesdays are planned", func() bool {
		got := f.coming(g.GetName())
		return len(got) == 54 && got[0] == "2027-03-09T18:30:00"
	})
	if _, err := f.members.CreateMembership(f.owner, &membershipv1.CreateMembershipRequest{Group: g.GetName(), Member: f.newMember(org.GetName())}); err != nil {
		t.Fatal(err)
	}

	f.push(made.GetName(), fmt.Sprintf(meeting, "circle", "19:00")+","+fmt.Sprintf(meeting, "other", "12:00"))
	eventually(t, "the Tuesdays are later", func() bool {
		got := f.coming(g.GetName())
		return len(got) == 54 && got[0] == "2027-03-09T19:00:00"
	})

	f.push(made.GetName(), fmt.Sprintf(meeting, "other", "12:00"))
	eventually(t, "no Tuesdays are left", func() bool { return len(f.coming(g.GetName())) == 0 })
	id := uuid.MustParse(g.GetName()[len("groups/"):])
	eventually(t, "membership knows that the group takes nobody", func() bool {
		var accepts bool
		ctx, db := auth.System(t.Context(), "membership"), f.DBs["membership"]
		if err := db.Tx(ctx, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `SELECT accepts_intake FROM group_seats WHERE group_id = $1`, id).Scan(&accepts)
		}); err != nil {
			t.Fatal(err)
		}
		return !accepts
	})
	var calendar schedulingv1.CalendarChanged
	f.lastEvent(calendarChanged, aip.Name("groups", id), &calendar)
	if len(calendar.GetNextSessions()) != 0 {
		t.Errorf("the last calendar tells %d sessions", len(calendar.GetNextSessions()))
	}
}
