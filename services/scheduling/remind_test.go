package scheduling

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/internal/smtptest"
)

// TestReminders goes through the day of a session at 19:00 in Berlin, which is planned at noon.
func TestReminders(t *testing.T) {
	t.Parallel()
	n := notifying(t, true)
	n.join("ada", func(m *membershipv1.Member) { m.Languages = []string{"de"} })
	n.join("luz", func(m *membershipv1.Member) { m.Languages, m.TimeZone = []string{"es-MX"}, "America/Mexico_City" })
	no := n.join("noa", nil)
	n.join("mute", func(m *membershipv1.Member) {
		m.MutedMessages = []membershipv1.Member_MessageKind{membershipv1.Member_SESSION_REMINDERS}
	})
	n.join("owl", func(m *membershipv1.Member) {
		m.QuietHours = &membershipv1.Member_QuietHours{Start: "08:00", End: "20:00"}
	})
	if _, err := n.groups.UpdateGroup(n.owner, &groupsv1.UpdateGroupRequest{
		Group:      &groupsv1.Group{Name: n.group, Online: &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.test/j/1"}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"online"}},
	}); err != nil {
		t.Fatal(err)
	}
	n.Clock.Set(thursday.AddDate(0, 0, -2)) // before anybody is reminded, by the job as well
	n.create(n.weekly())
	first := n.sessions("group = %q", n.group)[0].GetName()
	n.say(first, no, schedulingv1.Rsvp_NO)

	n.at(thursday)
	m := n.got("ada@example.org", 1)
	if want := "Erinnerung: Ihre Gruppe trifft sich am Donnerstag, 4. März 2027, 19:00 Uhr"; m.Subject != want {
		t.Errorf("subject %q, want %q", m.Subject, want)
	}
	for _, want := range []string{"Hallo ada", "„Walk and talk“", "um 19:00 Uhr (Europe/Berlin)", "https://zoom.test/j/1", "https://"} {
		if !strings.Contains(m.Text, want) {
			t.Errorf("the reminder lacks %q:\n%s", want, m.Text)
		}
	}
	link := strings.Trim(m.Header.Get("List-Unsubscribe"), "<>")
	if !strings.Contains(link, "/unsubscribe/") || m.Header.Get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click" || !strings.Contains(m.Text, link) {
		t.Errorf("List-Unsubscribe %q, List-Unsubscribe-Post %q; want a link, also beneath the text", link, m.Header.Get("List-Unsubscribe-Post"))
	}
	n.got("luz@example.org", 0) // five in the morning

	n.at(thursday.Add(2*time.Hour + 59*time.Minute))
	n.got("luz@example.org", 0)
	n.at(thursday.Add(3 * time.Hour)) // eight in the morning
	if m := n.got("luz@example.org", 1); !strings.Contains(m.Text, "jueves, 4 de marzo de 2027 a las 12:00 (America/Mexico_City)") {
		t.Errorf("she reads other times than her own:\n%s", m.Text)
	}
	n.got("ada@example.org", 1)

	n.at(thursday.Add(5 * time.Hour)) // two hours before
	n.now()
	n.got("ada@example.org", 2)
	n.got("luz@example.org", 2)
	n.at(thursday.Add(7 * time.Hour)) // it begins
	n.at(thursday.Add(9 * time.Hour)) // the owl wakes
	n.got("ada@example.org", 2)
	n.got("luz@example.org", 2)
	for _, to := range []string{"noa", "mute", "owl"} {
		n.got(to+"@example.org", 0)
	}

	n.at(thursday.AddDate(0, 0, 6).Add(7 * time.Hour)) // a day before the next
	n.got("ada@example.org", 3)
	n.got("noa@example.org", 1)
}

func TestRemindersAsTheGroupSays(t *testing.T) {
	t.Parallel()
	n := notifying(t, true)
	yes, maybe := n.join("yes", nil), n.join("maybe", nil)
	n.join("silent", nil)
	set := func(r *groupsv1.Group_Reminders) {
		t.Helper()
		g, err := n.groups.UpdateGroup(n.owner, &groupsv1.UpdateGroupRequest{
			Group: &groupsv1.Group{Name: n.group, Reminders: r}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"reminders"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "scheduling knows", func() bool {
			return n.count(`SELECT count(*) FROM group_reminders WHERE audience = $1 AND cardinality(offsets) = $2`, int32(g.GetReminders().GetAudience()), len(g.GetReminders().GetOffsets())) == 1
		})
	}
	set(&groupsv1.Group_Reminders{Audience: groupsv1.Group_Reminders_COMING, Offsets: []*durationpb.Duration{durationpb.New(72 * time.Hour), durationpb.New(15 * time.Minute)}})
	series := n.weekly()
	series.LocalStart = "2027-03-11T19:00"
	n.create(series)
	first := n.sessions("group = %q", n.group)[0]
	n.say(first.GetName(), yes, schedulingv1.Rsvp_YES)
	n.say(first.GetName(), maybe, schedulingv1.Rsvp_MAYBE)
	start := first.GetStartTime().AsTime()

	n.at(start.Add(-72*time.Hour - time.Minute))
	n.got("yes@example.org", 0)
	n.at(start.Add(-72 * time.Hour))
	n.got("yes@example.org", 1)
	n.at(start.Add(-2 * time.Hour))
	n.got("yes@example.org", 1)
	n.at(start.Add(-15 * time.Minute))
	n.got("yes@example.org", 2)
	n.got("maybe@example.org", 0)
	n.got("silent@example.org", 0)

	set(&groupsv1.Group_Reminders{Audience: groupsv1.Group_Reminders_NOBODY})
	n.at(start.AddDate(0, 0, 7).Add(-time.Hour))
	n.got("yes@example.org", 2)
	n.got("silent@example.org", 0)
	set(nil)
	n.now()
	n.got("yes@example.org", 3)
	n.got("silent@example.org", 1)
}

// A reminder that waits for the SMTP server while its session moves is not sent any more; that of the new time is.
func TestAReminderThatIsNotSoAnyMoreIsTakenBack(t *testing.T) {
	t.Parallel()
	n := notifying(t, true)
	n.join("ada", nil)
	n.create(n.weekly())
	n.box.Hook(func(smtptest.Step, string) error { return &smtp.SMTPError{Code: 451, Message: "not now"} })
	n.now()
	waiting := func() int { return n.count(`SELECT count(*) FROM mail WHERE next_time IS NOT NULL AND answer <> ''`) }
	eventually(t, "the reminder waits", func() bool { return waiting() == 1 })
	first := n.sessions("group = %q", n.group)[0]
	if _, err := n.fixture.MoveSession(n.owner, &schedulingv1.MoveSessionRequest{Name: first.GetName(), LocalStart: "2027-03-04T20:00"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is taken back", func() bool { return waiting() == 0 })
	n.box.Hook(nil)
	n.at(thursday.Add(time.Hour))
	eventually(t, "both are told", func() bool { return len(n.mailbox("ada@example.org")) == 2 })
	for _, m := range n.mailbox("ada@example.org") {
		if !strings.Contains(m.Text, "8:00 PM") {
			t.Errorf("she is told of another time than the new one:\n%s", m.Text)
		}
	}
}

// TestKilledWhileReminding ends the worker at each step: before and after each question to a peer, and in the middle of the
// transaction. What it had begun is not there; another does it, once.
func TestKilledWhileReminding(t *testing.T) {
	t.Parallel()
	n := notifying(t, false)
	aliases := []string{"ada", "ben", "cleo"}
	for _, alias := range aliases {
		n.join(alias, nil)
	}
	n.create(n.weekly())
	died := errors.New("the worker died")
	for _, step := range []string{"asking for the group", "having the group", "asking for people", "having people"} {
		dying := *n.notifier
		server := *dying.server
		dying.server = &server
		ctx, die := context.WithCancelCause(n.ctx)
		server.groups = groupsv1.NewGroupsServiceClient(&mortal{n.ConnAs(service, "groups"), func(after bool) {
			if step == "asking for the group" && !after || step == "having the group" && after {
				die(died)
			}
		}})
		dying.recipients = membershipv1.NewRecipientsServiceClient(&mortal{n.ConnAs(service, "membership"), func(after bool) {
			if step == "asking for people" && !after || step == "having people" && after {
				die(died)
			}
		}})
		if err := dying.notify(ctx); err == nil || context.Cause(ctx) == nil {
			t.Errorf("%s: it did not die", step)
		}
		n.nothing(step)
	}
	for _, table := range []string{"mail", "reminders"} {
		for nth := 1; nth <= 3 && (table == "mail" || nth == 1); nth++ {
			step := fmt.Sprintf("writing row %d of %s", nth, table)
			n.exec(fmt.Sprintf(`CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
				$$BEGIN IF (SELECT count(*) FROM %s) >= %d THEN RAISE 'the worker died'; END IF; RETURN NEW; END$$`, table, nth-1))
			n.exec(`CREATE TRIGGER die BEFORE INSERT ON ` + table + ` FOR EACH ROW EXECUTE FUNCTION die()`)
			if err := n.notify(n.ctx); err == nil {
				t.Errorf("%s: it did not die", step)
			}
			n.exec(`DROP TRIGGER die ON ` + table)
			n.exec(`DROP FUNCTION die`)
			n.nothing(step)
		}
	}
	for range 3 {
		n.now()
		if got := n.count(`SELECT count(*) FROM mail`); got != len(aliases) {
			t.Fatalf("%d reminders, want %d", got, len(aliases))
		}
	}
}

// nothing fails the test if anything is left of a run that died.
func (n *notified) nothing(step string) {
	n.t.Helper()
	if mails, marks := n.count(`SELECT count(*) FROM mail`), n.count(`SELECT count(*) FROM reminders`); mails+marks > 0 {
		n.t.Fatalf("%s: %d messages and %d marks are left, want none", step, mails, marks)
	}
}

// mortal is a connection on which the worker may die, before a call or after it.
type mortal struct {
	grpc.ClientConnInterface
	at func(after bool)
}

// Invoke makes a call.
func (m *mortal) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	m.at(false)
	err := m.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	m.at(true)
	return err
}
