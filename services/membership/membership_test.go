package membership

import (
	"testing"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

func TestWholeLife(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1, true)

	m := f.requestPlace(g)
	if m.GetState() != requested || m.GetRole() != membershipv1.Membership_PARTICIPANT || m.GetAlias() != "Wren" {
		t.Fatalf("requested: %v", m)
	}
	m, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: m.GetName(), Etag: m.GetEtag()})
	if err != nil || m.GetState() != approved || m.GetApproveTime() == nil {
		t.Fatalf("approve: %v, %v", m, err)
	}
	_, err = f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: m.GetName(), Version: 2})
	if got, want := reasonOf(err), "FailedPrecondition GUIDELINES_VERSION"; got != want {
		t.Errorf("acknowledging a version that is not there: %s, want %s", got, want)
	}
	m, err = f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: m.GetName(), Version: 1})
	if err != nil || m.GetState() != active || m.GetGuidelinesVersion() != 1 || m.GetActivateTime() == nil {
		t.Fatalf("acknowledge: %v, %v", m, err)
	}
	m, err = f.StartLeave(f.ctx(), &membershipv1.StartLeaveRequest{Name: m.GetName()})
	if err != nil || m.GetState() != onLeave {
		t.Fatalf("start leave: %v, %v", m, err)
	}
	waiting := f.join(g)
	if waiting.GetState() != waitlisted || waiting.GetWaitlistPosition() != 1 {
		t.Fatalf("the group is full (leave keeps the seat), but the next is %v at %d", waiting.GetState(), waiting.GetWaitlistPosition())
	}
	m, err = f.EndLeave(f.ctx(), &membershipv1.EndLeaveRequest{Name: m.GetName()})
	if err != nil || m.GetState() != active {
		t.Fatalf("end leave: %v, %v", m, err)
	}
	m, err = f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{
		Name: m.GetName(), Reason: membershipv1.Membership_MOVED_ON, Note: "moves to Lyon",
	})
	if err != nil || m.GetState() != ended || m.GetEndReason() != membershipv1.Membership_MOVED_ON || m.GetClosingNote() != "moves to Lyon" {
		t.Fatalf("end: %v, %v", m, err)
	}
	if got := f.get(waiting.GetName()); got.GetState() != offered || got.GetWaitlistPosition() != 0 || !got.GetHoldsSeat() {
		t.Errorf("the first of the waitlist is %v at %d after a seat became free, want it held for her", got.GetState(), got.GetWaitlistPosition())
	}
	if s := f.seatsOf(g); s.Taken != 1 || s.Waiting != 0 {
		t.Errorf("seats: %d taken, %d waiting, want 1 and 0", s.Taken, s.Waiting)
	}
	_, err = f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: membershipv1.Membership_DISTRESS})
	if got, want := reasonOf(err), "FailedPrecondition ILLEGAL_TRANSITION"; got != want {
		t.Errorf("ending twice: %s, want %s", got, want)
	}
	if _, err := f.StartLeave(f.ctx(), &membershipv1.StartLeaveRequest{Name: waiting.GetName(), Etag: waiting.GetEtag()}); reasonOf(err) != "Aborted ETAG_MISMATCH" {
		t.Errorf("a stale etag: %v, want ABORTED", err)
	}
}

func TestNewGuidelinesAreAcknowledgedAgain(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	m := f.joinActively(g)
	g.GuidelinesVersion = 2
	f.tell(g)
	if got := f.get(m.GetName()); got.GetState() != active || got.GetGuidelinesVersion() != 1 {
		t.Errorf("a new version changed the membership: %v", got)
	}
	m, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: m.GetName(), Version: 2})
	if err != nil || m.GetState() != active || m.GetGuidelinesVersion() != 2 {
		t.Errorf("acknowledge again: %v, %v", m, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	member := f.newMember()
	closedGroup := f.newGroup(0, false)
	closedGroup.AcceptsIntake = false
	f.tell(closedGroup)
	caregivers := f.newGroup(0, false)
	caregivers.Audiences = append(caregivers.Audiences, 3)
	f.tell(caregivers)
	open := f.newGroup(1, false)

	create := func(g *told, override string) error {
		_, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: member.GetName(), OverrideReason: override})
		return err
	}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"group takes nobody":   {create(closedGroup, ""), "FailedPrecondition GROUP_NOT_ACCEPTING"},
		"outside the audience": {create(caregivers, ""), "FailedPrecondition NOT_ELIGIBLE"},
		"blank exception":      {create(caregivers, " "), "FailedPrecondition NOT_ELIGIBLE"},
		"with an exception":    {create(caregivers, "co-parents a patient"), "OK"},
		"first time":           {create(open, ""), "OK"},
		"twice":                {create(open, ""), "FailedPrecondition ALREADY_MEMBER"},
	} {
		if got := reasonOf(tc.err); got != tc.want {
			t.Errorf("%s: %s (%v), want %s", name, got, tc.err, tc.want)
		}
	}

	f.join(open)
	late := f.requestPlace(open)
	_, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: late.GetName()})
	if got, want := reasonOf(err), "FailedPrecondition GROUP_FULL"; got != want {
		t.Errorf("approving into a full group: %s, want %s", got, want)
	}
	if got := f.get(late.GetName()); got.GetState() != requested || got.GetEtag() != late.GetEtag() {
		t.Errorf("a refused approval changed the request: %v", got)
	}
}

func TestOverrideIsKeptAndShownToWhoGets(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	g.Audiences = append(g.Audiences, 3)
	f.tell(g)
	m, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{
		Group: g.GetGroup(), Member: f.newMember().GetName(), OverrideReason: "cares for her sister too",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.get(m.GetName()).GetOverrideReason(); got != "cares for her sister too" {
		t.Errorf("override_reason = %q", got)
	}
	m, err = f.DeclineMembership(f.ctx(), &membershipv1.DeclineMembershipRequest{
		Name: m.GetName(), Reason: membershipv1.Membership_NOT_SUITABLE, Note: "prefers one to one",
	})
	if err != nil || m.GetOverrideReason() == "" || m.GetClosingNote() != "prefers one to one" || m.GetState() != declined {
		t.Errorf("decline: %v, %v", m, err)
	}
	list, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Group: g.GetGroup()})
	if err != nil || len(list.GetMemberships()) != 1 {
		t.Fatalf("list: %v, %v", list, err)
	}
	if l := list.GetMemberships()[0]; l.GetOverrideReason() != "" || l.GetClosingNote() != "" {
		t.Errorf("a list shows notes: %v", l)
	}
}

func TestArchivedGroupEndsEverything(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1, true)
	seated, waiting, asking := f.joinActively(g), f.join(g), f.requestPlace(g)
	gone, err := f.DeclineMembership(f.ctx(), &membershipv1.DeclineMembershipRequest{Name: f.requestPlace(g).GetName(), Reason: membershipv1.Membership_NOT_REACHED})
	if err != nil {
		t.Fatal(err)
	}
	g.State, g.AcceptsIntake = 4, false
	f.tell(g)
	for _, m := range []*membershipv1.Membership{seated, waiting, asking} {
		if got := f.get(m.GetName()); got.GetState() != ended || got.GetEndReason() != membershipv1.Membership_GROUP_ARCHIVED {
			t.Errorf("%v of an archived group is %v (%v)", m.GetState(), got.GetState(), got.GetEndReason())
		}
	}
	if got := f.get(gone.GetName()); got.GetState() != declined {
		t.Errorf("a declined one became %v", got.GetState())
	}
	if s := f.seatsOf(g); s.Taken != 0 || s.Waiting != 0 {
		t.Errorf("seats: %d taken, %d waiting, want none", s.Taken, s.Waiting)
	}
}

func TestCapacityChanges(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(3, true)
	in := []*membershipv1.Membership{f.join(g), f.join(g), f.join(g)}
	first, second := f.join(g), f.join(g)

	g.Seats = 1 // fewer than are in: nobody is thrown out, nobody comes in before there is room
	f.tell(g)
	if s := f.seatsOf(g); s.Taken != 3 || s.seatsChanged().GetOpenSeats() != 0 {
		t.Errorf("after lowering: %d taken, %d open, want 3 and 0", s.Taken, s.seatsChanged().GetOpenSeats())
	}
	for i, m := range in[:2] {
		if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: membershipv1.Membership_RECOVERED}); err != nil {
			t.Fatal(err)
		}
		if got := f.get(first.GetName()).GetState(); got != waitlisted {
			t.Errorf("after %d of 3 left a group of 1, the waitlist was served: %v", i+1, got)
		}
	}
	g.Seats = 2
	f.tell(g)
	if a, b := f.get(first.GetName()), f.get(second.GetName()); a.GetState() != offered || b.GetState() != waitlisted || b.GetWaitlistPosition() != 1 {
		t.Errorf("one seat more: first is %v, second %v at %d", a.GetState(), b.GetState(), b.GetWaitlistPosition())
	}
	g.AcceptsIntake = false // paused
	f.tell(g)
	g.Seats = 0 // unlimited
	f.tell(g)
	if got := f.get(second.GetName()).GetState(); got != waitlisted {
		t.Errorf("a paused group served its waitlist: %v", got)
	}
	g.AcceptsIntake = true
	f.tell(g)
	if got := f.get(second.GetName()).GetState(); got != offered {
		t.Errorf("published again without limit: %v, want the waitlist served", got)
	}
	stale := &told{GroupChanged: g.GroupChanged, revision: 1}
	stale.Seats = 1
	f.tell(stale) // revision 2: long known
	if s := f.seatsOf(g); s.Capacity != 0 {
		t.Errorf("a stale event was applied: capacity %d", s.Capacity)
	}
}
