package membership

import (
	"testing"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// While a group is deleted its people do not see it, and nobody joins; undeleted it is as it was.
func TestDeletedGroupIsHidden(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, lead := f.led(0)
	in := f.joinActively(g)
	say := func() (*membershipv1.Announcement, error) {
		return f.CreateAnnouncement(f.facilitatorCalls(lead), &membershipv1.CreateAnnouncementRequest{
			Parent: g.GetGroup(), Announcement: &membershipv1.Announcement{Title: "Rain", Text: "We meet inside."},
		})
	}
	said, err := say()
	if err != nil {
		t.Fatal(err)
	}
	f.settled()
	watch := f.watch(f.memberCalls(in), "")
	check := func(shown string, groups int) {
		t.Helper()
		for _, c := range []struct {
			what string
			call func() error
		}{
			{"roster", func() error {
				_, err := f.ListRoster(f.memberCalls(in), &membershipv1.ListRosterRequest{Group: g.GetGroup()})
				return err
			}},
			{"roster for the organization", func() error {
				_, err := f.ListRoster(f.ctx(), &membershipv1.ListRosterRequest{Group: g.GetGroup()})
				return err
			}},
			{"announcements", func() error {
				_, err := f.ListAnnouncements(f.memberCalls(in), &membershipv1.ListAnnouncementsRequest{Parent: g.GetGroup()})
				return err
			}},
			{"announcement", func() error {
				_, err := f.GetAnnouncement(f.memberCalls(in), &membershipv1.GetAnnouncementRequest{Name: said.GetName()})
				return err
			}},
			{"a new announcement", func() error {
				_, err := say()
				return err
			}},
		} {
			if got := reasonOf(c.call()); got != shown {
				t.Errorf("%s: %s, want %s", c.what, got, shown)
			}
		}
		mine, err := f.ListMyGroups(f.memberCalls(in), &membershipv1.ListMyGroupsRequest{})
		if err != nil || len(mine.GetGroups()) != groups {
			t.Errorf("her groups: %v, %v, want %d", mine, err, groups)
		}
		if got := f.get(in.GetName()); got.GetState() != active {
			t.Errorf("her membership: %v", got)
		}
	}
	g.Deleted = true // what accepts_intake says does not matter
	f.tell(g)
	check("NotFound NOT_FOUND", 0)
	if _, err := f.ask(f.ctx(), g, f.newMember().GetName()); reasonOf(err) != "FailedPrecondition GROUP_NOT_ACCEPTING" {
		t.Errorf("to join: %v", err)
	}
	f.settled()
	if got := watch.news(); got != "GROUP" {
		t.Errorf("she is told %q", got)
	}
	g.Deleted = false
	f.tell(g)
	check("OK", 1)
	if _, err := f.ask(f.ctx(), g, f.newMember().GetName()); err != nil {
		t.Errorf("to join: %v", err)
	}
}
