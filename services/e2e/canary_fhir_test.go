package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// fhir sends a resource, or nothing, to the FHIR face.
func (c *caller) fhir(t *testing.T, method, path string, body any, headers ...string) *reply {
	t.Helper()
	if resource, ok := body.(obj); ok {
		raw, err := json.Marshal(resource)
		if err != nil {
			t.Fatal(err)
		}
		body = string(raw)
	}
	r := c.w.send(t, method, "/fhir/R4"+path, body, append([]string{"Authorization", "Bearer " + c.token(t), "Content-Type", "application/fhir+json"}, headers...)...)
	if len(r.body) > 0 {
		if err := json.Unmarshal(r.body, &r.json); err != nil {
			t.Fatalf("%s answered %s: %v", r.call, r.body, err)
		}
	}
	return r
}

// patient is a Patient with the canaries wherever one can write.
func patient() obj {
	return obj{
		"resourceType": "Patient", "identifier": list{obj{"system": "urn:example:" + person, "value": person + uuid.NewString()}},
		"name": list{obj{"family": person, "given": list{person}}}, "birthDate": "1974-05-06",
		"telecom": list{obj{"system": "phone", "value": "+1" + number}, obj{"system": "email", "value": person + "@example.org"}},
		"address": list{obj{"line": list{"1 " + person + " Lane"}, "city": "Houston", "country": "US"}},
	}
}

// with returns a resource with other elements: names and values in turn.
func with(resource obj, elements ...any) obj {
	for i := 0; i < len(elements); i += 2 {
		name, _ := elements[i].(string)
		resource[name] = elements[i+1]
	}
	return resource
}

// request is a ServiceRequest with its patient and consent contained.
func (w *world) request(group string) obj {
	coding := func(system, code string) obj { return obj{"coding": list{obj{"system": system, "code": code}}} }
	p := patient()
	p["id"] = "p"
	return obj{
		"resourceType": "ServiceRequest", "status": "active", "intent": "order",
		"contained": list{p, obj{
			"resourceType": "Consent", "id": "c", "status": "active", "scope": coding("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
			"category": list{coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "IDSCL")}, "patient": obj{"reference": "#p"},
			"dateTime": w.now().Add(-time.Hour).UTC().Format(time.RFC3339), "sourceAttachment": obj{"title": "form 12"},
			"policyRule": coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN"),
		}},
		"code": coding("http://snomed.info/sct", "711281004"), "subject": obj{"reference": "#p"}, "supportingInfo": list{obj{"reference": "#c"}},
		"performer": list{obj{"reference": "HealthcareService/" + group}}, "requester": obj{"display": "Dr Osei, oncology"},
		"reasonCode": list{coding("http://hl7.org/fhir/sid/icd-10-cm", "Z85.3")},
	}
}

// plantAtTheDoor plants the canaries through what a hospital's own systems use: FHIR, patients, messages, consents; with webhooks and
// the event log looking on. It returns what the caller was told of events and of what was refused.
func (w *world) plantAtTheDoor(t *testing.T, in *inbox, hospital, nonprofit *caller, group string) (told, refused []byte) {
	t.Helper()
	key := func() []string { return []string{"Idempotency-Key", uuid.NewString()} }
	for _, c := range []*caller{hospital, nonprofit, w.app} {
		writer := w.client(t, c.org, "referrals.read", "referrals.write", "groups.read", "members.read", "partners.read", "partners.write")
		writer.post(t, "/v1/webhookSubscriptions", obj{"displayName": "inbox", "url": in.url + "/events", "eventTypes": list{"care.cairn.*"}}).ok(t)
	}
	ehr, intake := w.client(t, hospital.org, "system/*.cruds"), w.client(t, nonprofit.org, "system/*.cruds")
	groupID := strings.TrimPrefix(group, "groups/")

	known := ehr.fhir(t, http.MethodPost, "/Patient", patient()).want(t, http.StatusCreated, "")
	sent := ehr.fhir(t, http.MethodPost, "/ServiceRequest", w.request(groupID)).want(t, http.StatusCreated, "")
	id := sent.text("id")
	for _, c := range []*caller{ehr, intake} {
		for _, path := range []string{"/ServiceRequest/" + id, "/Task/" + id, "/Task?_include=*", "/Provenance?target=Task/" + id, "/ServiceRequest/" + id + "/_history"} {
			c.fhir(t, http.MethodGet, path, nil)
		}
	}
	identifier := known.text("identifier.0.system") + "|" + known.text("identifier.0.value")
	ehr.fhir(t, http.MethodGet, "/Patient?identifier="+url.QueryEscape(identifier), nil).ok(t)
	ehr.fhir(t, http.MethodGet, "/Task?patient.identifier="+url.QueryEscape(identifier), nil)
	ehr.fhir(t, http.MethodPost, "/Patient/_search", "identifier="+url.QueryEscape(identifier), "Content-Type", "application/x-www-form-urlencoded")
	ehr.fhir(t, http.MethodGet, "/AuditEvent?entity=Task/"+id, nil).ok(t)

	referral := "referrals/" + id
	hospital.post(t, "/v1/"+referral+"/messages", obj{"text": person, "author": "clinic"}, key()...).ok(t)
	nonprofit.post(t, "/v1/"+referral+"/messages", obj{"text": person + " " + number, "author": "intake"}, key()...).ok(t)
	hospital.get(t, "/v1/"+referral+"/messages").ok(t)
	hospital.post(t, "/v1/patients:search", obj{"identifier": obj{"system": known.text("identifier.0.system"), "value": known.text("identifier.0.value")}})
	hospital.get(t, "/v1/"+referral+"/accesses").ok(t)
	hospital.post(t, "/v1/"+referral+":withdrawConsent", obj{"reason": person}, key()...)

	var wrong bytes.Buffer
	for path, body := range map[string]obj{
		"/Patient?a":        with(patient(), "nickname", person),
		"/Patient?b":        with(patient(), "photo", list{obj{"title": person}}),
		"/Patient?c":        with(patient(), "gender", "female", "name", list{obj{"family": person, "use": "nobody"}}),
		"/Patient?d":        with(patient(), "identifier", obj{"value": person}),
		"/ServiceRequest?e": with(w.request(groupID), "note", list{obj{"text": person, "authorString": person, "unknown": person}}),
		"/ServiceRequest?f": with(w.request(groupID), "subject", obj{"display": person}),
	} {
		path, _, _ := strings.Cut(path, "?")
		r := ehr.fhir(t, http.MethodPost, path, body)
		if r.status < 400 || r.status >= 500 {
			t.Errorf("%s with %v: %d %s; want it refused", path, body, r.status, r.body)
		}
		wrong.Write(r.body)
	}
	ehr.fhir(t, http.MethodGet, "/Task?"+person+"="+person, nil)
	ehr.fhir(t, http.MethodGet, "/Patient/"+person, nil)

	until(t, "the webhooks have come", func() *reply { return &reply{status: http.StatusOK, body: in.all()} },
		func(r *reply) bool {
			return bytes.Contains(r.body, []byte(id)) && bytes.Contains(r.body, []byte("message"))
		})
	var events bytes.Buffer
	for _, c := range []*caller{hospital, nonprofit, w.app} {
		r := c.get(t, "/v1/events?pageSize=200").ok(t)
		events.Write(r.body)
	}
	return events.Bytes(), wrong.Bytes()
}
