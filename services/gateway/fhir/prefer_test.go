package fhir_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// testWrites changes patients, as the headers of a write say.
func testWrites(t *testing.T, c *care) {
	person := c.person()
	made := c.do(http.MethodPost, "/Patient", c.refers, text(t, person)).want(t, http.StatusCreated)
	id, _ := made.json["id"].(string)
	at := "/Patient/" + id
	for header, want := range map[string]string{"ETag": `W/"1"`, "Location": c.url + at, "Content-Location": c.url + at, "Cache-Control": "no-store"} {
		if got := made.Header.Get(header); got != want {
			t.Errorf("%s of what was created: %q, want %q", header, got, want)
		}
	}
	if made.Header.Get("Last-Modified") == "" {
		t.Error("what was created does not say when")
	}
	for prefer, want := range map[string]string{"return=minimal": "", "return=OperationOutcome": "OperationOutcome", "return=representation": "Patient", "respond-async": "Patient"} {
		r := c.do(http.MethodPost, "/Patient", c.refers, text(t, c.person()), "Prefer", prefer).want(t, http.StatusCreated)
		got, _ := r.json["resourceType"].(string)
		if got != want || r.Header.Get("Location") == "" {
			t.Errorf("Prefer: %s is answered with %q, want %q", prefer, got, want)
		}
	}

	person = made.json
	person["gender"] = "unknown"
	put := func(path, body string, headers ...string) *reply {
		return c.do(http.MethodPut, path, c.refers, body, headers...)
	}
	put(at, text(t, person), "If-Match", `W/"7"`).want(t, http.StatusPreconditionFailed)
	put(at, text(t, person), "If-Match", `W/"1`+strings.Repeat("1", 80)+`"`).want(t, http.StatusBadRequest)
	put(at, text(t, person), "If-Match", "").want(t, http.StatusBadRequest)
	changed := put(at, text(t, person), "If-Match", `W/"1"`).want(t, http.StatusOK)
	if changed.Header.Get("ETag") != `W/"2"` || changed.json["gender"] != "unknown" {
		t.Errorf("PUT: %v %s", changed.Header, changed.body)
	}
	put(at, text(t, person)).want(t, http.StatusOK) // without If-Match the last one wins
	put("/Patient/another", text(t, person)).want(t, http.StatusBadRequest)
	put(at, `{"resourceType":"Task","id":"`+id+`"}`).want(t, http.StatusBadRequest)
	person["photo"] = list{obj{"url": "https://x.test/photo"}}
	if r := put(at, text(t, person)); r.StatusCode != http.StatusUnprocessableEntity || !strings.HasPrefix(r.issues()[0], "not-supported Patient.photo") {
		t.Errorf("content that nobody understands: %d %v", r.StatusCode, r.issues())
	}
	delete(person, "photo")
	if r := c.do(http.MethodPost, "/Patient", c.refers, text(t, person)); r.StatusCode != http.StatusConflict || !strings.Contains(r.issues()[0], "If-None-Exist") {
		t.Errorf("a person who is there: %d %v", r.StatusCode, r.issues())
	}
	if r := c.do(http.MethodPost, "/Consent", c.refers, text(t, c.agreed())); r.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(r.issues()[0], "contained in its ServiceRequest") {
		t.Errorf("a Consent by itself: %d %v", r.StatusCode, r.issues())
	}
	key := "0192d7a5-0000-7000-8000-0000000000aa"
	body := text(t, c.person())
	one := c.do(http.MethodPost, "/Patient", c.refers, body, "Idempotency-Key", key).want(t, http.StatusCreated)
	two := c.do(http.MethodPost, "/Patient", c.refers, body, "Idempotency-Key", key).want(t, http.StatusCreated)
	if one.json["id"] != two.json["id"] {
		t.Error("the same Idempotency-Key makes two patients")
	}

	reader := token("organizations/"+c.hospital, "SDOHCC", "system/Patient.rs")
	if r := c.do(http.MethodPut, at, reader, text(t, made.json)).want(t, http.StatusForbidden); !strings.Contains(r.issues()[0], "system/Patient.u") {
		t.Errorf("a scope that is not there: %v", r.issues())
	}
	c.get(at, "").want(t, http.StatusUnauthorized)
	c.get(at, c.receives).want(t, http.StatusNotFound) // nobody else's business
}

// testPersonalSearch holds what a search of a person leaves behind: no link tells who she is.
func testPersonalSearch(t *testing.T, c *care) {
	person := c.person()
	number, _ := at(person, "identifier.0.value").(string)
	c.post(c.refers, person)
	for _, r := range []*reply{
		c.get("/Patient?identifier="+url.QueryEscape("urn:example:mrn|"+number), c.refers),
		c.do(http.MethodPost, "/Patient/_search", c.refers, "identifier=urn:example:mrn|"+number, "Content-Type", "application/x-www-form-urlencoded"),
	} {
		r.want(t, http.StatusOK)
		self := r.link("self")
		if len(r.ids()) != 1 || strings.Contains(self, number) {
			t.Errorf("finds %v, with the link %s", r.ids(), self)
		}
		if again := c.get(self, c.refers).want(t, http.StatusOK); len(again.ids()) != 1 {
			t.Errorf("the link of a search finds %v", again.ids())
		}
		c.get(self, c.receives).want(t, http.StatusGone)
	}
	tooLong := "identifier=urn:example:mrn|" + strings.Repeat("9", 4000)
	c.do(http.MethodPost, "/Patient/_search", c.refers, tooLong, "Content-Type", "application/x-www-form-urlencoded").want(t, http.StatusBadRequest)
}
