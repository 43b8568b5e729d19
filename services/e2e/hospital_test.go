package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
)

// TestHospital is what a hospital's EHR does, over REST, from its key to the closed loop; and
// what else can become of its referrals.
func TestHospital(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hospital, nonprofit := w.hospital(t, "Bayou Regional"), w.nonprofit(t, "Puentes")

	t.Run("the loop closes", func(t *testing.T) {
		// It proves who it is with its key and may ask for less than it is registered for.
		token := hospital.ask(t, hospital.assertion(t, nil), "referrals.read referrals.write").ok(t)
		if token.text("token_type") != "bearer" || token.text("expires_in") != "300" || token.text("scope") != "referrals.read referrals.write" {
			t.Errorf("token: %s", token.body)
		}
		if late := hospital.ask(t, hospital.assertion(t, func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(w.now().Add(-time.Second)) }), "referrals.read"); late.status != http.StatusUnauthorized || late.text("error") != "invalid_client" {
			t.Errorf("an assertion that has expired: %d %s", late.status, late.body)
		}
		if more := hospital.ask(t, hospital.assertion(t, nil), "members.read"); more.status != http.StatusBadRequest || more.text("error") != "invalid_scope" {
			t.Errorf("a scope that it does not have: %d %s", more.status, more.body)
		}

		// It asks which groups suit, and learns why.
		group := nonprofit.openGroup(t)
		needs := w.person(group)["needs"]
		found := hospital.post(t, "/v1/referrals:recommend", obj{"needs": needs, "distress": 2}).ok(t)
		if found.text("recommendations.0.group.name") != group || len(found.list("recommendations.0.criteria")) == 0 {
			t.Errorf("recommended: %s", found.body)
		}
		urgent := hospital.post(t, "/v1/referrals:recommend", obj{"needs": needs, "distress": 9}).ok(t)
		if len(urgent.list("crisisResources")) == 0 || len(urgent.list("notes")) == 0 {
			t.Errorf("recommended with distress 9: %s", urgent.body)
		}

		// It sends the referral and finds it among its own.
		referral := hospital.refer(t, group, func(r obj) { r["placerNumber"] = "ORDER-1" })
		sent := hospital.get(t, "/v1/"+referral).ok(t)
		for path, want := range map[string]string{
			"state": "SENT", "taskStatus": "requested", "bserStatus": "received", "bserBusinessStatus": "2.0", "serviceRequestStatus": "active",
			"organization": hospital.org, "ownerOrganization": nonprofit.org, "awaiting": "RECEIVER", "subject.familyName": "Example",
		} {
			if sent.text(path) != want {
				t.Errorf("sent: %s is %q, want %q", path, sent.text(path), want)
			}
		}
		mine := hospital.get(t, "/v1/referrals?filter="+q(`placer_number = "ORDER-1"`)).ok(t)
		if len(mine.list("referrals")) != 1 || mine.text("referrals.0.name") != referral || mine.at("referrals.0.subject") != nil {
			t.Errorf("its list: %s", mine.body)
		}

		// The nonprofit accepts, the member agrees to the guidelines: Cairn tells the hospital when she is expected.
		membership := nonprofit.accept(t, referral)
		if got := hospital.becomes(t, referral, "ACCEPTED"); got.text("taskStatus") != "accepted" || got.text("membership") != membership {
			t.Errorf("accepted: %s", got.body)
		}
		w.agree(t, membership)
		expected := hospital.becomes(t, referral, "SCHEDULED")
		if expected.text("bserBusinessStatus") != "5.1.1" || expected.text("firstSessionTime") == "" {
			t.Errorf("scheduled: %s", expected.body)
		}

		// She comes; the nonprofit reports how it went; the hospital reads it.
		nonprofit.attend(t, expected, "PRESENT")
		hospital.becomes(t, referral, "ENGAGED")
		nonprofit.post(t, "/v1/"+referral+":complete", obj{"outcome": obj{"helped": "YES", "distressAfter": 2, "note": "She made friends."}}).ok(t)
		closed := hospital.get(t, "/v1/"+referral).ok(t)
		for path, want := range map[string]string{
			"state": "COMPLETED", "taskStatus": "completed", "bserBusinessStatus": "7.0", "serviceRequestStatus": "completed",
			"outcome.helped": "YES", "outcome.sessionsAttended": "1", "outcome.distressChange": "-3", "outcome.note": "She made friends.",
		} {
			if closed.text(path) != want {
				t.Errorf("closed: %s is %q, want %q", path, closed.text(path), want)
			}
		}
		if got := hospital.timeline(t, referral); got != "SEND ACCEPT SCHEDULE RECORD_ENGAGEMENT COMPLETE" {
			t.Errorf("timeline: %s", got)
		}
		hospital.post(t, "/v1/"+referral+":cancel", obj{}).want(t, http.StatusBadRequest, "ILLEGAL_TRANSITION")
	})

	t.Run("waitlisted until a seat is free", func(t *testing.T) {
		group := nonprofit.openGroup(t, seats(1))
		first, second := hospital.refer(t, group), hospital.refer(t, group)
		taken := nonprofit.accept(t, first)
		w.agree(t, taken)
		membership := nonprofit.accept(t, second)
		waiting := hospital.becomes(t, second, "WAITLISTED")
		if waiting.text("taskStatus") != "on-hold" || waiting.text("bserBusinessStatus") != "3.0" || waiting.text("stateReason") == "" {
			t.Errorf("waiting: %s", waiting.body)
		}
		nonprofit.post(t, "/v1/"+taken+":end", obj{"reason": "MOVED_ON"}).ok(t)
		nonprofit.post(t, "/v1/"+membership+":acceptOffer", obj{}).ok(t)
		seated := hospital.becomes(t, second, "ACCEPTED")
		if seated.text("taskStatus") != "accepted" {
			t.Errorf("seated: %s", seated.body)
		}
		w.agree(t, membership)
		expected := hospital.becomes(t, second, "SCHEDULED")
		nonprofit.attend(t, expected, "PRESENT")
		hospital.becomes(t, second, "ENGAGED")
		if got := hospital.timeline(t, second); got != "SEND ACCEPT WAITLIST SEAT SCHEDULE RECORD_ENGAGEMENT" {
			t.Errorf("timeline: %s", got)
		}
		until(t, "the hospital learns who left", func() *reply { return hospital.get(t, "/v1/"+first+"/events") },
			func(r *reply) bool { return strings.Contains(string(r.body), `"END_MEMBERSHIP"`) })
	})

	t.Run("declined, then referred elsewhere", func(t *testing.T) {
		here, there := nonprofit.openGroup(t), w.nonprofit(t, "Ola")
		first := hospital.refer(t, here)
		nonprofit.post(t, "/v1/"+first+":reject", obj{"reason": "OUT_OF_AREA", "note": "She lives too far away."}).ok(t)
		declined := hospital.get(t, "/v1/"+first).ok(t)
		if declined.text("state") != "REJECTED" || declined.text("taskStatus") != "rejected" || declined.text("rejectReason") != "OUT_OF_AREA" ||
			!strings.Contains(declined.text("stateReason"), "too far") || declined.text("serviceRequestStatus") != "active" {
			t.Errorf("declined: %s", declined.body)
		}
		if seen := nonprofit.get(t, "/v1/"+first).ok(t); seen.at("subject") != nil {
			t.Errorf("who declined still sees her: %s", seen.body)
		}
		nonprofit.post(t, "/v1/"+first+":accept", obj{}).want(t, http.StatusBadRequest, "ILLEGAL_TRANSITION")
		again := hospital.refer(t, there.openGroup(t))
		w.agree(t, there.accept(t, again))
		hospital.becomes(t, again, "SCHEDULED")
		nonprofit.get(t, "/v1/"+again).want(t, http.StatusNotFound, "NOT_FOUND")
	})

	t.Run("withdrawn before acceptance", func(t *testing.T) {
		referral := hospital.refer(t, nonprofit.openGroup(t))
		gone := hospital.post(t, "/v1/"+referral+":cancel", obj{"note": "She moved away."}).ok(t)
		if gone.text("state") != "CANCELLED" || gone.text("serviceRequestStatus") != "revoked" {
			t.Errorf("withdrawn: %s", gone.body)
		}
		nonprofit.post(t, "/v1/"+referral+":accept", obj{}).want(t, http.StatusBadRequest, "ILLEGAL_TRANSITION")
	})

	t.Run("withdrawn after acceptance", func(t *testing.T) {
		group := nonprofit.openGroup(t, seats(1))
		referral := hospital.refer(t, group)
		membership := nonprofit.accept(t, referral)
		asked := hospital.post(t, "/v1/"+referral+":cancel", obj{"note": "She wants to stop."}).ok(t)
		if asked.text("state") != "CANCEL_REQUESTED" || asked.text("bserBusinessStatus") != "5.2" || asked.text("awaiting") != "RECEIVER" {
			t.Errorf("asked: %s", asked.body)
		}
		hospital.post(t, "/v1/"+referral+":confirmCancel", obj{}).want(t, http.StatusForbidden, "WRONG_PARTY")
		done := nonprofit.post(t, "/v1/"+referral+":confirmCancel", obj{}).ok(t)
		if done.text("state") != "CANCELLED" {
			t.Errorf("confirmed: %s", done.body)
		}
		until(t, "the seat is given back", func() *reply { return nonprofit.get(t, "/v1/"+membership) },
			func(r *reply) bool { return r.text("state") == "ENDED" && r.text("endReason") == "REFERRAL_RELEASED" })
		until(t, "the directory shows the seat", func() *reply { return hospital.get(t, "/v1/"+group) },
			func(r *reply) bool { return r.text("availability.openSeats") == "1" })
	})

	t.Run("an outcome goes before a wish to stop", func(t *testing.T) {
		referral := hospital.refer(t, nonprofit.openGroup(t))
		nonprofit.accept(t, referral)
		hospital.post(t, "/v1/"+referral+":cancel", obj{}).ok(t)
		if done := nonprofit.post(t, "/v1/"+referral+":complete", obj{"outcome": obj{"helped": "PARTLY"}}).ok(t); done.text("state") != "COMPLETED" {
			t.Errorf("completed: %s", done.body)
		}
	})

	t.Run("she does not come, then she does", func(t *testing.T) {
		referral := hospital.refer(t, nonprofit.openGroup(t))
		w.agree(t, nonprofit.accept(t, referral))
		expected := hospital.becomes(t, referral, "SCHEDULED")
		nonprofit.attend(t, expected, "ABSENT")
		if missed := hospital.becomes(t, referral, "NO_SHOW"); missed.text("bserBusinessStatus") != "5.1.2" || missed.text("sessionsAttended") != "0" {
			t.Errorf("missed: %s", missed.body)
		}
		next := nonprofit.get(t, "/v1/sessions?pageSize=1&filter="+q(`group = "`+expected.text("group")+`" AND start_time > "`+w.in(0)+`"`)).ok(t)
		again := nonprofit.post(t, "/v1/"+referral+":schedule", obj{"session": next.text("sessions.0.name")}).ok(t)
		if again.text("state") != "SCHEDULED" || again.text("firstSessionTime") != next.text("sessions.0.startTime") {
			t.Errorf("expected again: %s", again.body)
		}
		nonprofit.attend(t, again, "PRESENT")
		if came := hospital.becomes(t, referral, "ENGAGED"); came.text("sessionsAttended") != "1" {
			t.Errorf("came: %s", came.body)
		}
		if got := hospital.timeline(t, referral); got != "SEND ACCEPT SCHEDULE RECORD_NO_SHOW SCHEDULE RECORD_ENGAGEMENT" {
			t.Errorf("timeline: %s", got)
		}
	})

	t.Run("the session is cancelled, the next one counts", func(t *testing.T) {
		referral := hospital.refer(t, nonprofit.openGroup(t))
		w.agree(t, nonprofit.accept(t, referral))
		expected := hospital.becomes(t, referral, "SCHEDULED")
		nonprofit.post(t, "/v1/"+expected.text("firstSession")+":cancel", obj{"reason": "The hall is flooded."}).ok(t)
		next := until(t, "she is expected at the next session", func() *reply { return hospital.get(t, "/v1/"+referral) },
			func(r *reply) bool {
				return r.text("state") == "SCHEDULED" && r.text("firstSession") != expected.text("firstSession")
			})
		if next.text("firstSessionTime") <= expected.text("firstSessionTime") {
			t.Errorf("expected on %s, before on %s", next.text("firstSessionTime"), expected.text("firstSessionTime"))
		}
		nonprofit.attend(t, next, "PRESENT")
		hospital.becomes(t, referral, "ENGAGED")
		if got := hospital.timeline(t, referral); got != "SEND ACCEPT SCHEDULE RECORD_SESSION_CANCELLATION SCHEDULE RECORD_ENGAGEMENT" {
			t.Errorf("timeline: %s", got)
		}
	})

	t.Run("nobody answers before the deadline", func(t *testing.T) {
		referral := hospital.refer(t, nonprofit.openGroup(t), func(r obj) { r["deadline"] = w.in(time.Hour) })
		w.moveTo(t, w.now().Add(61*time.Minute))
		failed := hospital.becomes(t, referral, "FAILED")
		if failed.text("taskStatus") != "failed" || failed.text("stateReason") == "" {
			t.Errorf("failed: %s", failed.body)
		}
	})
}
