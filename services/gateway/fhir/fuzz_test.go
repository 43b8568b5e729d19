package fhir_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/formats/fhir/r4"
	"cairn.care/services/gateway/fhir"
)

// outOfReach is a connection to services that are down: what gets to them has been read and understood.
type outOfReach struct{}

func (outOfReach) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return status.Error(codes.Unavailable, "down")
}

func (outOfReach) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unavailable, "down")
}

// face is the FHIR API before services that are out of reach.
func face(t testing.TB) *fhir.Face {
	t.Helper()
	keys := auth.NewIdentities(clock.System{})
	f, err := fhir.New(fhir.Options{
		Peer: func(string) grpc.ClientConnInterface { return outOfReach{} }, Verify: verify, PublicURL: "https://cairn.test", MaxBodyBytes: 1 << 20,
		Seal: func(plain []byte) (string, error) { return keys.Seal("page", plain) }, Open: func(sealed string) ([]byte, error) { return keys.Open("page", sealed) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// kinds are the types that the face says it has.
func kinds(t testing.TB, f *fhir.Face) []string {
	t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(http.MethodGet, fhir.Root+"/metadata", nil))
	var c r4.CapabilityStatement
	if err := json.Unmarshal(w.Body.Bytes(), &c); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range c.Rest[0].Resource {
		out = append(out, r.Type)
	}
	return out
}

// answer sends a request and holds the answer to what every answer must be: FHIR, refused by the caller's fault or as the services are
// away, never an internal error.
func answer(t *testing.T, f *fhir.Face, method, path, body, contentType string) {
	t.Helper()
	r := httptest.NewRequest(method, fhir.Root, strings.NewReader(body))
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(path, "?")
	r.Header.Set("Authorization", "Bearer "+token("organizations/0192d7a5-0000-7000-8000-00000000000a", "SDOHCC", "system/*.cruds"))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	switch w.Code {
	case 200, 201, 204, 400, 404, 405, 406, 410, 412, 413, 415, 422, 503:
	default:
		t.Fatalf("%s %s is answered %d: %s", method, path, w.Code, w.Body)
	}
	if w.Body.Len() == 0 {
		return
	}
	if _, err := r4.Parse(w.Body.Bytes()); err != nil {
		t.Fatalf("%s %s is answered with what is no FHIR: %v: %s", method, path, err, w.Body)
	}
}

func FuzzBody(f *testing.F) {
	fa := face(f)
	types := kinds(f, fa)
	for _, seed := range []string{
		`{"resourceType":"Patient","id":"0192d7a5-0000-7000-8000-00000000000a","identifier":[{"system":"urn:x","value":"1"}],"name":[{"family":"A","given":["B"]}],"birthDate":"1970-01-01"}`,
		`{"resourceType":"ServiceRequest","status":"active","intent":"order","subject":{"reference":"#p"},"code":{"coding":[{"system":"http://snomed.info/sct","code":"711281004"}]},"contained":[{"resourceType":"Patient","id":"p","identifier":[{"value":"1"}]}]}`,
		`{"resourceType":"Task","id":"0192d7a5-0000-7000-8000-00000000000a","status":"accepted","intent":"order","focus":{"reference":"ServiceRequest/0192d7a5-0000-7000-8000-00000000000a"}}`,
		`{"resourceType":"Consent","status":"active","scope":{"coding":[{"code":"patient-privacy"}]},"category":[{"coding":[{"code":"IDSCL"}]}],"policyRule":{"coding":[{"code":"OPTIN"}]},"provision":{"period":{"end":"2030"}}}`,
		`{"resourceType":"Appointment","status":"booked","slot":[{"reference":"Slot/0192d7a5-0000-7000-8000-00000000000a"}],"participant":[{"actor":{"reference":"Patient/0192d7a5-0000-7000-8000-00000000000a"},"status":"accepted"}]}`,
		`{"resourceType":"Subscription","status":"requested","reason":"x","criteria":"Task","channel":{"type":"rest-hook","endpoint":"https://x.test/hook","payload":"application/fhir+json"}}`,
	} {
		for _, kind := range types {
			if strings.Contains(seed, `"resourceType":"`+kind+`"`) {
				f.Add(kind, false, []byte(seed))
				f.Add(kind, true, []byte(seed))
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind string, put bool, body []byte) {
		if !slices.Contains(types, kind) {
			t.Skip("a type that is not there is answered without its body being read")
		}
		path, method := fhir.Root+"/"+kind, http.MethodPost
		if put {
			path, method = path+"/0192d7a5-0000-7000-8000-00000000000a", http.MethodPut
		}
		answer(t, fa, method, path, string(body), "application/fhir+json")
	})
}

func FuzzSearch(f *testing.F) {
	fa := face(f)
	types := kinds(f, fa)
	for _, query := range []string{
		"", "_id=1", "_lastUpdated=ge2020-01-01T00:00:00%2B01:00&_lastUpdated=lt2021", "status=draft,active&_count=5&_sort=-_lastUpdated", "patient.identifier=urn:x%7C1",
		"focus:ServiceRequest.subject:Patient.identifier=1", "_include=Task:focus&_revinclude=Provenance:target", "location.near=1%7C2%7C3%7Ckm", "name:exact=a%5C,b", "_summary=count", "_elements=id,name", "_page=AAAA",
		"owner=Organization/1&owner:Organization=2", "_total=accurate", "specialty:above=http://snomed.info/sct%7C1", "open-seats=ge3", "_has:Task:focus:status=draft", "start=ge2030-01-01&schedule=Schedule/1",
	} {
		for _, kind := range types {
			f.Add(kind, query)
		}
	}
	for _, query := range []string{".\n\f", "a%0C=1", "%00=%00", "_sort=%0B", "%C2%85=1"} { // what FHIR's type string may not have
		f.Add("Organization", query)
	}
	f.Fuzz(func(t *testing.T, kind, query string) {
		if !slices.Contains(types, kind) {
			t.Skip("a type that is not there is answered without its query being read")
		}
		answer(t, fa, http.MethodGet, fhir.Root+"/"+kind+"?"+query, "", "")
		answer(t, fa, http.MethodPost, fhir.Root+"/"+kind+"/_search", query, "application/x-www-form-urlencoded")
		answer(t, fa, http.MethodPost, fhir.Root, text(t, bundle("batch", does("GET", kind+"?"+query, nil))), "application/fhir+json")
	})
}

func FuzzBundle(f *testing.F) {
	fa := face(f)
	f.Add([]byte(`{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Task?status=draft"}},{"request":{"method":"DELETE","url":"Subscription/1"}}]}`))
	f.Add([]byte(`{"resourceType":"Bundle","type":"transaction","entry":[
		{"fullUrl":"urn:uuid:0192d7a5-0000-7000-8000-00000000000a","resource":{"resourceType":"Patient","identifier":[{"value":"1"}]},"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=1"}},
		{"fullUrl":"urn:uuid:0192d7a5-0000-7000-8000-00000000000b","resource":{"resourceType":"ServiceRequest","status":"active","intent":"order","subject":{"reference":"urn:uuid:0192d7a5-0000-7000-8000-00000000000a"}},"request":{"method":"POST","url":"ServiceRequest"}},
		{"resource":{"resourceType":"Task","status":"requested","intent":"order","focus":{"reference":"urn:uuid:0192d7a5-0000-7000-8000-00000000000b"},"for":{"reference":"Patient?identifier=1"}},"request":{"method":"POST","url":"Task"}},
		{"resource":{"resourceType":"Practitioner","name":[{"family":"A"}]},"request":{"method":"POST","url":"Practitioner"}},
		{"request":{"method":"GET","url":"HealthcareService/1/_history/2"}}]}`))
	f.Add([]byte(`{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"PUT","url":"Task/1","ifMatch":"W/\"3\""},"resource":{"resourceType":"Task","id":"1","status":"accepted","intent":"order"}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer(t, fa, http.MethodPost, fhir.Root, string(body), "application/fhir+json")
	})
}
