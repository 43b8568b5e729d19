package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

// heading is that of a nonprofit's spreadsheet.
const heading = "id;title;summary;languages;led by;format;cancer types;seats;waitlist;guidelines;venue;city;state;country;lat;lng;time zone;days;start;end\n"

// row is a group of the spreadsheet.
func row(id, title, seats string) string {
	return id + ";" + title + ";Para hablar después del cáncer de mama.;es;PEER_LED;IN_PERSON;breast;" + seats + ";yes;Lo que se dice aquí se queda aquí.;Casa Abierta;Houston;TX;US;29.70;-95.30;America/Chicago;Tuesday;19:00;20:30\n"
}

// TestFeedReachesEverybody follows a group from a nonprofit's spreadsheet to those who find it, attend it and list it, through
// changes, until the spreadsheet does not have it any more, and back.
func TestFeedReachesEverybody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nonprofit := w.nonprofit(t, "Puentes")
	feed := nonprofit.post(t, "/v1/feeds", obj{"format": "csv", "language": "es", "maxRemovedPercent": 100}).ok(t).text("name")
	token := w.listed(t)

	if run := nonprofit.take(t, feed, heading+row("a", "Círculo del martes", "1")+row("b", "Círculo del jueves", "many")); run.text("counts.created") != "1" || run.text("counts.rejected") != "1" {
		t.Fatalf("taken: %s", run.body)
	}
	group := nonprofit.get(t, "/v1/groups").ok(t).text("groups.0.name")
	planned := func(r *reply) bool { return len(r.list("availability.nextSessions")) > 0 }
	seen := until(t, "scheduling plans what the listing says, and tells the directory", func() *reply { return w.send(t, http.MethodGet, "/v1/"+group, nil) }, planned)
	if seen.text("state") != "PUBLISHED" || seen.text("availability.openSeats") != "1" {
		t.Errorf("the group: %s", seen.body)
	}
	for path, want := range map[string]string{
		"/v1/groups:search?query=circulo%20martes":         group,
		"/v1/directory:changes?syncToken=" + q(token):      group,
		"/hsds/v3/services?per_page=50":                    "Círculo del martes",
		"/feeds/meetings.json":                             "Círculo del martes",
		"/feeds/groups.csv":                                "Círculo del martes",
		"/calendars/" + group + ".ics":                     "DTSTART;TZID=America/Chicago:",
		"/v1/directory:lossReport?format=csv&pageSize=100": "",
	} {
		if r := w.send(t, http.MethodGet, path, nil).ok(t); !strings.Contains(string(r.body), want) {
			t.Errorf("%s does not tell %q: %s", path, want, r.body)
		}
	}

	join := func(alias string) string {
		member := nonprofit.post(t, "/v1/members", obj{
			"alias": alias, "role": "SURVIVOR", "languages": list{"es"}, "consents": list{obj{"kind": "KEEP_DATA", "version": "1"}},
		}).ok(t).text("name")
		membership := nonprofit.post(t, "/v1/memberships", obj{"group": group, "member": member}).ok(t).text("name")
		nonprofit.post(t, "/v1/"+membership+":approve", obj{}).ok(t)
		return membership
	}
	join("Golondrina")
	second := join("Colibrí")
	if r := nonprofit.get(t, "/v1/"+second).ok(t); r.text("state") != "WAITLISTED" {
		t.Errorf("the second of one seat is %s", r.text("state"))
	}
	nonprofit.take(t, feed, heading+row("a", "Círculo del martes", "2"))
	until(t, "the spreadsheet's second seat goes to her who waits", func() *reply { return nonprofit.get(t, "/v1/"+second) },
		func(r *reply) bool { return r.text("state") == "OFFERED" })

	token = w.listed(t)
	if run := nonprofit.take(t, feed, heading); run.text("counts.removed") != "1" {
		t.Errorf("removed: %s", run.body)
	}
	w.send(t, http.MethodGet, "/v1/"+group, nil).want(t, http.StatusNotFound, "NOT_FOUND")
	if r := w.send(t, http.MethodGet, "/v1/groups:search?query=circulo%20martes", nil).ok(t); len(r.list("results")) != 0 {
		t.Errorf("removed, it is still found: %s", r.body)
	}
	if r := w.send(t, http.MethodGet, "/v1/directory:changes?syncToken="+q(token), nil).ok(t); r.text("changes.0.removal.group") != group {
		t.Errorf("no word of the removal: %s", r.body)
	}
	sessions := "/v1/sessions?filter=" + q(`group = "`+group+`" AND state = SCHEDULED`)
	until(t, "its sessions are cancelled", func() *reply { return nonprofit.get(t, sessions) }, func(r *reply) bool { return len(r.list("sessions")) == 0 })

	if run := nonprofit.take(t, feed, heading+row("a", "Círculo del martes", "2")); run.text("counts.updated") != "1" {
		t.Errorf("back: %s", run.body)
	}
	until(t, "its sessions are back", func() *reply { return w.send(t, http.MethodGet, "/v1/"+group, nil) }, planned)
}

// listed lists the directory and returns the token with which to learn what changes from then on.
func (w *world) listed(t *testing.T) string {
	t.Helper()
	for token := ""; ; {
		r := w.send(t, http.MethodGet, "/v1/directory:changes?pageSize=1000&syncToken="+q(token), nil).ok(t)
		if token = r.text("nextSyncToken"); r.at("hasMore") != true {
			return token
		}
	}
}
