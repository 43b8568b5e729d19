package scheduling

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// cancel cancels a session, move moves one, and both wait until that is noted.
func (n *notified) cancel(session, reason string) {
	n.t.Helper()
	if _, err := n.fixture.CancelSession(n.owner, &schedulingv1.CancelSessionRequest{Name: session, Reason: reason}); err != nil {
		n.t.Fatal(err)
	}
	n.noted(session)
}

func (n *notified) move(session, local string) {
	n.t.Helper()
	if _, err := n.fixture.MoveSession(n.owner, &schedulingv1.MoveSessionRequest{Name: session, LocalStart: local}); err != nil {
		n.t.Fatal(err)
	}
	n.noted(session)
}

func (n *notified) noted(session string) {
	n.t.Helper()
	eventually(n.t, "the change of "+session+" is noted", func() bool {
		return n.count(`SELECT count(*) FROM change_notices c WHERE 'sessions/' || session_id = $1 AND due_time = $2`, session, n.Clock.Now().Add(settled)) == 1
	})
}

func TestMovedAndCancelledSessionsAreTold(t *testing.T) {
	t.Parallel()
	n := notifying(t, true)
	n.join("ada", nil)
	yes, no := n.join("yes", nil), n.join("noa", nil)
	n.join("luz", func(m *membershipv1.Member) { m.TimeZone = "Pacific/Auckland" }) // where it is midnight
	series := n.weekly()
	series.LocalStart = "2027-03-11T19:00"
	n.create(series)
	list := n.sessions("group = %q", n.group)
	next, after, far := list[0].GetName(), list[1].GetName(), list[9].GetName()
	for _, s := range []string{next, after, far} {
		n.say(s, yes, schedulingv1.Rsvp_YES)
		n.say(s, no, schedulingv1.Rsvp_NO)
	}
	n.cancel(next, "The hall is flooded.")
	n.move(after, "2027-03-18T18:00")
	n.cancel(far, "Holidays.")

	n.at(thursday.Add(settled - time.Second))
	n.got("ada@example.org", 0)
	n.at(thursday.Add(settled))
	n.now()
	m := n.got("ada@example.org", 1)
	if want := "A session of your group has changed"; m.Subject != want {
		t.Errorf("subject %q, want %q", m.Subject, want)
	}
	for _, want := range []string{
		"- Thursday, March 11, 2027, 7:00 PM is cancelled. The hall is flooded.\n",
		"- Thursday, March 18, 2027, 7:00 PM is moved to Thursday, March 18, 2027, 6:00 PM.\n",
	} {
		if !strings.Contains(m.Text, want) {
			t.Errorf("the message lacks %q:\n%s", want, m.Text)
		}
	}
	if strings.Contains(m.Text, "May") {
		t.Errorf("who has not answered is told of what is months away:\n%s", m.Text)
	}
	if m := n.got("yes@example.org", 1); !strings.Contains(m.Text, "- Thursday, May 13, 2027, 7:00 PM is cancelled. Holidays.\n") {
		t.Errorf("who meant to come is not told:\n%s", m.Text)
	}
	n.got("noa@example.org", 0)
	n.got("luz@example.org", 0)
	n.at(thursday.Add(8 * time.Hour)) // eight in the morning there
	n.got("luz@example.org", 1)
	n.got("ada@example.org", 1)

	// Who was told that it is moved is reminded of the new time.
	n.at(time.Date(2027, 3, 17, 17, 0, 0, 0, time.UTC))
	if m := n.got("ada@example.org", 2); !strings.Contains(m.Text, "March 18, 2027 at 6:00 PM") {
		t.Errorf("she is reminded of another time:\n%s", m.Text)
	}
}

// What is moved and moved back within two minutes is nobody's business, and what is moved twice is told once.
func TestChangesThatComeToNothingAreNotTold(t *testing.T) {
	t.Parallel()
	n := notifying(t, true)
	n.join("ada", nil)
	series := n.weekly()
	series.LocalStart = "2027-03-11T19:00"
	n.create(series)
	list := n.sessions("group = %q", n.group)
	n.move(list[0].GetName(), "2027-03-11T20:00")
	n.move(list[1].GetName(), "2027-03-18T20:00")
	n.Clock.Advance(time.Minute)
	n.move(list[0].GetName(), "2027-03-11T19:00")
	n.move(list[1].GetName(), "2027-03-18T20:30")
	n.at(thursday.Add(settled))
	n.got("ada@example.org", 0)
	n.at(thursday.Add(time.Minute + settled))
	m := n.got("ada@example.org", 1)
	if !strings.Contains(m.Text, "- Thursday, March 18, 2027, 7:00 PM is moved to Thursday, March 18, 2027, 8:30 PM.") || strings.Count(m.Text, "\n- ") != 1 {
		t.Errorf("she is told something else than the one change that stands:\n%s", m.Text)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	n := notifying(t, true)
	yes, maybe, no := n.join("Yara", nil), n.join("mo", nil), n.join("nele", nil)
	n.join("Silent", func(m *membershipv1.Member) { m.DoNotContact, m.Consents = true, nil })
	for name, email := range map[string]string{n.ana: "ana@lead.test", n.ben: ""} {
		if _, err := n.groups.UpdateFacilitator(n.owner, &groupsv1.UpdateFacilitatorRequest{
			Facilitator: &groupsv1.Facilitator{Name: name, Email: email}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"email"}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	series := n.weekly()
	series.LocalStart, series.Facilitators, series.Topics = "2027-03-11T19:00", []string{n.ana, n.ben}, []string{"Fear of recurrence"}
	n.create(series)
	first := n.sessions("group = %q", n.group)[0].GetName()
	n.say(first, yes, schedulingv1.Rsvp_YES)
	n.say(first, maybe, schedulingv1.Rsvp_MAYBE)
	n.say(first, no, schedulingv1.Rsvp_NO)

	n.at(time.Date(2027, 3, 10, 15, 59, 0, 0, time.UTC))
	n.got("ana@lead.test", 0)
	n.at(time.Date(2027, 3, 10, 16, 0, 0, 0, time.UTC)) // 17:00 in Berlin
	n.now()
	m := n.got("ana@lead.test", 1)
	want := `Hello Ana,

these are your sessions on Thursday, March 11, 2027 (Europe/Berlin), and who comes.

7:00 PM-8:30 PM  Walk and talk
  Topic: Fear of recurrence
  Coming (1): Yara
  Maybe (1): mo
  Have not said (1): Silent
  Not coming (1): nele
`
	if m.Subject != "Your sessions on Thursday, March 11, 2027" || m.Text != want {
		t.Errorf("got %q\n%s\nwant\n%s", m.Subject, m.Text, want)
	}
	n.at(time.Date(2027, 3, 11, 16, 0, 0, 0, time.UTC))
	n.got("ana@lead.test", 1)
	n.at(time.Date(2027, 3, 17, 16, 0, 0, 0, time.UTC))
	n.got("ana@lead.test", 2)
}
