package membership

import (
	"strconv"
	"testing"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// BenchmarkPlaceReferralIntoOneGroup has every client put people on the waitlist of the same group: each write waits for
// the one before it.
func BenchmarkPlaceReferralIntoOneGroup(b *testing.B) {
	f := setup(b)
	g := f.newGroup(10, true)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			m, err := f.place(g, newReferral())
			if err != nil || m.GetState() != approved && m.GetState() != waitlisted {
				b.Errorf("place: %v, %v", m, err)
				return
			}
		}
	})
}

// BenchmarkSeatFreedBesideALine ends and grants memberships of a group with a free seat while many wait who do not qualify.
func BenchmarkSeatFreedBesideALine(b *testing.B) {
	for _, waiting := range []int{500, 4000} {
		b.Run(strconv.Itoa(waiting), func(b *testing.B) {
			f := setup(b)
			g := f.newGroup(2, true)
			f.fill(g, waiting, membershipv1.Member_PATIENT)
			g.Audiences = []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS}
			f.tell(g)
			for b.Loop() {
				m := f.join(g)
				if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: membershipv1.Membership_MOVED_ON}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkGetMember reads and decrypts one person, with the audit record.
func BenchmarkGetMember(b *testing.B) {
	f := setup(b)
	want, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: wholeMember()})
	if err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			got, err := f.GetMember(f.ctx(), &membershipv1.GetMemberRequest{Name: want.GetName()})
			if err != nil || got.GetEmail() != want.GetEmail() {
				b.Errorf("got %v, %v", got, err)
				return
			}
		}
	})
}
