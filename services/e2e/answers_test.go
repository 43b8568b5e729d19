package e2e_test

import (
	"strings"
	"testing"
	"time"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/internal/suitetest"
)

// TestAnswersCloseTheLoop follows two people who were referred and said that they come: one checks herself in, the other does
// not come. Nobody tells the hospital; both referrals know.
func TestAnswersCloseTheLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nonprofit, hospital := w.nonprofit(t, "Puentes"), w.hospital(t, "St. Anna")
	group := nonprofit.openGroup(t)
	var referrals, memberships []string
	var session string
	for range 2 {
		referral := hospital.refer(t, group)
		membership := nonprofit.accept(t, referral)
		w.agree(t, membership)
		planned := hospital.becomes(t, referral, "SCHEDULED")
		session = planned.text("firstSession")
		referrals, memberships = append(referrals, referral), append(memberships, membership)
		if got := w.app.post(t, "/v1/"+session+":rsvp", obj{"membership": membership, "answer": "YES"}).ok(t).text("state"); got != "CONFIRMED" {
			t.Fatalf("her answer is %s", got)
		}
	}
	start, err := time.Parse(time.RFC3339, w.app.get(t, "/v1/"+session).ok(t).text("startTime"))
	if err != nil {
		t.Fatal(err)
	}
	if got := w.app.get(t, "/v1/"+session).ok(t).text("places.confirmed"); got != "2" {
		t.Errorf("%s are expected, want 2", got)
	}
	w.moveTo(t, start.Add(5*time.Minute))
	member := nonprofit.get(t, "/v1/"+memberships[0]).ok(t).text("member")
	she := suitetest.Member(t.Context(), nonprofit.org, member)
	in, err := schedulingv1.NewRsvpServiceClient(w.Conn("scheduling")).CheckIn(she, &schedulingv1.CheckInRequest{Session: session, Membership: memberships[0]})
	if err != nil || in.GetCheckInTime() == nil {
		t.Fatalf("she checks in: %v, %v", in, err)
	}
	hospital.becomes(t, referrals[0], "ENGAGED")
	recorded := nonprofit.post(t, "/v1/"+session+":recordAttendance", obj{"fromAnswers": true, "markHeld": true}).ok(t)
	if got := recorded.text("attendances.0.name"); len(recorded.list("attendances")) != 1 || !strings.HasSuffix(got, strings.TrimPrefix(memberships[1], "memberships/")) {
		t.Errorf("recorded from the answers: %s", recorded.body)
	}
	hospital.becomes(t, referrals[1], "NO_SHOW")
}
