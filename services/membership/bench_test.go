package membership

import (
	"testing"

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
