package fhir_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// The hospital finds in its own records who has seen what it has told; the receiver and strangers find nothing.
func TestAuditEvents(t *testing.T) {
	t.Parallel()
	c := setupCare(t)
	began := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339) // the log has the server's time
	sent := c.post(c.refers, c.request("active"))
	id, _ := at(sent, "id").(string)
	patient, _ := at(sent, "subject.reference").(string)
	c.get("/ServiceRequest/"+id, c.receives, "X-Purpose-Of-Use", "CAREMGT").want(t, http.StatusOK)
	c.get("/Task/"+id, c.refers).want(t, http.StatusOK)

	all := c.get("/AuditEvent?entity=ServiceRequest/"+id, c.refers).want(t, http.StatusOK)
	seen := map[string]string{} // action by organization
	for _, e := range all.resources("match") {
		organization, _ := at(e, "agent.1.who.reference").(string)
		action, _ := at(e, "action").(string)
		seen[organization] += action
		expect(t, "AuditEvent", e, obj{"entity.0.what.reference": "ServiceRequest/" + id, "entity.1.what.reference": patient, "outcome": "0"})
	}
	if got := seen["Organization/"+c.nonprofit]; !strings.Contains(got, "R") || strings.ContainsAny(got, "CUD") {
		t.Errorf("the receiver did %q, want that it read", got)
	}
	if got := seen["Organization/"+c.hospital]; !strings.HasSuffix(got, "C") && !strings.HasSuffix(got, "U") || !strings.Contains(got, "R") {
		t.Errorf("the hospital did %q, the latest first; want that it created, then read", got)
	}
	theirs := c.get("/AuditEvent?entity=Task/"+id+"&agent=Organization/"+c.nonprofit, c.refers).want(t, http.StatusOK)
	if len(theirs.ids()) == 0 || len(theirs.ids()) >= len(all.ids()) {
		t.Errorf("%d of %d are the receiver's", len(theirs.ids()), len(all.ids()))
	}
	for _, path := range []string{
		"?patient=" + patient, "?entity=" + patient, "?date=ge" + began, "?date=ge" + began + "&agent:identifier=apiClients/test", "?_id=" + theirs.ids()[0],
	} {
		if got := c.get("/AuditEvent"+path, c.refers).want(t, http.StatusOK).ids(); !slices.Contains(got, theirs.ids()[0]) {
			t.Errorf("%s: %v, want %s among them", path, got, theirs.ids()[0])
		}
	}
	for _, path := range []string{"?date=lt2020&entity=Task/" + id, "?entity=Task/" + id + "&patient=Patient/" + c.group, "?_id=999999999", "?entity=Task/" + id + "&agent:identifier=nobody"} {
		if got := c.get("/AuditEvent"+path, c.refers).want(t, http.StatusOK).ids(); len(got) > 0 {
			t.Errorf("%s: %v, want nothing", path, got)
		}
	}
	first := c.get("/AuditEvent?_count=1&entity=Task/"+id, c.refers).want(t, http.StatusOK)
	second := c.get(first.link("next"), c.refers).want(t, http.StatusOK)
	if len(first.ids()) != 1 || len(second.ids()) != 1 || first.ids()[0] == second.ids()[0] {
		t.Errorf("pages of one: %v, %v", first.ids(), second.ids())
	}

	c.get("/AuditEvent/"+theirs.ids()[0], c.refers).want(t, http.StatusOK)
	for _, bearer := range []string{c.receives, token("organizations/"+c.group, "SDOHCC", "system/*.cruds")} {
		c.get("/AuditEvent/"+theirs.ids()[0], bearer).want(t, http.StatusNotFound)
		for _, path := range []string{"?entity=ServiceRequest/" + id, "?patient=" + patient, "?date=ge" + began, "?_id=" + theirs.ids()[0]} {
			if got := c.get("/AuditEvent"+path, bearer).want(t, http.StatusOK).ids(); len(got) > 0 {
				t.Errorf("%s by another: %v", path, got)
			}
		}
	}
	for path, want := range map[string]string{
		"":                                     "required",
		"?date=le" + began:                     "required",
		"?date=ge2020&date=le2027":             "too-costly",
		"?_id=1&patient=" + patient:            "not-supported",
		"?entity=Group/" + c.group:             "value",
		"?entity=Task/" + id + "&_sort=entity": "not-supported",
	} {
		if got := c.get("/AuditEvent"+path, c.refers).want(t, http.StatusBadRequest).issues(); !strings.HasPrefix(strings.Join(got, ""), want) {
			t.Errorf("%s: %v, want %s", path, got, want)
		}
	}
	for _, path := range []string{"/AuditEvent/0", "/AuditEvent/x", "/AuditEvent/" + c.group, "/AuditEvent/1234567890123456789"} {
		c.get(path, c.refers).want(t, http.StatusNotFound)
	}
	c.get("/AuditEvent?entity=Task/"+id, token("organizations/"+c.hospital, "SDOHCC", "system/Task.rs")).want(t, http.StatusForbidden)
}
