package fhir_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestScopes runs what concerns scopes beside that of the type that is called in one Cairn, each with organizations of its own.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := setupCare(t).site
	for name, run := range map[string]func(*testing.T, *care){"chains": testChains} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newCare(t, s))
		})
	}
}

// holds is a token of the hospital's with scopes of these types: "Task.rs Patient.s".
func (c *care) holds(scopes string) string {
	var all []string
	for s := range strings.FieldsSeq(scopes) {
		all = append(all, "system/"+s)
	}
	return token("organizations/"+c.hospital, "SDOHCC", strings.Join(all, " "))
}

// A chain tells what there is of the types that it goes through: it needs the scopes to search them.
func testChains(t *testing.T, c *care) {
	sent := c.request("active")
	number := url.QueryEscape(fmt.Sprint("urn:example:mrn|", at(sent, "contained.0.identifier.0.value")))
	id := c.post(c.refers, sent)["id"]
	for path, needs := range map[string]string{
		"ServiceRequest?patient.identifier=" + number:                "ServiceRequest.rs Patient.s",
		"ServiceRequest?subject:Patient.identifier=" + number:        "ServiceRequest.rs Patient.s",
		"Task?patient.identifier=" + number:                          "Task.rs Patient.s",
		"Task?focus.subject=" + c.patientOf(id):                      "Task.rs ServiceRequest.s",
		"Task?focus:ServiceRequest.subject.identifier=" + number:     "Task.rs ServiceRequest.s Patient.s",
		"Consent?patient.identifier=" + number:                       "Consent.rs Patient.s",
		"ServiceRequest?_summary=count&patient.identifier=" + number: "ServiceRequest.rs Patient.s",
	} {
		all := strings.Fields(needs)
		kind, query, _ := strings.Cut(path, "?")
		c.get("/"+path, c.holds(needs)).want(t, http.StatusOK)
		for without := 1; without < len(all); without++ {
			lesser := c.holds(strings.Join(append(append([]string{}, all[:without]...), all[without+1:]...), " "))
			c.get("/"+path, lesser).want(t, http.StatusForbidden)
			c.get("/"+path, lesser, "Prefer", "handling=lenient").want(t, http.StatusForbidden)
			c.do(http.MethodPost, "/"+kind+"/_search", lesser, query, "Content-Type", "application/x-www-form-urlencoded").want(t, http.StatusForbidden)
			if got := statuses(c.send(lesser, bundle("batch", does("GET", path, nil))).want(t, http.StatusOK)); got != "403" {
				t.Errorf("%s in a batch with %s: %s", path, lesser, got)
			}
			c.send(lesser, bundle("transaction", does("GET", path, nil))).want(t, http.StatusForbidden)
		}
	}
	// In a conditional reference, too.
	again := c.request("active")
	again["replaces"] = list{obj{"reference": "ServiceRequest?patient.identifier=" + number}}
	c.send(c.holds("ServiceRequest.crus Patient.c Consent.c"), bundle("transaction", does("POST", "ServiceRequest", again))).want(t, http.StatusForbidden)
}

// patientOf returns the id of whom a referral is about.
func (c *care) patientOf(referral any) string {
	c.t.Helper()
	ref := fmt.Sprint(at(c.get(fmt.Sprint("/ServiceRequest/", referral), c.refers).want(c.t, http.StatusOK).json, "subject.reference"))
	return strings.TrimPrefix(ref, "Patient/")
}
