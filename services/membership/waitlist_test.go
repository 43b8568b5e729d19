package membership

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// Who qualifies as the query for the waitlist sees it is who is not ineligible.
func TestQualifying(t *testing.T) {
	t.Parallel()
	const year = 2026
	for _, audiences := range [][]int32{nil, {int32(groupsv1.Group_PATIENTS)}, {int32(groupsv1.Group_FAMILY), int32(groupsv1.Group_BEREAVED)}} {
		for _, ages := range [][2]int32{{0, 0}, {18, 0}, {0, 39}, {18, 39}} {
			for _, strict := range []bool{false, true} {
				g := &groupRow{Audiences: audiences, MinYears: ages[0], MaxYears: ages[1], StrictAge: strict}
				roles, first, last := qualifying(g, year)
				for role := range membershipv1.Member_Role_name {
					for _, born := range []int32{0, 1900, 1985, 1986, 1987, 2007, 2008, 2009, 2026} {
						got := slices.Contains(roles, role) && born >= first && born <= last
						if want := len(ineligible(g, membershipv1.Member_Role(role), born, year)) == 0; got != want {
							t.Errorf("audiences %v, ages %v, strict %v: role %d born %d: %v, want %v", audiences, ages, strict, role, born, got, want)
						}
					}
				}
			}
		}
	}
}

// fill makes n people in a role wait for a group.
func (f *fixture) fill(g *told, n int, role membershipv1.Member_Role) {
	f.t.Helper()
	b := f.db.Batch(f.system())
	args := pgx.NamedArgs{"org": f.org, "group": strings.TrimPrefix(g.GetGroup(), "groups/"), "n": n, "role": int32(role), "like": strings.TrimPrefix(f.newMember().GetName(), "members/")}
	const crowd = `(SELECT i, md5(@group::text || i)::uuid AS member FROM generate_series(1, @n::integer) i) c`
	b.Queue(`INSERT INTO members SELECT (jsonb_populate_record(m, jsonb_build_object('id', c.member, 'role', @role::integer))).*
		FROM members m, `+crowd+` WHERE m.id = @like::text::uuid`, args)
	b.Queue(`INSERT INTO memberships (id, org_id, group_id, member_id, revision, state, role, ticket, guidelines_version, end_reason, decline_reason, approve_time, create_time, update_time)
		SELECT gen_random_uuid(), @org, @group::text::uuid, c.member, 1, 2, 1, c.i, 0, 0, 0, now(), now(), now() FROM `+crowd, args)
	b.Queue(`UPDATE group_seats SET waiting = @n::integer, last_ticket = @n::integer WHERE group_id = @group::text::uuid`, args)
	if err := f.db.Send(f.system(), b); err != nil {
		f.t.Fatal(err)
	}
}

// A seat is offered past thousands who wait and do not qualify without reading each of them, and the place of none is counted.
func TestLongLineOfOthers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1, true)
	in := f.join(g)
	f.fill(g, 4000, membershipv1.Member_PATIENT)
	g.Audiences = []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS}
	f.tell(g)
	last := f.join(g)
	if last.GetWaitlistPosition() != 4001 {
		t.Fatalf("joined: %v", last)
	}
	if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: in.GetName(), Reason: membershipv1.Membership_MOVED_ON}); err != nil {
		t.Fatal(err)
	}
	if got := f.get(last.GetName()); got.GetState() != offered {
		t.Errorf("the only one who qualifies: %v", got)
	}
	if s := f.seatsOf(g); s.Waiting != 4000 || s.Taken != 1 || s.Behind {
		t.Errorf("%d wait, %d seats are taken, behind: %v", s.Waiting, s.Taken, s.Behind)
	}
}

// A group that opens to everybody offers its waitlist seats some at a time, in order; who comes meanwhile stands behind them.
func TestWholeLineIsServed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1, true)
	f.join(g)
	f.fill(g, 250, membershipv1.Member_PATIENT)
	g.Seats = 0
	f.tell(g)
	if s := f.seatsOf(g); s.Taken != 1+offersAtOnce || !s.Behind {
		t.Fatalf("at once %d seats are taken, behind: %v", s.Taken, s.Behind)
	}
	late := f.join(g)
	if s := f.seatsOf(g); late.GetState() != waitlisted || s.Taken != 1+2*offersAtOnce {
		t.Errorf("who came meanwhile: %v; %d seats are taken", late, s.Taken)
	}
	if err := f.serveBehind(f.system()); err != nil {
		t.Fatal(err)
	}
	if s := f.seatsOf(g); s.Taken != 252 || s.Waiting != 0 || s.Behind {
		t.Errorf("in the end %d seats are taken, %d wait, behind: %v", s.Taken, s.Waiting, s.Behind)
	}
	if got := f.get(late.GetName()); got.GetState() != offered {
		t.Errorf("who came meanwhile: %v", got)
	}
	if got := f.join(g); got.GetState() != approved {
		t.Errorf("who comes after: %v", got)
	}
}

func TestNoOfferToAnswer(t *testing.T) {
	t.Parallel()
	f := setup(t)
	m := f.join(f.newGroup(0, true))
	_, err := f.DeclineOffer(f.ctx(), &membershipv1.DeclineOfferRequest{Name: m.GetName()})
	if reasonOf(err) != "FailedPrecondition ILLEGAL_TRANSITION" || !strings.Contains(err.Error(), "there is no offer to decline: the membership is APPROVED_PENDING_GUIDELINES") {
		t.Errorf("decline: %v", err)
	}
	_, err = f.AcceptOffer(f.ctx(), &membershipv1.AcceptOfferRequest{Name: m.GetName()})
	if reasonOf(err) != "FailedPrecondition ILLEGAL_TRANSITION" || !strings.Contains(err.Error(), "there is no offer to accept: the membership is APPROVED_PENDING_GUIDELINES") {
		t.Errorf("accept: %v", err)
	}
}

// Roles that need training are not given with the request.
func TestNobodyJoinsWithARole(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, true)
	for role, want := range map[membershipv1.Membership_Role]string{
		membershipv1.Membership_ROLE_UNSPECIFIED: "OK", membershipv1.Membership_PARTICIPANT: "OK",
		membershipv1.Membership_PEER_SUPPORTER: "FailedPrecondition ROLE_NEEDS_TRAINING", membershipv1.Membership_CO_FACILITATOR: "FailedPrecondition ROLE_NEEDS_TRAINING",
	} {
		_, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: f.newMember().GetName(), Role: role})
		if got := reasonOf(err); got != want {
			t.Errorf("%s: %s, want %s", role, got, want)
		}
	}
}
