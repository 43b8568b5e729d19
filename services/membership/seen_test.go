package membership

import (
	"fmt"
	"slices"
	"testing"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/audit"
)

// seen returns how often the audit log names a member.
func (f *fixture) seen(method, member string) int {
	return len(column[string](f, `SELECT resource FROM audit_log WHERE method = $1 AND resource = $2`, method, member))
}

// Who has seen a member's data is on record by her name: in a list, and where her contact was shown to her group.
func TestListsRecordWhomTheyShow(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, lead := f.led(0)
	shares, silent := f.joinActively(g), f.joinActively(g)
	if _, err := f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{Name: shares.GetMember(), Email: "wren@example.org"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.GrantConsent(f.ctx(), &membershipv1.GrantConsentRequest{Name: shares.GetMember(), Kind: membershipv1.Member_SHARE_CONTACT, Version: "1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ListRoster(audit.Operation(f.facilitatorCalls(lead), "roster"), &membershipv1.ListRosterRequest{Group: g.GetGroup()}); err != nil {
		t.Fatal(err)
	}
	if shown, not := f.seen("roster", shares.GetMember()), f.seen("roster", silent.GetMember()); shown != 1 || not != 0 {
		t.Errorf("recorded %d times who was shown, %d who was not; want 1 and 0", shown, not)
	}
	list, err := f.ListMembers(audit.Operation(f.ctx(), "list"), &membershipv1.ListMembersRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{shares.GetMember(), silent.GetMember()} {
		want := 0
		if list.GetMembers()[0].GetName() == m {
			want = 1
		}
		if got := f.seen("list", m); got != want {
			t.Errorf("%s is recorded %d times, want %d: the page shows %s", m, got, want, list.GetMembers()[0].GetName())
		}
	}
}

// Strict age limits are not met by what a member says of herself after she was recorded: a person decides.
func TestStrictAgeIsNotSelfDeclared(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	g.AgeLimits = &groupsv1.Group_AgeLimits{MinYears: 18, MaxYears: 39, Strictness: groupsv1.Group_AgeLimits_STRICT}
	g.Joining = &groupsv1.Group_Joining{Approval: groupsv1.Group_Joining_AUTOMATIC}
	f.tell(g)
	type edit struct {
		self bool
		role membershipv1.Member_Role
		born int32
	}
	const survivor = membershipv1.Member_SURVIVOR
	for name, tc := range map[string]struct {
		edits []edit
		want  string
	}{
		"as recorded":                  {nil, "APPROVED_PENDING_GUIDELINES"},
		"another year by herself":      {[]edit{{true, survivor, 2001}}, "REQUESTED"},
		"another role by herself":      {[]edit{{true, membershipv1.Member_PATIENT, 2000}}, "REQUESTED"},
		"the same by herself":          {[]edit{{true, survivor, 2000}}, "APPROVED_PENDING_GUIDELINES"},
		"there and back by herself":    {[]edit{{true, survivor, 2001}, {true, survivor, 2000}}, "REQUESTED"},
		"another by the organization":  {[]edit{{false, survivor, 2001}}, "APPROVED_PENDING_GUIDELINES"},
		"confirmed":                    {[]edit{{true, survivor, 2001}, {false, survivor, 2001}}, "APPROVED_PENDING_GUIDELINES"},
		"confirmed, and changed again": {[]edit{{false, survivor, 2001}, {true, survivor, 2002}}, "REQUESTED"},
	} {
		member := f.person(&membershipv1.Member{Role: survivor, BirthYear: 2000})
		for _, e := range tc.edits {
			ctx := f.ctx()
			if e.self {
				ctx = f.herself(&membershipv1.Membership{Member: member})
			}
			if _, err := f.UpdateMember(ctx, &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{Name: member, Role: e.role, BirthYear: e.born}}); err != nil {
				t.Fatal(err)
			}
		}
		m, err := f.ask(f.herself(&membershipv1.Membership{Member: member}), g, member)
		if got := m.GetState().String(); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tc.want)
		}
	}
}

// Nothing is done for a member who is erased, though the job that ends her memberships has still to come.
func TestNothingIsDoneForTheErased(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	pending, active, asked := f.join(g), f.joinActively(g), f.requestPlace(g)
	for _, m := range []*membershipv1.Membership{pending, active, asked} {
		f.erase(m.GetMember())
	}
	for what, err := range map[string]error{
		"acknowledge": second(f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: pending.GetName()})),
		"leave":       second(f.StartLeave(f.ctx(), &membershipv1.StartLeaveRequest{Name: active.GetName()})),
		"accept":      second(f.AcceptOffer(f.ctx(), &membershipv1.AcceptOfferRequest{Name: asked.GetName()})),
		"approve":     second(f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: asked.GetName()})),
	} {
		if reasonOf(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s: %v, want NOT_FOUND", what, err)
		}
	}
	f.finishErasures()
	for _, m := range []*membershipv1.Membership{pending, active, asked} {
		if state := f.get(m.GetName()).GetState(); isOpen(state) {
			t.Errorf("%s is %s after the job", m.GetName(), state)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Concerns that cannot be passed on do not keep those behind them from it, however many they are.
func TestManyBrokenConcernsStarveNobody(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	m := f.joinActively(g)
	raise := func() *membershipv1.SafetyConcern {
		return f.raise(f.ctx(), concernAbout(g, m, membershipv1.SafetyConcern_DISTRESS, membershipv1.SafetyConcern_MODERATE))
	}
	var broken []string
	for range safetyAtOnce {
		broken = append(broken, idOf(raise().GetName()).String())
	}
	f.clock.Advance(1)
	good := raise()
	f.clock.Set(good.GetDueTime().AsTime())
	if n := len(column[string](f, `UPDATE safety_concerns SET due_time = '-infinity' WHERE id::text = ANY($1) RETURNING id::text`, broken)); n != len(broken) { // which cannot be read
		t.Fatalf("%d are broken", n)
	}
	if err := f.passOnOverdue(f.system()); err == nil {
		t.Error("nothing is told of the broken ones")
	}
	late := column[string](f, `SELECT id::text FROM safety_concerns WHERE state <> 3 AND due_time <= $1`, f.clock.Now())
	if slices.Contains(late, fmt.Sprint(idOf(good.GetName()))) {
		t.Error("the last was not passed on")
	}
}
