package membership

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/auth"
)

// waitsForLock returns once somebody waits for a lock in the test's database, or the answer is there without.
func (f *fixture) waitsForLock(answer <-chan error) {
	f.t.Helper()
	for waiting := 0; waiting == 0 && len(answer) == 0; {
		b := f.db.Batch(f.system())
		b.Queue(`SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = current_database() AND NOT granted`).
			QueryRow(func(r pgx.Row) error { return r.Scan(&waiting) })
		if err := f.db.Send(f.system(), b); err != nil {
			f.t.Fatal(err)
		}
	}
}

// A membership that is asked for while the consent to keep her data is being withdrawn is not made, whoever asks for it.
func TestNoMembershipDuringWithdrawal(t *testing.T) {
	t.Parallel()
	f := setup(t)
	byPerson, byItself := f.newGroup(5, true), f.newGroup(5, true)
	byItself.Joining = &groupsv1.Group_Joining{Approval: groupsv1.Group_Joining_AUTOMATIC}
	f.tell(byItself)
	for _, c := range []struct {
		name string
		mrn  string
		join func(member string) error
	}{
		{"who asks", "1", func(member string) error {
			_, err := f.ask(f.ctx(), byPerson, member)
			return err
		}},
		{"who asks a group that lets in by itself", "2", func(member string) error {
			_, err := f.ask(auth.WithSelf(f.ctx(), auth.Self{Member: member}), byItself, member)
			return err
		}},
		{"who is placed", "3", func(string) error {
			_, err := f.place(byPerson, newReferral(), mrn("3"))
			return err
		}},
	} {
		elsewhere, err := f.place(f.newGroup(0, false), newReferral(), mrn(c.mrn))
		if err != nil {
			t.Fatal(err)
		}
		member := elsewhere.GetMember()
		if _, err := f.GrantConsent(f.ctx(), &membershipv1.GrantConsentRequest{Name: member, Kind: membershipv1.Member_KEEP_DATA, Version: "1"}); err != nil {
			t.Fatal(err)
		}
		answer := make(chan error, 1)
		if _, err := f.changeMember(f.ctx(), "name", member, "", func(m *membershipv1.Member) error {
			standing(m, membershipv1.Member_KEEP_DATA).WithdrawnTime = timestamppb.New(f.clock.Now())
			return nil
		}, func(ctx context.Context, tx pgx.Tx, r *memberRow) error {
			go func() { answer <- c.join(member) }()
			f.waitsForLock(answer)
			return f.endAll(ctx, tx, r)
		}); err != nil {
			t.Fatalf("%s: withdraw: %v", c.name, err)
		}
		if got := reasonOf(<-answer); got != "FailedPrecondition CONSENT_WITHDRAWN" {
			t.Errorf("%s during the withdrawal gets %s", c.name, got)
		}
	}
}
