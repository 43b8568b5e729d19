package scheduling

import (
	"strings"
	"testing"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/internal/smtptest"
)

// Who waited is told that a place is hers, once and in her language; who did not agree to messages is not.
func TestPlacesAreTold(t *testing.T) {
	t.Parallel()
	n := notifying(t, true)
	in := n.weekly()
	in.LocalStart, in.Format, in.Seats, in.Place = "2027-03-18T19:00", schedulingv1.Series_HYBRID, 1, "Hall"
	n.create(in)
	x := n.sessions("group = %q", n.group)[0].GetName()
	first, ada := n.join("first", nil), n.join("ada", func(m *membershipv1.Member) { m.Languages = []string{"de"} })
	quiet := n.join("quiet", func(m *membershipv1.Member) { m.Consents = nil })
	for _, who := range []string{first, quiet, ada} {
		n.say(x, who, yes)
	}
	n.say(x, first, no)
	n.say(x, quiet, no)
	if m := n.letter("ada@example.org", "Ein Platz ist frei für Sie"); !strings.Contains(m.Text, "vor Ort") || !strings.Contains(m.Text, "Ort: Hall\n") {
		t.Errorf("she is told %q:\n%s", m.Subject, m.Text)
	}

	// The room is no more, and online all places are taken.
	other := n.join("other", nil)
	if _, err := n.fixture.rsvps().SetRsvp(n.owner, &schedulingv1.SetRsvpRequest{Session: x, Membership: other, Answer: yes, Way: schedulingv1.Rsvp_ONLINE}); err != nil {
		t.Fatal(err)
	}
	n.updateSession(&schedulingv1.Session{Name: x, Format: schedulingv1.Series_ONLINE, OnlineSeats: 1}, "format", "online_seats")
	if m := n.letter("ada@example.org", "Sie stehen auf der Warteliste"); !strings.Contains(m.Text, "nur noch online") {
		t.Errorf("she is told %q:\n%s", m.Subject, m.Text)
	}
	if told := n.count(`SELECT count(*) FROM mail`); told != 2 {
		t.Errorf("%d messages, want 2: nobody else is concerned, or may be written to", told)
	}
}

// letter waits for a message whose subject begins so.
func (n *notified) letter(to, subject string) (found smtptest.Message) {
	n.t.Helper()
	eventually(n.t, subject+" reaches "+to, func() bool {
		for _, m := range n.box.Mailbox(to) {
			if strings.HasPrefix(m.Subject, subject) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}
