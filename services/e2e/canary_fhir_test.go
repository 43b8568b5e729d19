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
		for _, path := range []string{
			"/ServiceRequest/" + id, "/Task/" + id, "/Consent/" + id, "/Task?_include=Task:focus&_include=Task:patient&_include=Task:owner&_include=Task:requester",
			"/Provenance?target=Task/" + id, "/ServiceRequest/" + id + "/_history", "/Consent/" + id + "/_history",
		} {
			c.fhir(t, http.MethodGet, path, nil).ok(t)
		}
	}
	identifier := known.text("identifier.0.system") + "|" + known.text("identifier.0.value")
	ehr.fhir(t, http.MethodGet, "/Patient?identifier="+url.QueryEscape(identifier), nil).ok(t)
	ehr.fhir(t, http.MethodGet, "/Task?patient.identifier="+url.QueryEscape(identifier), nil).ok(t)
	ehr.fhir(t, http.MethodPost, "/Patient/_search", "identifier="+url.QueryEscape(identifier), "Content-Type", "application/x-www-form-urlencoded").ok(t)
	ehr.fhir(t, http.MethodGet, "/AuditEvent?entity=Task/"+id, nil).ok(t)

	referral := "referrals/" + id
	hospital.post(t, "/v1/"+referral+"/messages", obj{"text": person, "author": "clinic"}, key()...).ok(t)
	nonprofit.post(t, "/v1/"+referral+"/messages", obj{"text": person + " " + number, "author": "intake"}, key()...).ok(t)
	hospital.get(t, "/v1/"+referral+"/messages").ok(t)
	found := hospital.post(t, "/v1/patients:search", obj{"identifiers": list{obj{"system": known.text("identifier.0.system"), "value": known.text("identifier.0.value")}}}).ok(t)
	if len(found.list("patients")) != 1 {
		t.Errorf("by her identifier %s is found", found.body)
	}
	w.plantTransaction(t, ehr, nonprofit)
	hospital.get(t, "/v1/"+referral+"/accesses").ok(t)
	hospital.post(t, "/v1/"+referral+":withdrawConsent", obj{"items": list{"CONTACT"}}, key()...).ok(t)

	var wrong bytes.Buffer
	for path, body := range map[string]obj{
		"/Patient?a":        with(patient(), "nickname", person),
		"/Patient?b":        with(patient(), "photo", list{obj{"title": person}}),
		"/Patient?c":        with(patient(), "gender", "female", "name", list{obj{"family": person, "use": "nobody"}}),
		"/Patient?d":        with(patient(), "identifier", obj{"value": person}),
		"/ServiceRequest?e": with(w.request(groupID), "note", list{obj{"text": person, "authorString": person, "unknown": person}}),
		"/ServiceRequest?f": with(w.request(groupID), "subject", obj{"display": person}),
		"/Appointment?g": obj{
			"resourceType": "Appointment", "status": "booked", "comment": person, "slot": list{obj{"reference": "Slot/" + uuid.NewString()}},
			"participant": list{obj{"actor": obj{"reference": "Patient/" + known.text("id"), "display": person}, "status": "accepted"}},
		},
	} {
		path, _, _ := strings.Cut(path, "?")
		r := ehr.fhir(t, http.MethodPost, path, body)
		if r.status < 400 || r.status >= 500 {
			t.Errorf("%s with %v: %d %s; want it refused", path, body, r.status, r.body)
		}
		wrong.Write(r.body)
	}
	ehr.fhir(t, http.MethodGet, "/Task?"+person+"="+person, nil).want(t, http.StatusBadRequest, "")
	ehr.fhir(t, http.MethodGet, "/Patient/"+person, nil).want(t, http.StatusNotFound, "")

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

// plantTransaction refers somebody to another group by a transaction, books a place for her by an Appointment and narrows her Consent,
// with the canaries in each.
func (w *world) plantTransaction(t *testing.T, ehr, nonprofit *caller) {
	t.Helper()
	group := nonprofit.openGroup(t, seats(5))
	who, agreed := "urn:uuid:"+uuid.NewString(), "urn:uuid:"+uuid.NewString()
	her := obj{"reference": who, "display": person}
	request := w.request(strings.TrimPrefix(group, "groups/"))
	contained, _ := request["contained"].(list)
	consent, _ := contained[1].(obj)
	delete(request, "contained")
	delete(consent, "id")
	entry := func(resource obj, more ...any) obj {
		return with(obj{"resource": resource, "request": obj{"method": http.MethodPost, "url": resource["resourceType"]}}, more...)
	}
	made := ehr.fhir(t, http.MethodPost, "", obj{"resourceType": "Bundle", "type": "transaction", "entry": list{
		entry(patient(), "fullUrl", who),
		entry(with(consent, "patient", her), "fullUrl", agreed),
		entry(with(request, "subject", her, "supportingInfo", list{obj{"reference": agreed}}), "fullUrl", "urn:uuid:"+uuid.NewString()),
	}}).ok(t)
	id, patientID := made.text("entry.2.resource.id"), made.text("entry.0.resource.id")

	w.agree(t, nonprofit.accept(t, "referrals/"+id))
	session := nonprofit.get(t, "/v1/sessions?pageSize=2&filter="+q(`group = "`+group+`"`)).ok(t).text("sessions.1.name")
	booked := ehr.fhir(t, http.MethodPost, "/Appointment", obj{
		"resourceType": "Appointment", "status": "booked", "slot": list{obj{"reference": "Slot/" + strings.TrimPrefix(session, "sessions/")}},
		"basedOn": list{obj{"reference": "ServiceRequest/" + id, "display": person}},
		"participant": list{
			obj{"actor": obj{"reference": "Patient/" + patientID, "display": person}, "status": "accepted"},
			obj{"actor": obj{"reference": "HealthcareService/" + strings.TrimPrefix(group, "groups/")}, "status": "needs-action"},
		},
	}).want(t, http.StatusCreated, "")
	appointment, _ := booked.json.(map[string]any)
	ehr.fhir(t, http.MethodPut, "/Appointment/"+booked.text("id"), with(appointment, "status", "cancelled", "cancelationReason", obj{
		"coding": list{obj{"system": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "code": "pat"}}, "text": person,
	})).ok(t)

	narrow, _ := ehr.fhir(t, http.MethodGet, "/Consent/"+id, nil).ok(t).json.(map[string]any)
	ehr.fhir(t, http.MethodPut, "/Consent/"+id, with(narrow, "patient", obj{"reference": "Patient/" + patientID, "display": person},
		"provision", obj{"type": "permit", "code": list{obj{"coding": list{obj{"system": "https://cairn.care/fhir/CodeSystem/consent-item", "code": "name"}}}}})).ok(t)
}
