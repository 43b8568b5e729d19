package fhir_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestScopes runs what concerns scopes beside that of the type that is called in one Cairn, each with organizations of its own.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := setupCare(t).site
	for name, run := range map[string]func(*testing.T, *care){"chains": testChains, "what comes with a referral": testBrought, "known people": testKnownPeople} {
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

// What comes with a referral needs the scopes of what is created by it.
func testBrought(t *testing.T, c *care) {
	for scopes, code := range map[string]int{
		"ServiceRequest.cru":                       http.StatusForbidden,
		"ServiceRequest.cru Patient.c":             http.StatusForbidden,
		"ServiceRequest.cru Consent.c Patient.rus": http.StatusForbidden,
		"ServiceRequest.cru Consent.c Patient.c":   http.StatusCreated,
	} {
		c.do(http.MethodPost, "/ServiceRequest", c.holds(scopes), text(t, c.request("active"))).want(t, code)
		parts := c.parts()
		if got := c.send(c.holds(scopes), bundle("transaction", parts[:3]...)).StatusCode; (got == http.StatusOK) != (code == http.StatusCreated) {
			t.Errorf("a transaction with %s: %d", scopes, got)
		}
	}
	draft := c.post(c.refers, c.request("draft"))
	changed := c.request("draft")
	changed["id"] = draft["id"]
	c.put(c.holds("ServiceRequest.ru Patient.c Consent.c"), changed).want(t, http.StatusForbidden)
	c.put(c.holds("ServiceRequest.ru Patient.cu Consent.c"), changed).want(t, http.StatusOK)
}

// A person who is known is referred as her record stands, unless the caller may change it.
func testKnownPeople(t *testing.T, c *care) {
	person := c.person()
	there := c.post(c.refers, person)
	c.Clock.Advance(time.Second) // her record is older than what comes of her
	path := fmt.Sprint("/Patient/", there["id"])
	unchanged := func(what string) {
		t.Helper()
		expect(t, what, c.get(path, c.refers).want(t, http.StatusOK).json, obj{"meta.versionId": "1", "telecom.0.value": "+18165550177"})
	}
	// brought is a person of the same number, with another telephone.
	brought := func(id string) obj {
		other := c.person()
		other["identifier"], other["telecom"] = person["identifier"], list{obj{"system": "phone", "value": "+18165550199"}}
		if id != "" {
			other["id"] = id
		}
		return other
	}
	creator := c.holds("ServiceRequest.crs Task.crs Consent.crs Patient.crs")

	contained := c.request("active")
	contained["contained"].(list)[0] = brought("p") //nolint:forcetypeassert // made so
	expect(t, "contained", c.post(creator, contained), obj{"subject.reference": strings.TrimPrefix(path, "/")})
	unchanged("after a contained Patient")

	parts := c.parts()
	parts[0]["resource"] = brought("")
	if r := c.send(creator, bundle("transaction", parts...)).want(t, http.StatusConflict); !strings.HasPrefix(r.issues()[0], "duplicate") {
		t.Errorf("a known person is created again: %v", r.issues())
	}
	c.do(http.MethodPost, "/Patient", creator, text(t, brought(""))).want(t, http.StatusConflict)

	// The condition finds nobody, but another number is known.
	parts = c.parts()
	another := brought("")
	another["identifier"] = append(list{obj{"system": "urn:example:other", "value": "1"}}, person["identifier"].(list)...) //nolint:forcetypeassert // made so
	parts[0] = does("POST", "Patient", another, obj{"fullUrl": parts[0]["fullUrl"], "ifNoneExist": "identifier=urn:example:other|1"})
	r := c.send(creator, bundle("transaction", parts...)).want(t, http.StatusOK)
	if got := statuses(r); got != "200 201 201 201" {
		t.Errorf("a known person is linked: %s, want 200 for her: %s", got, r.body)
	}
	expect(t, "linked", at(r.json, "entry.2.resource"), obj{"subject.reference": strings.TrimPrefix(path, "/")})
	unchanged("after a transaction")

	contained = c.request("active")
	contained["contained"].(list)[0] = brought("p") //nolint:forcetypeassert // made so
	c.post(c.refers, contained)
	expect(t, "by whom may change her", c.get(path, c.refers).want(t, http.StatusOK).json, obj{"meta.versionId": "2", "telecom.0.value": "+18165550199"})
}
