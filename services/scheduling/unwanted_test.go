package scheduling

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
)

// What waits for the morning is not sent to who says in the night that she wants it no more, to whichever service.
func TestUnwantedMailIsTakenBack(t *testing.T) {
	t.Parallel()
	n := notifying(t, true)
	asleep := func(m *membershipv1.Member) { m.TimeZone = "Pacific/Auckland" }
	member := func(alias string) string {
		t.Helper()
		m, err := n.members.GetMembership(n.owner, &membershipv1.GetMembershipRequest{Name: n.join(alias, asleep)})
		if err != nil {
			t.Fatal(err)
		}
		return m.GetMember()
	}
	withdraws, unwilling, mutes, other := member("ada"), member("bea"), member("cleo"), member("dora")
	series := n.weekly()
	series.LocalStart = "2027-03-11T19:00"
	n.create(series)
	n.move(n.sessions("group = %q", n.group)[0].GetName(), "2027-03-11T18:00")
	n.at(thursday.Add(settled))
	if c := n.count(`SELECT count(*) FROM mail WHERE next_time IS NOT NULL`); c != 4 {
		t.Fatalf("%d e-mails wait for the morning, want 4", c)
	}

	if _, err := n.members.WithdrawConsent(n.owner, &membershipv1.WithdrawConsentRequest{Name: withdraws, Kind: membershipv1.Member_RECEIVE_MESSAGES}); err != nil {
		t.Fatal(err)
	}
	for _, u := range []struct {
		m    *membershipv1.Member
		path string
	}{
		{&membershipv1.Member{Name: unwilling, DoNotContact: true}, "do_not_contact"},
		{&membershipv1.Member{Name: mutes, MutedMessages: []membershipv1.Member_MessageKind{membershipv1.Member_SESSION_CHANGES}}, "muted_messages"},
		{&membershipv1.Member{Name: other, MutedMessages: []membershipv1.Member_MessageKind{membershipv1.Member_SESSION_REMINDERS}}, "muted_messages"},
	} {
		if _, err := n.members.UpdateMember(n.owner, &membershipv1.UpdateMemberRequest{Member: u.m, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{u.path}}}); err != nil {
			t.Fatal(err)
		}
	}
	n.CatchUp()
	n.at(thursday.Add(8 * time.Hour)) // eight in the morning there
	for alias, want := range map[string]int{"ada": 0, "bea": 0, "cleo": 0, "dora": 1} {
		n.got(alias+"@example.org", want)
	}
}

// Nobody makes a calendar for who is erased, not even while she is being, nor where her membership becomes known only after.
func TestNoCalendarForWhoIsErased(t *testing.T) {
	t.Parallel()
	f := setup(t)
	calendars := schedulingv1.NewCalendarsServiceClient(f.Conn(service))
	member, membership := f.active(f.group)
	f.CatchUp()
	create := func(member string) error {
		_, err := calendars.CreateCalendar(f.owner, &schedulingv1.CreateCalendarRequest{Calendar: &schedulingv1.Calendar{Member: member}})
		return err
	}
	ctx, s := f.server()
	answer := make(chan error, 1)
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := s.eraseAttendance(ctx, tx, &membershipv1.ErasureRequested{Member: member, Organization: ours, Memberships: []string{membership}}); err != nil {
			return err
		}
		go func() { answer <- create(member) }()
		for waiting := 0; waiting == 0 && len(answer) == 0; {
			if err := f.DBs[service].QueryRow(ctx, `SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = current_database() AND NOT granted`).Scan(&waiting); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; refused(err) != "NotFound NOT_FOUND" {
		t.Errorf("while she is erased: %v", err)
	}

	late := aip.Name("members", uuid.New())
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := s.eraseAttendance(ctx, tx, &membershipv1.ErasureRequested{Member: late, Organization: ours}); err != nil {
			return err
		}
		row, err := attendeeOf(aip.Name("memberships", uuid.New()), ours, f.group, late, membershipv1.Membership_ENDED, 1)
		if err != nil {
			return err
		}
		return takeAttendee(ctx, tx, row, f.Clock.Now())
	}); err != nil {
		t.Fatal(err)
	}
	if err := create(late); refused(err) != "NotFound NOT_FOUND" {
		t.Errorf("once she is erased: %v", err)
	}
	var left int
	if err := f.DBs[service].Tx(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM member_calendars`).Scan(&left)
	}); err != nil || left != 0 {
		t.Errorf("%d calendars are there, %v", left, err)
	}
}
