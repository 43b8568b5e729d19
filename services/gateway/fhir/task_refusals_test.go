package fhir_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// What a Task is refused for is named as it was sent, in FHIR's words.
func testTaskRefusals(t *testing.T, c *care) {
	other := c.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Ola"})
	order := c.request("active")
	order["identifier"] = list{obj{"type": coding(v2, "PLAC"), "system": "urn:x:p", "value": "P-1"}}
	fresh := fmt.Sprint(c.post(c.refers, order)["id"])
	id := fmt.Sprint(c.post(c.refers, order)["id"])
	c.step(c.receives, id, obj{"status": "accepted"}).want(t, http.StatusOK)
	c.step(c.receives, id, obj{"status": "in-progress", "output": list{output("session-time", obj{"valueDateTime": "2031-03-04T12:00:00Z"})}}).want(t, http.StatusOK)
	read := c.get("/Task/"+id, c.receives).want(t, http.StatusOK).json
	outputs, _ := read["output"].([]any)
	if len(outputs) != 2 { // group, session-time
		t.Fatalf("it has %d outputs: %v", len(outputs), outputs)
	}
	reported := func(more ...any) obj { return obj{"output": append(append(list{}, outputs...), more...)} }
	done := func(more ...any) obj { o := reported(more...); o["status"] = "completed"; return o }
	identifiers, _ := read["identifier"].([]any)
	numbered := func(number obj) obj { return obj{"identifier": append(append(list{}, identifiers...), number)} }
	for name, tt := range map[string]struct {
		bearer, id string
		changes    obj
		issue      string // how the only one begins
		says       string
	}{
		"a code that is none":           {c.receives, id, reported(output("mood", obj{"valueString": "good"})), "code-invalid Task.output[2]: ", "distress-after"},
		"no code":                       {c.receives, id, reported(obj{"type": coding("urn:x", "mood"), "valueInteger": 1}), "code-invalid Task.output[2].type: ", "task-output"},
		"helped in words":               {c.receives, id, done(output("helped", obj{"valueString": "yes"})), "value Task.output[2].value: ", "valueCodeableConcept"},
		"distress in words":             {c.receives, id, done(output("distress-after", obj{"valueString": "2"})), "value Task.output[2].value: ", "valueInteger"},
		"too much distress":             {c.receives, id, done(output("helped", obj{"valueCodeableConcept": coding(ownCodes+"helped", "yes")}), output("distress-after", obj{"valueInteger": 20})), "value Task.output[3]: ", "10"},
		"attended, and completed":       {c.receives, id, done(output("first-attended", obj{"valueDateTime": "2020-03-04T12:00:00Z"})), "value Task.output[2]: ", "status in-progress"},
		"helped, and not completed":     {c.receives, id, reported(output("helped", obj{"valueCodeableConcept": coding(ownCodes+"helped", "yes")})), "value Task.output[2]: ", "status completed"},
		"a number of its own":           {c.receives, id, numbered(obj{"system": "urn:x:y", "value": "8"}), "business-rule Task.identifier[1]: ", "FILL"},
		"a FILL number late":            {c.receives, id, numbered(obj{"type": coding(v2, "FILL"), "system": "urn:x:f", "value": "8"}), "value Task.identifier[1]: ", "status accepted"},
		"a note alone":                  {c.receives, id, obj{"note": list{obj{"text": "by the way"}}}, "value Task.note: ", "message"},
		"a reason alone":                {c.receives, id, obj{"statusReason": obj{"text": "by the way"}}, "value Task.statusReason.text: ", "message"},
		"a note with another owner":     {c.refers, fresh, obj{"owner": obj{"reference": "Organization/" + other}, "note": list{obj{"text": "by the way"}}}, "business-rule Task.note: ", "owner"},
		"a long note":                   {c.receives, fresh, obj{"status": "accepted", "note": list{obj{"text": strings.Repeat("long ", 500)}}}, "value Task.note: ", "2000"},
		"a business status that is one": {c.receives, id, obj{"businessStatus": coding(ownCodes+"referral-state", "cancelled")}, "business-rule Task.businessStatus: ", "scheduled"},
		"a business status that is not": {c.receives, id, obj{"businessStatus": coding(ownCodes+"referral-state", "foo")}, "code-invalid Task.businessStatus: ", "foo"},
		"foo, and completed":            {c.receives, id, obj{"status": "completed", "businessStatus": coding(ownCodes+"referral-state", "foo")}, "code-invalid Task.businessStatus: ", "foo"},
		"BSeR: Cairn's business status": {c.bserReceives, id, obj{"businessStatus": coding(ownCodes+"referral-state", "cancelled")}, "code-invalid Task.businessStatus: ", "TaskBusinessStatusCS"},
		"BSeR: no business status":      {c.bserReceives, id, obj{"businessStatus": coding(bserStatuses, "foo")}, "value Task.businessStatus: ", "foo"},
		"a practitioner as owner":       {c.refers, fresh, obj{"owner": obj{"reference": "Practitioner/1"}}, "value Task.owner: ", "Organization"},
	} {
		if got := c.step(tt.bearer, tt.id, tt.changes).issues(); len(got) != 1 || !strings.HasPrefix(got[0], tt.issue) || !strings.Contains(got[0], tt.says) || strings.Contains(got[0], "REST") {
			t.Errorf("%s: %v, want %q with %q", name, got, tt.issue, tt.says)
		}
	}
	// As it is shown, in a step or not, it is none.
	expect(t, "as it is", c.step(c.receives, id, obj{"status": "in-progress"}).want(t, http.StatusOK).json, obj{"meta.versionId": at(read, "meta.versionId")})
	expect(t, "as it was", c.step(c.receives, id, obj{"status": "completed", "businessStatus": coding(ownCodes+"referral-state", "accepted")}).want(t, http.StatusOK).json, obj{"status": "completed"})

	for issue, performer := range map[string]obj{
		"value ServiceRequest.performer[0]: ": {"reference": "Practitioner/1"}, "required ServiceRequest.performer[0]: ": {"display": "Puentes"},
		"not-found ServiceRequest.performer[0]: ": {"reference": "Organization/1"},
	} {
		order["performer"] = list{performer}
		if got := c.do(http.MethodPost, "/ServiceRequest", c.refers, text(t, order)).want(t, http.StatusUnprocessableEntity).issues(); len(got) != 1 || !strings.HasPrefix(got[0], issue) {
			t.Errorf("performer %v: %v, want %q", performer, got, issue)
		}
	}
	draft := fmt.Sprint(c.post(c.refers, c.request("draft"))["id"])
	if got := c.do(http.MethodPost, "/Task", c.refers, text(t, obj{
		"resourceType": "Task", "status": "requested", "intent": "order", "focus": obj{"reference": "ServiceRequest/" + draft}, "note": list{obj{"text": "x"}}, "statusReason": obj{"text": "y"},
	})).want(t, http.StatusUnprocessableEntity).issues(); len(got) != 2 || !strings.HasPrefix(got[0], "not-supported Task.note: ") || !strings.HasPrefix(got[1], "not-supported Task.statusReason: ") {
		t.Errorf("a new Task with a note: %v", got)
	}
}

// Who puts a Task that could be claimed, but not so, is told how; what cannot be claimed is not there.
func testClaimedWrongly(t *testing.T, c *care) {
	other := c.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Ola"})
	id := c.nobodys()
	ours := obj{"reference": "Organization/" + c.nonprofit}
	put := func(bearer, id string, changes obj) *reply {
		t.Helper()
		body := obj{"resourceType": "Task", "id": id, "status": "requested", "intent": "order", "focus": obj{"reference": "ServiceRequest/" + id}}
		for name, v := range changes {
			body[name] = v
		}
		return c.put(bearer, body)
	}
	for name, tt := range map[string]struct {
		changes obj
		at      string
	}{
		"no owner":               {nil, "Task.owner"},
		"no owner, and accepted": {obj{"status": "accepted"}, "Task.owner"},
		"another":                {obj{"owner": obj{"reference": "Organization/" + other}}, "Task.owner"},
		"a group":                {obj{"owner": obj{"reference": "HealthcareService/" + c.group}}, "Task.owner"},
		"rejected":               {obj{"owner": ours, "status": "rejected"}, "Task.status"},
		"a person":               {obj{"owner": ours, "for": obj{"reference": "Patient/" + uuid.NewString()}}, "Task.for"},
		"a requester":            {obj{"owner": ours, "requester": ours}, "Task.requester"},
	} {
		if got := put(c.receives, id, tt.changes).issues(); len(got) != 1 || !strings.HasPrefix(got[0], "business-rule "+tt.at+": ") || !strings.Contains(got[0], "Organization/"+c.nonprofit) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := put(c.receives, id, obj{"owner": ours, "note": list{obj{"text": "x"}}}).want(t, http.StatusUnprocessableEntity).issues(); len(got) != 1 || !strings.HasPrefix(got[0], "business-rule Task.note: ") {
		t.Errorf("claimed with a note: %v", got)
	}
	expect(t, "still there", c.claimable(c.receives, "status=requested", id)[id], obj{"meta.versionId": 1})

	hospital := c.organization(&partnersv1.Organization{Kind: partnersv1.Organization_HOSPITAL, DisplayName: "St. Berta"})
	put(token("organizations/"+hospital, "SDOHCC", "system/*.cruds"), id, nil).want(t, http.StatusNotFound)
	put(c.receives, uuid.NewString(), nil).want(t, http.StatusNotFound)
	put(c.receives, "x", nil).want(t, http.StatusNotFound)
	asked := fmt.Sprint(c.post(c.refers, c.request("active"))["id"])
	put(token("organizations/"+other, "SDOHCC", "system/*.cruds"), asked, nil).want(t, http.StatusNotFound)
	put(c.receives, id, obj{"owner": ours}).want(t, http.StatusOK)
	put(token("organizations/"+other, "SDOHCC", "system/*.cruds"), id, nil).want(t, http.StatusNotFound)
}
