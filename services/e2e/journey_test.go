package e2e_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// What the journeys of all callers share: a group with its calendar, a referral, and what
// becomes of it.

// circle is a group of a nonprofit that can be published as it is.
func circle(edits ...func(obj)) obj {
	g := obj{
		"title": "After breast cancer", "summary": "For people after breast cancer.", "kind": "PEER_SUPPORT", "facilitation": "PROFESSIONALLY_LED",
		"format": "IN_PERSON", "languages": list{"es", "en"}, "cancerTypes": list{"breast"}, "sideEffects": list{"LYMPHOEDEMA"},
		"venue": obj{
			"kind": "COMMUNITY_CENTRE", "label": "Casa Abierta", "address": obj{"locality": "Houston", "administrativeArea": "TX", "country": "US"},
			"location": obj{"latitude": 29.71, "longitude": -95.30}, "precision": "EXACT",
		},
		"capacity": obj{"seats": 2, "waitlist": true}, "cost": obj{"type": "FREE"}, "guidelines": obj{"text": "What is said here stays here."},
		"timeZone": "America/Chicago",
	}
	for _, edit := range edits {
		edit(g)
	}
	return g
}

func seats(n int) func(obj) {
	return func(g obj) { g["capacity"] = obj{"seats": n, "waitlist": true} }
}

// openGroup creates a group with weekly sessions, the first in two days, and publishes it. It
// returns when the directory knows the calendar.
func (c *caller) openGroup(t *testing.T, edits ...func(obj)) string {
	t.Helper()
	name := c.post(t, "/v1/groups", circle(edits...)).ok(t).text("name")
	c.weekly(t, name)
	c.post(t, "/v1/"+name+":publish", obj{}).ok(t)
	until(t, "the directory knows the sessions", func() *reply { return c.get(t, "/v1/"+name) },
		func(r *reply) bool { return len(r.list("availability.nextSessions")) > 0 })
	return name
}

// weekly plans weekly sessions of a group, the first in two days.
func (c *caller) weekly(t *testing.T, group string) *reply {
	t.Helper()
	return c.post(t, "/v1/series", obj{
		"group": group, "rrule": "FREQ=WEEKLY", "timeZone": "America/Chicago", "duration": "5400s", "format": "IN_PERSON", "place": "Casa Abierta",
		"localStart": c.w.now().UTC().Add(48 * time.Hour).Format("2006-01-02T15:04:05"),
	}).ok(t)
}

// person is a referral of somebody to a group, with a consent that covers all of it.
func (w *world) person(group string, edits ...func(obj)) obj {
	r := obj{
		"author": "Survivorship clinic", "placerNumber": "P-" + uuid.NewString()[:8], "urgency": "ROUTINE", "distress": 5, "requestedGroup": group,
		"subject": obj{
			"givenName": "Rosa", "familyName": "Example", "birthDate": obj{"year": 1971, "month": 5, "day": 2}, "phone": "+17135550142",
			"identifiers":       list{obj{"system": "urn:example:mrn", "value": uuid.NewString()}},
			"contactPreference": "CALL",
		},
		"reasonCodes": list{obj{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "Z85.3"}},
		"needs": obj{
			"cancerTypes": list{"breast"}, "phase": "AFTER_TREATMENT", "role": "SURVIVOR", "sideEffects": list{"LYMPHOEDEMA"}, "languages": list{"es"},
			"location": obj{"latitude": 29.69, "longitude": -95.20}, "country": "US", "travelLimitKm": 40,
		},
		"consent": obj{"share": list{"NAME", "BIRTH_DATE", "CONTACT", "IDENTIFIERS", "CLINICAL"}, "grantTime": w.in(-time.Hour)},
	}
	for _, edit := range edits {
		edit(r)
	}
	return r
}

// refer sends a referral to a group and returns its name.
func (c *caller) refer(t *testing.T, group string, edits ...func(obj)) string {
	t.Helper()
	return c.post(t, "/v1/referrals", c.w.person(group, edits...)).ok(t).text("name")
}

// accept accepts a referral and returns the membership that came of it.
func (c *caller) accept(t *testing.T, referral string) string {
	t.Helper()
	return c.post(t, "/v1/"+referral+":accept", obj{"note": "We will call her."}).ok(t).text("membership")
}

// agree acknowledges the group's first guidelines, as the member app does for her.
func (w *world) agree(t *testing.T, membership string) {
	t.Helper()
	w.app.post(t, "/v1/"+membership+":acknowledgeGuidelines", obj{"version": 1}).ok(t)
}

// becomes waits until the caller reads the referral in the state, and returns it.
func (c *caller) becomes(t *testing.T, referral, state string) *reply {
	t.Helper()
	return until(t, "the referral is "+state, func() *reply { return c.get(t, "/v1/"+referral) },
		func(r *reply) bool { return r.text("state") == state })
}

// attend moves the clock to the session that the referral expects the person at, and records
// whether she came.
func (c *caller) attend(t *testing.T, referral *reply, status string) *reply {
	t.Helper()
	at, err := time.Parse(time.RFC3339, referral.text("firstSessionTime"))
	if err != nil {
		t.Fatal(err)
	}
	c.w.moveTo(t, at.Add(time.Minute))
	return c.post(t, "/v1/"+referral.text("firstSession")+":recordAttendance", obj{
		"entries": list{obj{"membership": referral.text("membership"), "status": status}}, "markHeld": true,
	}).ok(t)
}

// timeline returns what was done to a referral, such as "SEND ACCEPT SCHEDULE".
func (c *caller) timeline(t *testing.T, referral string) string {
	t.Helper()
	var actions []string
	for _, e := range c.get(t, "/v1/"+referral+"/events?pageSize=200").ok(t).list("referralEvents") {
		actions = append(actions, text(dig(e, "action")))
	}
	return strings.Join(actions, " ")
}

// q escapes a filter for a URL.
func q(filter string) string { return url.QueryEscape(filter) }
