package scheduling

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/smtptest"
	"cairn.care/services/internal/suitetest"
)

// notified is a suite that sends e-mail, with a notifier that runs when the test says so.
type notified struct {
	*fixture
	*notifier

	ctx   context.Context
	box   *smtptest.Server
	rsvps schedulingv1.RsvpServiceClient
}

// notifying starts the suite; with send it sends, and follows its own events.
func notifying(t *testing.T, send bool) *notified {
	t.Helper()
	n := &notified{box: smtptest.Start(t)}
	var options []suitetest.Option
	if send {
		options = append(options, suitetest.Mail(n.box.Address))
	}
	n.fixture = setup(t, options...)
	keys, err := crypt.Load(n.Config.EncryptionKeysFile)
	if err != nil {
		t.Fatal(err)
	}
	var s *server
	n.ctx, s = n.fixture.server()
	s.groups = groupsv1.NewGroupsServiceClient(n.ConnAs(service, "groups"))
	n.notifier, err = s.notifier(mail.NewOutbox(service, keys, n.Clock), membershipv1.NewRecipientsServiceClient(n.ConnAs(service, "membership")), "https://cairn.test")
	if err != nil {
		t.Fatal(err)
	}
	n.rsvps = schedulingv1.NewRsvpServiceClient(n.Conn(service))
	return n
}

// now runs what the job runs.
func (n *notified) now() {
	n.t.Helper()
	if err := n.notify(n.ctx); err != nil {
		n.t.Fatalf("notify: %v", err)
	}
}

// at runs what the job runs at a time.
func (n *notified) at(when time.Time) {
	n.t.Helper()
	n.Clock.Set(when)
	n.now()
}

// join makes somebody an active member of the group who may be written to, and returns her membership. Her address is her
// alias at example.org.
func (n *notified) join(alias string, edit func(*membershipv1.Member)) string {
	t := n.t
	t.Helper()
	m := &membershipv1.Member{
		Organization: ours, Alias: alias, Role: membershipv1.Member_SURVIVOR, Email: alias + "@example.org", Languages: []string{"en"},
		Consents: []*membershipv1.Member_Consent{{Kind: membershipv1.Member_RECEIVE_MESSAGES, Version: "1"}},
	}
	if edit != nil {
		edit(m)
	}
	made, err := n.members.CreateMember(n.owner, &membershipv1.CreateMemberRequest{Member: m})
	if err != nil {
		t.Fatalf("create member: %v", err)
	}
	in, err := n.members.CreateMembership(n.owner, &membershipv1.CreateMembershipRequest{Group: n.group, Member: made.GetName()})
	if err == nil {
		in, err = n.members.ApproveMembership(n.owner, &membershipv1.ApproveMembershipRequest{Name: in.GetName()})
	}
	if err == nil && in.GetState() != membershipv1.Membership_ACTIVE {
		in, err = n.members.AcknowledgeGuidelines(n.owner, &membershipv1.AcknowledgeGuidelinesRequest{Name: in.GetName()})
	}
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	eventually(t, alias+" is known to scheduling", func() bool {
		return n.count(`SELECT count(*) FROM attendees WHERE active AND 'memberships/' || membership_id = $1`, in.GetName()) == 1
	})
	return in.GetName()
}

// count returns a number from the service's database.
func (n *notified) count(sql string, args ...any) (c int) {
	n.t.Helper()
	if err := n.DBs[service].Tx(n.ctx, func(tx pgx.Tx) error { return tx.QueryRow(n.ctx, sql, args...).Scan(&c) }); err != nil {
		n.t.Fatal(err)
	}
	return c
}

// say answers for a member.
func (n *notified) say(session, membership string, answer schedulingv1.Rsvp_Answer) {
	n.t.Helper()
	if _, err := n.rsvps.SetRsvp(n.owner, &schedulingv1.SetRsvpRequest{Session: session, Membership: membership, Answer: answer}); err != nil {
		n.t.Fatalf("answer: %v", err)
	}
}

// got checks how many messages an address has, and returns the last.
func (n *notified) got(to string, want int) smtptest.Message {
	t := n.t
	t.Helper()
	eventually(t, "nothing is left to send", func() bool {
		return n.count(`SELECT count(*) FROM mail WHERE next_time IS NOT NULL AND not_before <= $1`, n.Clock.Now()) == 0
	})
	box := n.mailbox(to)
	if len(box) != want {
		t.Fatalf("%s has %d messages, want %d: %v", to, len(box), want, subjects(box))
	}
	if want == 0 {
		return smtptest.Message{}
	}
	return box[want-1]
}

// mailbox is what an address has of scheduling; membership writes too.
func (n *notified) mailbox(to string) []smtptest.Message {
	n.t.Helper()
	var keys [][]byte
	if err := n.DBs[service].QueryRow(n.ctx, `SELECT array_agg(key) FROM mail`).Scan(&keys); err != nil {
		n.t.Fatal(err)
	}
	ours := map[string]bool{}
	for _, key := range keys {
		ours["<"+mail.MessageID(key, "cairn.test")+">"] = true
	}
	return slices.DeleteFunc(n.box.Mailbox(to), func(m smtptest.Message) bool { return !ours[m.Header.Get("Message-ID")] })
}

func subjects(box []smtptest.Message) (out []string) {
	for _, m := range box {
		out = append(out, m.Subject)
	}
	return out
}

// TestTextsAreWhole writes every text in every language, with all that there may be to say and with the least.
func TestTextsAreWhole(t *testing.T) {
	t.Parallel()
	dir, err := fs.Sub(textFiles, "texts")
	if err != nil {
		t.Fatal(err)
	}
	texts, err := mail.NewTexts(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := &notifier{server: &server{}, texts: texts}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2027, 3, 4, 18, 0, 0, 0, time.UTC)
	full := sessionRow{StartTime: at, EndTime: at.Add(time.Hour), TimeZone: "Europe/Berlin", Topic: "TOPIC", Place: "PLACE", Format: int32(schedulingv1.Series_HYBRID), State: moved}
	off := full
	off.State, off.CancelReason = cancelled, "REASON"
	least := sessionRow{StartTime: at, EndTime: at.Add(time.Hour), TimeZone: "Europe/Berlin", State: moved}
	group := &groupsv1.Group{Title: "GROUP", Online: &groupsv1.Group_Online{JoinUri: "https://join.test/1", JoinInstructions: "HOW"}}
	all := digestSession{Group: "GROUP", Topic: "TOPIC", Place: "PLACE", Start: at, End: at, Coming: []string{"A", "B"}, Maybe: []string{"C"}, Waiting: []string{"D"}, Silent: []string{"E"}, Away: []string{"F"}}
	for _, lang := range mail.Languages() {
		r := &membershipv1.ListRecipientsResponse_Recipient{Alias: "ALIAS", Languages: []string{lang}}
		f := &groupsv1.Facilitator{DisplayName: "NAME", Languages: []string{lang}}
		day := digestDay{zone: "Europe/Berlin", day: time.Date(2027, 3, 4, 0, 0, 0, 0, berlin)}
		for name, tt := range map[string]struct {
			write func() (mail.Message, error)
			want  []string
		}{
			"reminder":       {func() (mail.Message, error) { return n.reminder(full, group, r, 7200) }, []string{"ALIAS", "GROUP", "TOPIC", "PLACE", "https://join.test/1", "HOW", "2027", "Europe/Berlin"}},
			"least reminder": {func() (mail.Message, error) { return n.reminder(least, &groupsv1.Group{Title: "GROUP"}, r, 7200) }, []string{"ALIAS", "GROUP"}},
			"changes": {func() (mail.Message, error) {
				return n.changes([]notice{{sessionRow: full, OldStart: at.Add(-time.Hour)}, {sessionRow: off, OldStart: at}}, group, r)
			}, []string{"ALIAS", "GROUP", "PLACE", "REASON", "2027", "Europe/Berlin"}},
			"least changes": {func() (mail.Message, error) { return n.changes([]notice{{sessionRow: least, OldStart: at}}, group, r) }, []string{"ALIAS", "GROUP"}},
			"digest": {func() (mail.Message, error) {
				return n.digest(day, f, []sessionRow{full}, []digestSession{all, {Group: "SECOND", Start: at, End: at, Nobody: true}})
			}, []string{"NAME", "GROUP", "TOPIC", "PLACE", "(2)", ": A, B\n", ": C\n", ": D\n", ": E\n", ": F\n", "SECOND"}},
		} {
			clockless := n.server
			clockless.clock = fixed(at)
			m, err := tt.write()
			if err != nil {
				t.Errorf("%s in %s: %v", name, lang, err)
				continue
			}
			for _, want := range tt.want {
				if !strings.Contains(m.Text, want) {
					t.Errorf("%s in %s lacks %q:\n%s", name, lang, want, m.Text)
				}
			}
			if strings.Contains(m.Text, "\n\n\n") || strings.Contains(m.Text, " \n") || strings.HasPrefix(m.Text, "\n") {
				t.Errorf("%s in %s has blanks to spare:\n%q", name, lang, m.Text)
			}
			for _, secret := range []string{"GROUP", "ALIAS", "PLACE"} {
				if strings.Contains(m.Title, secret) {
					t.Errorf("%s in %s: the title %q shows %s to whoever sees the mailbox", name, lang, m.Title, secret)
				}
			}
			if m.Language != lang {
				t.Errorf("%s is in %q, want %q", name, m.Language, lang)
			}
		}
	}
}

// fixed is a clock that stands.
type fixed time.Time

// Now returns where it stands.
func (f fixed) Now() time.Time { return time.Time(f) }

func TestQuietHours(t *testing.T) {
	t.Parallel()
	own := func(start, end string) *membershipv1.Member_QuietHours {
		return &membershipv1.Member_QuietHours{Start: start, End: end}
	}
	for _, tt := range []struct {
		hours     *membershipv1.Member_QuietHours
		zone, now string
		want      string // UTC; empty: not quiet
	}{
		{nil, "Europe/Berlin", "2027-03-04T20:59", ""},
		{nil, "Europe/Berlin", "2027-03-04T21:00", "2027-03-05T07:00"},
		{nil, "Europe/Berlin", "2027-03-04T07:59", "2027-03-04T07:00"},
		{nil, "Europe/Berlin", "2027-03-04T08:00", ""},
		{nil, "Europe/Berlin", "2027-12-31T23:00", "2028-01-01T07:00"},
		{nil, "America/Mexico_City", "2027-03-04T05:00", "2027-03-04T14:00"},
		{own("13:00", "15:00"), "Europe/Berlin", "2027-03-04T14:30", "2027-03-04T14:00"},
		{own("13:00", "15:00"), "Europe/Berlin", "2027-03-04T15:00", ""},
		{own("09:00", "09:00"), "Europe/Berlin", "2027-03-04T09:00", ""},
		{own("00:00", "23:59"), "Europe/Berlin", "2027-03-04T23:59", ""},
		// The clocks go from 2 to 3 on 28 March: a night that ends at half past two ends at half past three.
		{own("22:00", "02:30"), "Europe/Berlin", "2027-03-27T23:00", "2027-03-28T01:30"},
		{own("22:00", "07:00"), "Europe/Berlin", "2027-03-27T23:00", "2027-03-28T05:00"},
		// And back on 31 October.
		{own("22:00", "07:00"), "Europe/Berlin", "2027-10-30T23:00", "2027-10-31T06:00"},
	} {
		zone, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.ParseInLocation("2006-01-02T15:04", tt.now, zone)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if until, quiet := quietUntil(tt.hours, now, zone); quiet {
			got = until.Format("2006-01-02T15:04")
		}
		if got != tt.want {
			t.Errorf("%v at %s in %s: until %q, want %q", tt.hours, tt.now, tt.zone, got, tt.want)
		}
	}
}

// exec changes the service's database as its owner does.
func (n *notified) exec(sql string) {
	t := n.t
	t.Helper()
	config, err := pgx.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.Database = n.DBs[service].Name()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), sql)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
