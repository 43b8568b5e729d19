package fhir_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/internal/suitetest"
)

func (s *site) organization(o *partnersv1.Organization) string {
	s.t.Helper()
	out, err := partnersv1.NewPartnersServiceClient(s.Conn("partners")).CreateOrganization(suitetest.Platform(s.t.Context(), "partners.write"),
		&partnersv1.CreateOrganizationRequest{Organization: o})
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimPrefix(out.GetName(), "organizations/")
}

func testOrganizations(t *testing.T, s *site) {
	umbrella := s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_UMBRELLA, DisplayName: "Alliance"})
	hospital := s.organization(&partnersv1.Organization{Kind: partnersv1.Organization_HOSPITAL, DisplayName: "Santa Ana Hospital", Parent: "organizations/" + umbrella,
		Contact: &partnersv1.Organization_Contact{Email: "desk@hospital.test", Phone: "+34 91 555 01 00", Website: "https://hospital.test",
			Address: &typev1.PostalAddress{AddressLines: []string{"Calle 1"}, Locality: "Madrid", PostalCode: "28001", Country: "ES"}}})
	bearer := token("organizations/"+hospital, "", "system/Organization.rs")

	got := s.get("/Organization/"+hospital, bearer).want(t, http.StatusOK)
	if got.json["name"] != "Santa Ana Hospital" || got.Header.Get("ETag") != `W/"1"` || got.Header.Get("Last-Modified") == "" {
		t.Errorf("read: %v %s", got.Header, got.body)
	}
	s.get("/Organization/"+hospital, bearer, "If-None-Match", `W/"1"`).want(t, http.StatusNotModified)
	s.get("/Organization/"+hospital, "").want(t, http.StatusNotFound) // has no public groups
	s.get("/Organization/none", bearer).want(t, http.StatusNotFound)

	for query, want := range map[string][]string{
		"":                                  {umbrella, hospital},
		"?name=santa":                       {hospital},
		"?name=ana":                         {},
		"?name=sánta":                       {hospital},
		"?name:contains=ANA":                {hospital},
		"?name:exact=santa":                 {},
		"?_id=" + umbrella:                  {umbrella},
		"?_id=" + umbrella + "," + hospital: {umbrella, hospital},
		"?type=hospital,nonprofit":          {hospital},
		"?partof=Organization/" + umbrella:  {hospital},
		"?active=false":                     {},
		"?_lastUpdated=lt2000":              {},
		"?_lastUpdated=ge2000&name=alliance&_count=1": {umbrella},
	} {
		r := s.get("/Organization"+query, bearer).want(t, http.StatusOK)
		ids := r.ids()
		ids = slices.DeleteFunc(ids, func(id string) bool { return id != umbrella && id != hospital })
		if !slices.Equal(ids, want) {
			t.Errorf("%s finds %v, want %v", query, ids, want)
		}
	}
	for query, want := range map[string]float64{"?name=santa&_summary=count": 1, "?name=nobody&_count=0": 0, "?type=http://terminology.hl7.org/CodeSystem/organization-type%7Cprov&name=santa&_total=accurate": 1} {
		if r := s.get("/Organization"+query, bearer).want(t, http.StatusOK); r.json["total"] != want {
			t.Errorf("%s: total %v, want %v", query, r.json["total"], want)
		}
	}
	if ids := s.get("/Organization?_sort=-name", bearer).want(t, http.StatusOK).ids(); slices.Index(ids, hospital) > slices.Index(ids, umbrella) {
		t.Errorf("_sort=-name: %v", ids)
	}
	if ids := s.get("/Organization", "").want(t, http.StatusOK).ids(); len(ids) != 0 {
		t.Errorf("organizations without public groups are shown to anybody: %v", ids)
	}
	with := s.get("/Organization?name=santa&_include=Organization:partof", bearer).want(t, http.StatusOK)
	if in := with.resources("include"); len(in) != 1 || in[0]["id"] != umbrella {
		t.Errorf("_include: %s", with.body)
	}
}

func testMetadata(t *testing.T, s *site) {
	got := s.get("/metadata", "").want(t, http.StatusOK)
	if got.json["fhirVersion"] != "4.0.1" || got.Header.Get("Content-Type") != "application/fhir+json" {
		t.Errorf("metadata: %v %s", got.Header, got.body)
	}
	s.get("/metadata", "", "If-None-Match", got.Header.Get("ETag")).want(t, http.StatusNotModified)
	if got := s.get("/.well-known/smart-configuration", "").want(t, http.StatusOK); !strings.HasSuffix(got.json["token_endpoint"].(string), "/oauth2/token") { //nolint:forcetypeassert // fails the test
		t.Errorf("SMART configuration: %s", got.body)
	}
}
