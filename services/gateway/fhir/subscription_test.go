package fhir_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cairn.care/services/internal/fhirtest"
	"cairn.care/services/partners"
)

const subscriptionHospital = "organizations/0192d7a5-0000-7000-8000-0000000000c1"

// wantedSubscription is a Subscription as the backport guide has it; each change is a piece of it and what stands there instead.
func wantedSubscription(changes ...string) string {
	return strings.NewReplacer(changes...).Replace(`{
		"resourceType": "Subscription",
		"meta": {"profile": ["http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription"]},
		"status": "requested", "end": "2099-01-01T00:00:00Z", "reason": "Referrals of the oncology department",
		"criteria": "https://cairn.care/fhir/SubscriptionTopic/task",
		"channel": {
			"type": "rest-hook", "endpoint": "https://127.0.0.1:1/inbox", "header": ["Authorization: Bearer swordfish"], "payload": "application/fhir+json",
			"extension": [{"url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-heartbeat-period", "valueUnsignedInt": 3600}],
			"_payload": {"extension": [{"url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content", "valueCode": "id-only"}]}
		}
	}`)
}

// outside gets what Cairn writes and never reads, Parameters: the outside validator alone checks it.
func (s *site) outside(path, bearer string) obj {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := io.ReadAll(resp.Body)
	body := obj{}
	if err := errors.Join(err, json.Unmarshal(raw, &body), resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %d %v", path, resp.StatusCode, err)
	}
	fhirtest.ValidateOutside(s.t, raw)
	return body
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	s := setup(t, partners.Component())
	ours := token(subscriptionHospital, "SDOHCC", "system/Subscription.crds")
	theirs := token("organizations/0192d7a5-0000-7000-8000-0000000000c2", "SDOHCC", "system/*.cruds")

	made := s.do(http.MethodPost, "/Subscription", ours, wantedSubscription()).want(t, http.StatusCreated)
	id, _ := made.json["id"].(string)
	channel, _ := made.json["channel"].(map[string]any)
	if made.json["status"] != "requested" || made.json["criteria"] != "https://cairn.care/fhir/SubscriptionTopic/task" || channel["endpoint"] != "https://127.0.0.1:1/inbox" ||
		channel["header"] != nil || strings.Contains(string(made.body), "swordfish") || !strings.Contains(string(made.body), "id-only") || !strings.Contains(string(made.body), `"valueUnsignedInt":3600`) {
		t.Errorf("created is %s", made.body)
	}
	s.get("/Subscription/"+id, ours).want(t, http.StatusOK)
	s.get("/Subscription/"+id, theirs).want(t, http.StatusNotFound)
	expect(t, "$status", s.outside("/Subscription/"+id+"/$status", ours), obj{
		"type": "searchset", "entry.0.resource.resourceType": "Parameters", "entry.0.resource.parameter.0.valueReference.reference": s.url + "/Subscription/" + id,
		"entry.0.resource.parameter.1.valueCanonical": "https://cairn.care/fhir/SubscriptionTopic/task", "entry.0.resource.parameter.2.valueCode": "requested", "entry.0.resource.parameter.3.valueCode": "query-status",
	})
	s.get("/Subscription/"+id+"/$status", theirs).want(t, http.StatusNotFound)
	s.get("/Subscription/"+id+"/$status", "").want(t, http.StatusUnauthorized)
	s.do(http.MethodPost, "/Subscription/"+id+"/$status", ours, "{}").want(t, http.StatusMethodNotAllowed)
	if told := s.get("/metadata", ""); !strings.Contains(string(told.body), "https://cairn.care/fhir/SubscriptionTopic/servicerequest") {
		t.Error("the CapabilityStatement does not name the topics")
	}
	for query, want := range map[string]int{
		"": 1, "?status=requested,error": 1, "?status=active": 0, "?url=https://127.0.0.1:1/inbox": 1, "?url=https://127.0.0.1:1": 0,
		"?criteria=https://cairn.care/fhir/SubscriptionTopic/task": 1, "?_id=" + id: 1, "?_id=" + subscriptionHospital[14:]: 0, "?_lastUpdated=lt2020-01-01": 0,
	} {
		found := s.get("/Subscription"+query, ours).want(t, http.StatusOK)
		entries, _ := found.json["entry"].([]any)
		if len(entries) != want {
			t.Errorf("%s finds %d, want %d: %s", query, len(entries), want, found.body)
		}
	}
	if found := s.get("/Subscription", theirs).want(t, http.StatusOK); found.json["entry"] != nil {
		t.Errorf("another organization finds %s", found.body)
	}
	s.get("/Subscription/"+id, token(subscriptionHospital, "SDOHCC", "system/Task.rs")).want(t, http.StatusForbidden)
	s.do(http.MethodDelete, "/Subscription/"+id, theirs, "").want(t, http.StatusNoContent)
	s.get("/Subscription/"+id, ours).want(t, http.StatusOK) // it was not theirs
	s.do(http.MethodDelete, "/Subscription/"+id, ours, "").want(t, http.StatusNoContent)
	s.get("/Subscription/"+id, ours).want(t, http.StatusNotFound)
}

// What is not served is refused, with where it stands.
func TestSubscriptionRefusals(t *testing.T) {
	t.Parallel()
	s := setup(t, partners.Component())
	ours := token(subscriptionHospital, "SDOHCC", "system/Subscription.c")
	for where, changes := range map[string][]string{
		"Subscription.status":                    {`"requested"`, `"active"`},
		"Subscription.criteria":                  {"SubscriptionTopic/task", "SubscriptionTopic/weather"},
		"Subscription.channel.type":              {"rest-hook", "websocket"},
		"Subscription.channel.payload":           {`"application/fhir+json"`, `"application/fhir+xml"`},
		"Subscription.channel.payload.extension": {"id-only", "full-resource"},
		"Subscription.channel.endpoint":          {"https://127.0.0.1:1/inbox", "http://example.org/inbox"},
		"Subscription.channel.extension":         {"3600", "5"},
		"Subscription.channel.extension[0]":      {"backport-heartbeat-period", "backport-max-count"},
		"Subscription.contact":                   {`"status"`, `"contact": [{"system": "phone", "value": "+1 555 0100"}], "status"`},
		"Subscription.end":                       {"2099-01-01", "2020-01-01"},
		"Subscription.channel.header":            {"Authorization:", "Host:"},
	} {
		got := s.do(http.MethodPost, "/Subscription", ours, wantedSubscription(changes...))
		if got.StatusCode < 400 || got.StatusCode >= 500 || !slices.ContainsFunc(got.issues(), func(i string) bool { return strings.Contains(i, " "+where) }) {
			t.Errorf("%s: %d %s", where, got.StatusCode, fmt.Sprint(got.issues()))
		}
	}
}
