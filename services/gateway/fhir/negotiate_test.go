package fhir_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/internal/suitetest"
)

// TestFace runs what concerns every type in one Cairn, each with organizations of its own.
func TestFace(t *testing.T) {
	t.Parallel()
	s := setup(t, directoryOf()...)
	for name, run := range map[string]func(*testing.T, *site){
		"content types": testContentTypes, "unknown paths": testUnknown, "tokens": testTokens, "conditional reads": testConditionalReads, "bodies": testBodies,
		"organizations": testOrganizations, "metadata": testMetadata,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := *s
			own.t = t
			run(t, &own)
		})
	}
}

func testContentTypes(t *testing.T, s *site) {
	org := s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Together"})
	at, bearer := "/Organization/"+org, token("organizations/"+org, "", "system/*.rs")
	for _, tt := range []struct {
		path, accept string
		code         int
		contentType  string
	}{
		{at, "", 200, "application/fhir+json"},
		{at, "application/fhir+json", 200, "application/fhir+json"},
		{at, "application/fhir+json; fhirVersion=4.0", 200, "application/fhir+json"},
		{at, "application/fhir+json; fhirVersion=5.0", 406, "application/fhir+json"},
		{at, "application/json", 200, "application/json"},
		{at, "application/json, application/fhir+json", 200, "application/json"},
		{at, "application/xml;q=1, application/fhir+json;q=0.5", 200, "application/fhir+json"},
		{at, "*/*", 200, "application/fhir+json"},
		{at, "application/fhir+xml", 406, "application/fhir+json"},
		{at, "text/html", 406, "application/fhir+json"},
		{at + "?_format=json", "application/fhir+xml", 200, "application/fhir+json"},
		{at + "?_format=application/fhir+json", "", 200, "application/fhir+json"},
		{at + "?_format=xml", "", 406, "application/fhir+json"},
		{"/metadata?_format=xml", "", 406, "application/fhir+json"},
	} {
		headers := []string{}
		if tt.accept != "" {
			headers = []string{"Accept", tt.accept}
		}
		r := s.get(tt.path, bearer, headers...)
		if r.StatusCode != tt.code || r.Header.Get("Content-Type") != tt.contentType {
			t.Errorf("%s with Accept %q: %d %s, want %d %s", tt.path, tt.accept, r.StatusCode, r.Header.Get("Content-Type"), tt.code, tt.contentType)
		}
		if tt.code == 406 && r.json["resourceType"] != "OperationOutcome" {
			t.Errorf("%s: a refusal that is no OperationOutcome: %s", tt.path, r.body)
		}
	}
	if r := s.get(at+"?_pretty=true", bearer).want(t, 200); !strings.Contains(string(r.body), "\n  \"") {
		t.Errorf("_pretty: %s", r.body)
	}
	const bundle = `{"resourceType":"Bundle","type":"batch"}`
	for contentType, want := range map[string]int{
		"application/fhir+json": 200, "application/json": 200, "application/fhir+json; charset=utf-8": 200,
		"application/fhir+xml": 415, "text/plain": 415, "application/fhir+json; charset=latin1": 415, "application/fhir+json; fhirVersion=3.0": 415,
	} {
		s.do(http.MethodPost, "", bearer, bundle, "Content-Type", contentType).want(t, want)
	}
	s.do(http.MethodPost, "", bearer, bundle, "Content-Encoding", "gzip").want(t, 415)
	s.do(http.MethodPost, "", "", bundle).want(t, 401)
}

func testUnknown(t *testing.T, s *site) {
	for _, tt := range []struct {
		method, path string
		code         int
		allow        string
	}{
		{http.MethodGet, "/Claim", 404, ""},
		{http.MethodGet, "/Organization/1/2/3", 404, ""},
		{http.MethodGet, "/Organization/$everything", 404, ""},
		{http.MethodGet, "/$export", 404, ""},
		{http.MethodGet, "", 405, "POST"},
		{http.MethodPost, "/Organization", 405, "GET"},
		{http.MethodPut, "/Organization/1", 405, "GET"},
		{http.MethodPatch, "/Organization/1", 405, "GET"},
		{http.MethodDelete, "/Organization/1", 405, "GET"},
		{http.MethodGet, "/Organization/_search", 405, "POST"},
		{http.MethodGet, "/Organization/1/_history", 405, ""},
		{http.MethodPost, "/metadata", 405, "GET"},
		{http.MethodGet, "/Organization/" + strings.Repeat("a", 100), 404, ""},
	} {
		r := s.do(tt.method, tt.path, "", "{}")
		if r.StatusCode != tt.code || r.Header.Get("Allow") != tt.allow || r.json["resourceType"] != "OperationOutcome" {
			t.Errorf("%s %s: %d Allow %q, want %d %q: %s", tt.method, tt.path, r.StatusCode, r.Header.Get("Allow"), tt.code, tt.allow, r.body)
		}
	}
	if r := s.do(http.MethodHead, "/metadata", "", ""); r.StatusCode != 200 || len(r.body) != 0 {
		t.Errorf("HEAD: %d %s", r.StatusCode, r.body)
	}
}

func testTokens(t *testing.T, s *site) {
	org := s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_HOSPITAL, DisplayName: "Hospital"})
	at := "/Organization/" + org // has no public groups: only who has a scope sees it
	for scopes, want := range map[string]int{
		"system/Organization.r": 200, "system/Organization.rs": 200, "system/*.cruds": 200, "system/*.rs system/Task.c": 200,
		"system/Organization.s": 404, "system/Task.r": 404, "user/Organization.r": 404, "partners.read": 404, "system/Organization": 404, "": 404,
	} {
		r := s.get(at, token("organizations/"+org, "", scopes))
		if r.StatusCode != want {
			t.Errorf("read with %q: %d, want %d: %s", scopes, r.StatusCode, want, r.body)
		}
	}
	if r := s.get(at, "rubbish").want(t, http.StatusUnauthorized); !strings.Contains(r.Header.Get("WWW-Authenticate"), "invalid_token") {
		t.Errorf("a token that cannot be read: %v", r.Header)
	}
	r := s.do(http.MethodGet, at, "", "", "Authorization", "Basic abc").want(t, http.StatusUnauthorized)
	if r.Header.Get("WWW-Authenticate") == "" || r.json["resourceType"] != "OperationOutcome" {
		t.Errorf("401: %v %s", r.Header, r.body)
	}
}

func testConditionalReads(t *testing.T, s *site) {
	org := s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_HOSPITAL, DisplayName: "Hospital"})
	bearer := token("organizations/"+org, "", "system/*.rs")
	at := "/Organization/" + org
	first := s.get(at, bearer).want(t, 200)
	modified, err := http.ParseTime(first.Header.Get("Last-Modified"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		header, value string
		want          int
	}{
		{"If-None-Match", `W/"1"`, 304}, {"If-None-Match", `"1"`, 304}, {"If-None-Match", `W/"7", W/"1"`, 304}, {"If-None-Match", "*", 304}, {"If-None-Match", `W/"2"`, 200},
		{"If-Modified-Since", modified.Format(http.TimeFormat), 304}, {"If-Modified-Since", modified.Add(-time.Second).Format(http.TimeFormat), 200}, {"If-Modified-Since", "yesterday", 200},
	} {
		if r := s.get(at, bearer, tt.header, tt.value); r.StatusCode != tt.want {
			t.Errorf("%s: %s gets %d, want %d", tt.header, tt.value, r.StatusCode, tt.want)
		}
	}
	if _, err := partnersv1.NewPartnersServiceClient(s.Conn("partners")).UpdateOrganization(suitetest.Platform(t.Context(), "partners.write"),
		&partnersv1.UpdateOrganizationRequest{Organization: &partnersv1.Organization{Name: "organizations/" + org, DisplayName: "Hospital of the town"}}); err != nil {
		t.Fatal(err)
	}
	if r := s.get(at, bearer, "If-None-Match", `W/"1"`).want(t, 200); r.Header.Get("ETag") != `W/"2"` {
		t.Errorf("ETag after a change: %s", r.Header.Get("ETag"))
	}
}

// testBodies sends bodies that are none.
func testBodies(t *testing.T, s *site) {
	bearer := token("organizations/"+uuid.NewString(), "", "system/*.rs")
	for name, tt := range map[string]struct {
		body  string
		code  int
		issue string
	}{
		"nothing":           {"", 400, "structure: the text ends before the JSON does"},
		"no JSON":           {"<Bundle/>", 400, "structure: no JSON"},
		"another type":      {`{"resourceType":"Task"}`, 400, "value"},
		"a collection":      {`{"resourceType":"Bundle","type":"collection"}`, 422, "value Bundle.type"},
		"twice the same":    {`{"resourceType":"Bundle","type":"batch","type":"batch"}`, 400, "structure Bundle.type: is there twice"},
		"an unknown member": {`{"resourceType":"Bundle","type":"batch","colour":1}`, 400, "structure Bundle.colour"},
		"a modifier":        {`{"resourceType":"Bundle","type":"transaction","entry":[{"modifierExtension":[{"url":"http://x.test","valueString":"y"}]}]}`, 422, "not-supported Bundle.entry[0].modifierExtension"},
		"U+0000":            {`{"resourceType":"Bundle","type":"batch","id":"\u0000"}`, 400, "structure: the body contains the character U+0000"},
		"no UTF-8":          {"{\"resourceType\":\"Bundle\xff\"}", 400, "structure: the text is not UTF-8"},
		"too many values":   {`{"resourceType":"Bundle","type":"batch","entry":[` + strings.Repeat(`{},`, 20_001) + `{}]}`, 413, "too-costly"},
		"too large":         {`{"resourceType":"Bundle","type":"batch","id":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "too-long"},
		"too deep":          {`{"resourceType":"Bundle","type":"batch","entry":` + strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100) + `}`, 400, "structure"},
	} {
		r := s.do(http.MethodPost, "", bearer, tt.body, "Content-Type", "application/fhir+json")
		if r.StatusCode != tt.code || len(r.issues()) == 0 || !strings.HasPrefix(r.issues()[0], tt.issue) {
			t.Errorf("%s: %d %v, want %d %q", name, r.StatusCode, r.issues(), tt.code, tt.issue)
		}
	}
}
