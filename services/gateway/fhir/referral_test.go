package fhir_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/groups"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/referral"
	"cairn.care/services/scheduling"
)

type obj = map[string]any

type list = []any

const (
	ownCodes    = "https://cairn.care/fhir/CodeSystem/"
	ownURLs     = "https://cairn.care/fhir/StructureDefinition/"
	outputCodes = ownCodes + "task-output"
)

// care is a hospital and a nonprofit with a group, as their systems see Cairn.
type care struct {
	*site
	hospital, nonprofit, group string // ids
	refers, receives           string // tokens, SDOHCC
	bserRefers, bserReceives   string // tokens, BSeR
}

// TestReferrals runs what concerns referrals in one Cairn, each with organizations of its own.
func TestReferrals(t *testing.T) {
	t.Parallel()
	s := setupCare(t).site
	for name, run := range map[string]func(*testing.T, *care){
		"the loop closes": testClosedLoop, "consent": testConsent, "setters": testSetters, "drafts": testDrafts, "search": testReferralSearch, "BSeR": testBSeR,
		"elsewhere": testElsewhere, "told": testTold, "partly": testParts, "polling": testPolling, "claims": testClaim, "when it was written": testAuthored,
		"a Task again": testTaskAgain, "revoked alone": testRevokedAlone, "steps once": testStepsOnce, "when a consent changed": testConsentTime,
		"what a Task is refused for": testTaskRefusals, "claimed wrongly": testClaimedWrongly,
		"searched by no code": testSearchedByNoCode,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newCare(t, s))
		})
	}
}

// setupCare starts a Cairn of its own.
func setupCare(t testing.TB) *care {
	t.Helper()
	return newCare(t, setup(t, partners.Component(), groups.Component(), membership.Component(), scheduling.Component(), referral.Component()))
}

func newCare(t testing.TB, s *site) *care {
	t.Helper()
	own := *s
	own.t = t
	c := &care{site: &own}
	c.hospital = c.organization(&partnersv1.Organization{Kind: partnersv1.Organization_HOSPITAL, DisplayName: "St. Anna"})
	c.nonprofit = c.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Puentes"})
	const all = "system/*.cruds"
	c.refers, c.bserRefers = token("organizations/"+c.hospital, "SDOHCC", all), token("organizations/"+c.hospital, "BSER", all)
	c.receives, c.bserReceives = token("organizations/"+c.nonprofit, "SDOHCC", all), token("organizations/"+c.nonprofit, "BSER", all)
	c.group = c.publish()
	return c
}

// publish makes a group of the nonprofit's with room for everybody.
func (c *care) publish() string {
	c.t.Helper()
	ctx := suitetest.Client(c.t.Context(), "organizations/"+c.nonprofit, "groups.write")
	calls := groupsv1.NewGroupsServiceClient(c.Conn("groups"))
	lead, err := calls.CreateFacilitator(ctx, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
		DisplayName: "Ana", LivedExperience: []*groupsv1.Facilitator_LivedExperience{{CancerType: "breast", Role: groupsv1.Facilitator_LivedExperience_SURVIVOR}},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	g, err := calls.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
		Title: "Camino", Summary: "For people after breast cancer.", Languages: []string{"es"}, Kind: groupsv1.Group_PEER_SUPPORT, CancerTypes: []string{"breast"},
		Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_ONLINE, Online: &groupsv1.Group_Online{Platform: "Zoom"}, TimeZone: "America/Chicago",
		Facilitators: []*groupsv1.Group_FacilitatorRole{{Facilitator: lead.GetName(), Role: groupsv1.Group_FacilitatorRole_LEAD}},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err = calls.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()}); err != nil {
		c.t.Fatal(err)
	}
	c.CatchUp()
	return strings.TrimPrefix(g.GetName(), "groups/")
}

func text(t testing.TB, body any) string {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func coding(system, code string) obj { return obj{"coding": list{obj{"system": system, "code": code}}} }

// person is a Patient whom nobody else is.
func (c *care) person() obj {
	return obj{
		"resourceType": "Patient", "identifier": list{obj{"system": "urn:example:mrn", "value": uuid.NewString()}},
		"name": list{obj{"family": "Quetzalcanary", "given": list{"Xochitl"}}}, "gender": "female", "birthDate": "1974-05-06",
		"telecom": list{obj{"system": "phone", "value": "+18165550177"}},
	}
}

// agreed is a Consent to the items.
func (c *care) agreed(items ...string) obj {
	codes := list{}
	for _, i := range items {
		codes = append(codes, coding(ownCodes+"consent-item", i))
	}
	out := obj{
		"resourceType": "Consent", "status": "active", "scope": coding("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
		"category": list{coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "IDSCL")}, "dateTime": c.Clock.Now().Add(-time.Hour).UTC().Format(time.RFC3339),
		"policyRule": coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN"), "sourceAttachment": obj{"title": "form 12"},
	}
	if len(items) > 0 {
		out["provision"] = obj{"type": "permit", "code": codes}
	}
	return out
}

// request is a ServiceRequest with everything contained.
func (c *care) request(status string) obj {
	patient, consent := c.person(), c.agreed()
	patient["id"], consent["id"], consent["patient"] = "p", "c", obj{"reference": "#p"}
	return obj{
		"resourceType": "ServiceRequest", "status": status, "intent": "order", "contained": list{patient, consent},
		"code": coding("http://snomed.info/sct", "711281004"), "subject": obj{"reference": "#p"}, "supportingInfo": list{obj{"reference": "#c"}},
		"performer": list{obj{"reference": "HealthcareService/" + c.group}}, "requester": obj{"display": "Dr Osei, oncology"},
		"reasonCode": list{coding("http://hl7.org/fhir/sid/icd-10-cm", "Z85.3")},
		"extension":  list{obj{"url": ownURLs + "distress", "valueInteger": 5}},
	}
}

// post creates a resource and returns it.
func (c *care) post(bearer string, body obj) obj {
	c.t.Helper()
	kind, _ := body["resourceType"].(string)
	return c.do(http.MethodPost, "/"+kind, bearer, text(c.t, body)).want(c.t, http.StatusCreated).json
}

// put changes a resource.
func (c *care) put(bearer string, body obj, headers ...string) *reply {
	c.t.Helper()
	kind, _ := body["resourceType"].(string)
	id, _ := body["id"].(string)
	return c.do(http.MethodPut, "/"+kind+"/"+id, bearer, text(c.t, body), headers...)
}

// step reads a Task, changes it and puts it.
func (c *care) step(bearer, id string, changes obj) *reply {
	c.t.Helper()
	body := c.get("/Task/"+id, bearer).want(c.t, http.StatusOK).json
	for name, v := range changes {
		body[name] = v
	}
	return c.put(bearer, body)
}

// at returns what stands at a path of members and indexes, "owner.reference" or "output.0.valueString".
func at(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch n := v.(type) {
		case map[string]any:
			v = n[name]
		case []map[string]any:
			i := int(name[0] - '0')
			if i >= len(n) {
				return nil
			}
			v = n[i]
		case []any:
			i := int(name[0] - '0')
			if i >= len(n) {
				return nil
			}
			v = n[i]
		default:
			return nil
		}
	}
	return v
}

func expect(t testing.TB, what string, body any, want obj) {
	t.Helper()
	for path, w := range want {
		if got := at(body, path); fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("%s: %s is %v, want %v", what, path, got, w)
		}
	}
}

func output(code string, value obj) obj {
	out := obj{"type": coding(outputCodes, code)}
	for name, v := range value {
		out[name] = v
	}
	return out
}

// A transaction of Patient, Consent, ServiceRequest and Task makes one referral; the owner finds it by polling, sees what the consent
// covers, takes it on and reports; the hospital reads how it ended, and each step.
func testClosedLoop(t *testing.T, c *care) {
	patient, consent, request := c.person(), c.agreed("name", "contact"), c.request("active")
	consent["patient"] = obj{"reference": "urn:uuid:5b0a7e56-0000-4000-8000-000000000001"}
	delete(request, "contained")
	request["subject"], request["supportingInfo"] = consent["patient"], list{obj{"reference": "urn:uuid:5b0a7e56-0000-4000-8000-000000000002"}}
	entry := func(n int, body obj) obj {
		kind, _ := body["resourceType"].(string)
		return obj{"fullUrl": fmt.Sprintf("urn:uuid:5b0a7e56-0000-4000-8000-00000000000%d", n), "resource": body, "request": obj{"method": "POST", "url": kind}}
	}
	first := entry(1, patient)
	first["request"] = obj{"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:example:mrn|" + fmt.Sprint(at(patient, "identifier.0.value"))}
	bundle := obj{"resourceType": "Bundle", "type": "transaction", "entry": list{first, entry(2, consent), entry(3, request), entry(4, obj{
		"resourceType": "Task", "status": "requested", "intent": "order", "priority": "urgent", "code": coding("http://hl7.org/fhir/CodeSystem/task-code", "fulfill"),
		"focus": obj{"reference": "urn:uuid:5b0a7e56-0000-4000-8000-000000000003"}, "for": consent["patient"], "authoredOn": "2019-12-24", "requester": obj{"reference": "Organization/" + c.hospital},
		"owner":       obj{"reference": "Organization/" + c.nonprofit},
		"restriction": obj{"period": obj{"end": c.Clock.Now().AddDate(0, 0, 3).UTC().Format(time.RFC3339)}},
	})}}
	made := c.do(http.MethodPost, "", c.refers, text(t, bundle)).want(t, http.StatusOK)
	for i, kind := range []string{"Patient", "Consent", "ServiceRequest", "Task"} {
		location, _ := at(made.json, fmt.Sprintf("entry.%d.response.location", i)).(string)
		if status, _ := at(made.json, fmt.Sprintf("entry.%d.response.status", i)).(string); !strings.HasPrefix(status, "201") || !strings.Contains(location, kind+"/") {
			t.Errorf("entry %d: %s %s", i, status, location)
		}
	}
	again := c.do(http.MethodPost, "/Patient", c.refers, text(t, patient), "If-None-Exist", "identifier=urn:example:mrn|"+fmt.Sprint(at(patient, "identifier.0.value"))).want(t, http.StatusOK)

	// The owner asks what is new, with the request and the person.
	poll := "/Task?owner=Organization/" + c.nonprofit + "&status=requested&_include=Task:focus&_include=Task:patient"
	found := c.get(poll, c.receives).want(t, http.StatusOK)
	if len(found.ids()) != 1 || len(found.resources("include")) != 2 {
		t.Fatalf("poll: %s", found.body)
	}
	id := found.ids()[0]
	work := found.resources("match")[0]
	expect(t, "Task", work, obj{
		"status": "requested", "priority": "urgent", "focus.reference": "ServiceRequest/" + id, "owner.reference": "Organization/" + c.nonprofit,
		"requester.reference": "Organization/" + c.hospital, "for.reference": "Patient/" + fmt.Sprint(again.json["id"]), "businessStatus.coding.0.code": "sent",
	})
	for _, in := range found.resources("include") {
		switch in["resourceType"] {
		case "Patient":
			expect(t, "Patient", in, obj{"name.0.family": "Quetzalcanary", "telecom.0.value": "+18165550177", "identifier": nil, "birthDate": nil})
		case "ServiceRequest":
			expect(t, "ServiceRequest", in, obj{"reasonCode": nil, "code.coding.0.code": "711281004", "extension.0.url": ownURLs + "answer-by", "extension.1": nil}) // clinical data are not shared
		}
	}

	accepted := c.step(c.receives, id, obj{"status": "accepted", "identifier": list{obj{"type": coding("http://terminology.hl7.org/CodeSystem/v2-0203", "FILL"), "value": "F-9"}}}).want(t, http.StatusOK)
	if was, is := fmt.Sprint(at(work, "meta.lastUpdated")), fmt.Sprint(at(accepted.json, "meta.lastUpdated")); is < was || at(accepted.json, "meta.versionId") == at(work, "meta.versionId") {
		t.Errorf("accepted at %s, after %s: %s", is, was, accepted.body)
	}
	expect(t, "accepted", accepted.json, obj{"status": "accepted", "identifier.0.value": "F-9", "output.0.valueReference.reference": "HealthcareService/" + c.group})
	if seen := c.get("/Task/"+id, c.refers).want(t, http.StatusOK); seen.json["status"] != "accepted" {
		t.Errorf("the hospital sees %s", seen.body)
	}
	c.step(c.receives, id, obj{"status": "in-progress", "output": list{output("session-time", obj{"valueDateTime": c.Clock.Now().AddDate(0, 0, 2).UTC().Format(time.RFC3339)})}}).want(t, http.StatusOK)
	done := c.step(c.receives, id, obj{"status": "completed", "output": list{
		output("helped", obj{"valueCodeableConcept": coding(ownCodes+"helped", "yes")}), output("distress-after", obj{"valueInteger": 2}), output("note", obj{"valueString": "She made friends."}),
	}}).want(t, http.StatusOK)
	if done.json["status"] != "completed" {
		t.Errorf("completed: %s", done.body)
	}
	closed := c.get("/ServiceRequest?_id="+id+"&_revinclude=Task:focus&_revinclude=Provenance:target", c.refers).want(t, http.StatusOK)
	expect(t, "ServiceRequest", closed.resources("match")[0], obj{"status": "completed", "reasonCode.0.coding.0.code": "Z85.3", "extension.0.valueInteger": 5})
	var actions []string
	for _, in := range closed.resources("include") {
		if in["resourceType"] == "Provenance" {
			actions = append(actions, fmt.Sprint(at(in, "activity.coding.0.code")))
		} else if out := text(t, in["output"]); !strings.Contains(out, "She made friends.") || !strings.Contains(out, `"valueInteger":-3`) {
			t.Errorf("the outcome: %s", out)
		}
	}
	if got := strings.Join(actions, " "); got != "send accept schedule complete" {
		t.Errorf("steps: %s", got)
	}

	// Each version is there as it was.
	history := c.get("/Task/"+id+"/_history", c.refers).want(t, http.StatusOK)
	var states []string
	for _, v := range history.resources("") {
		states = append(states, fmt.Sprint(v["status"]))
		version := fmt.Sprint(at(v, "meta.versionId"))
		if was := c.get("/Task/"+id+"/_history/"+version, c.refers).want(t, http.StatusOK); was.json["status"] != v["status"] || at(was.json, "meta.versionId") != version {
			t.Errorf("version %s: %s", version, was.body)
		}
	}
	if got := strings.Join(states, " "); got != "completed in-progress accepted requested" {
		t.Errorf("history: %s", got)
	}
	c.get("/Task/"+id+"/_history/99", c.refers).want(t, http.StatusNotFound)
	stranger := token("organizations/"+c.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Ola"}), "SDOHCC", "system/*.cruds")
	for _, path := range []string{"/Task/" + id, "/ServiceRequest/" + id, "/Consent/" + id, "/Task/" + id + "/_history", "/Patient/" + fmt.Sprint(again.json["id"]), "/Provenance/" + id + "-1"} {
		c.get(path, stranger).want(t, http.StatusNotFound)
	}
	if got := c.get("/Task?_id="+id, stranger).want(t, http.StatusOK).ids(); len(got) != 0 {
		t.Errorf("a stranger finds %v", got)
	}
}

// What is shown follows the consent: it is read, narrowed and withdrawn as a Consent, with its version.
func testConsent(t *testing.T, c *care) {
	id := fmt.Sprint(c.post(c.refers, c.request("active"))["id"])
	whole := c.get("/Consent/"+id, c.refers).want(t, http.StatusOK)
	expect(t, "Consent", whole.json, obj{"status": "active", "sourceAttachment.title": "form 12", "provision.actor.0.reference.reference": "Organization/" + c.nonprofit})
	if codes, _ := at(whole.json, "provision.code").([]any); len(codes) != 5 {
		t.Errorf("without a provision all is shared: %s", whole.body)
	}
	expect(t, "before", c.get("/ServiceRequest/"+id, c.receives).json, obj{"reasonCode.0.coding.0.code": "Z85.3"})
	narrow := whole.json
	narrow["provision"] = obj{"type": "permit", "code": list{coding(ownCodes+"consent-item", "name")}}
	c.put(c.receives, narrow).want(t, http.StatusForbidden)
	c.put(c.refers, narrow, "If-Match", `W/"7"`).want(t, http.StatusPreconditionFailed)
	narrowed := c.put(c.refers, narrow, "If-Match", whole.Header.Get("ETag")).want(t, http.StatusOK)
	if narrowed.Header.Get("ETag") == whole.Header.Get("ETag") {
		t.Error("the version stays the same")
	}
	expect(t, "narrowed", c.get("/ServiceRequest/"+id, c.receives).json, obj{"reasonCode": nil})
	gone := narrowed.json
	gone["status"] = "inactive"
	expect(t, "withdrawn", c.put(c.refers, gone).want(t, http.StatusOK).json, obj{"status": "inactive", "provision.type": "deny"})
	person := fmt.Sprint(at(c.get("/ServiceRequest/"+id, c.refers).json, "subject.reference"))
	if seen := c.get("/"+person, c.receives); seen.StatusCode == http.StatusOK && seen.json["name"] != nil {
		t.Errorf("after it is withdrawn the owner sees %s", seen.body)
	}
	if got := c.get("/Consent/"+id+"/_history", c.refers).want(t, http.StatusOK).resources(""); len(got) != 3 {
		t.Errorf("%d versions", len(got))
	}
	if got := c.get("/Consent?patient="+person, c.refers).want(t, http.StatusOK).ids(); !slices.Equal(got, []string{id}) {
		t.Errorf("found %v", got)
	}
}

// SDOHCC says who sets which status: each other party is told no, and what does not follow, too.
func testSetters(t *testing.T, c *care) {
	for _, s := range []struct {
		status  string
		by      string
		changes obj
		want    int
	}{
		{"ready", c.receives, nil, http.StatusUnprocessableEntity},
		{"received", c.receives, nil, http.StatusUnprocessableEntity},
		{"accepted", c.refers, nil, http.StatusForbidden},
		{"rejected", c.refers, obj{"statusReason": obj{"text": "no"}}, http.StatusForbidden},
		{"completed", c.refers, nil, http.StatusForbidden},
		{"in-progress", c.refers, nil, http.StatusForbidden},
		{"in-progress", c.receives, nil, http.StatusUnprocessableEntity}, // not accepted yet
		{"draft", c.refers, nil, http.StatusForbidden},
		{"requested", c.receives, nil, http.StatusOK}, // as it is
		{"accepted", c.receives, obj{"owner": obj{"reference": "Organization/" + c.hospital}}, http.StatusUnprocessableEntity},
		{"accepted", c.receives, obj{"focus": obj{"reference": "ServiceRequest/" + c.group}}, http.StatusUnprocessableEntity},
		{"accepted", c.receives, obj{"priority": "stat"}, http.StatusUnprocessableEntity},
		{"accepted", c.receives, obj{"input": list{obj{"type": obj{"text": "x"}, "valueString": "y"}}}, http.StatusUnprocessableEntity},
		{"accepted", c.receives, nil, http.StatusOK},
		{"rejected", c.receives, obj{"statusReason": coding(ownCodes+"reject-reason", "no-capacity")}, http.StatusOK},
		{"cancelled", c.refers, nil, http.StatusOK},
		{"requested", c.refers, nil, http.StatusOK},                                                    // as it is
		{"cancelled", c.receives, nil, http.StatusUnprocessableEntity},                                 // why?
		{"failed", c.receives, obj{"statusReason": obj{"text": "no"}}, http.StatusUnprocessableEntity}, // nothing has begun
		{"failed", c.refers, obj{"statusReason": obj{"text": "no"}}, http.StatusForbidden},
		{"on-hold", c.receives, obj{"statusReason": obj{"text": "in May"}}, http.StatusUnprocessableEntity},
		{"on-hold", c.refers, nil, http.StatusForbidden},
		{"entered-in-error", c.refers, nil, http.StatusUnprocessableEntity},
	} {
		id := fmt.Sprint(c.post(c.refers, c.request("active"))["id"])
		changes := obj{"status": s.status}
		for k, v := range s.changes {
			changes[k] = v
		}
		got := c.step(s.by, id, changes)
		who := map[string]string{c.refers: "requester", c.receives: "owner"}[s.by]
		if got.StatusCode != s.want {
			t.Errorf("%s by the %s with %v: %d, want %d: %s", s.status, who, s.changes, got.StatusCode, s.want, got.body)
		}
		if got.StatusCode == http.StatusOK && got.json["status"] != s.status {
			t.Errorf("%s by the %s: %s", s.status, who, got.body)
		}
	}
	rejected := fmt.Sprint(c.post(c.refers, c.request("active"))["id"])
	got := c.step(c.receives, rejected, obj{"status": "rejected", "statusReason": obj{"coding": list{obj{"system": ownCodes + "reject-reason", "code": "out-of-area"}}, "text": "She lives too far away."}}).want(t, http.StatusOK)
	expect(t, "rejected", got.json, obj{"statusReason.coding.0.code": "out-of-area", "statusReason.text": "She lives too far away."})
	expect(t, "its request", c.get("/ServiceRequest/"+rejected, c.refers).json, obj{"status": "active"})
	// Who has taken her on and gives up says so by either word of the guide; she is given back as who declined does, with the reason.
	for _, status := range []string{"cancelled", "failed"} {
		for _, taken := range []bool{false, true} {
			if status == "failed" && !taken {
				continue
			}
			id := fmt.Sprint(c.post(c.refers, c.request("active"))["id"])
			if taken {
				c.step(c.receives, id, obj{"status": "accepted"}).want(t, http.StatusOK)
				held := c.step(c.receives, id, obj{"status": "on-hold", "statusReason": obj{"text": "in May"}}).want(t, http.StatusUnprocessableEntity)
				if told := strings.Join(held.issues(), ""); !strings.Contains(told, "a group that is full") || !strings.Contains(told, "failed") {
					t.Errorf("on-hold: %s", told)
				}
				c.step(c.refers, id, obj{"status": "requested"}).want(t, http.StatusUnprocessableEntity)
				c.step(c.receives, id, obj{"status": status}).want(t, http.StatusUnprocessableEntity) // why?
			}
			got := c.step(c.receives, id, obj{"status": status, "statusReason": obj{"text": "Our only facilitator is ill."}}).want(t, http.StatusOK)
			expect(t, status, got.json, obj{"status": "rejected", "statusReason.coding.0.code": "other", "statusReason.text": "Our only facilitator is ill."})
			expect(t, "again", c.step(c.receives, id, obj{"status": status}).want(t, http.StatusOK).json, obj{"status": "rejected", "meta.versionId": at(got.json, "meta.versionId")})
			expect(t, "its request", c.get("/ServiceRequest/"+id, c.refers).json, obj{"status": "active"})
			c.step(c.refers, id, obj{"status": "cancelled"}).want(t, http.StatusUnprocessableEntity)
		}
	}
	withdrawn := c.get("/ServiceRequest/"+fmt.Sprint(c.post(c.refers, c.request("active"))["id"]), c.refers).json
	withdrawn["status"] = "revoked"
	c.put(c.receives, withdrawn).want(t, http.StatusForbidden)
	expect(t, "withdrawn", c.put(c.refers, withdrawn).want(t, http.StatusOK).json, obj{"status": "revoked"})
}

// A draft is changed and sent, by its ServiceRequest or by a Task; what was sent stays as it is.
func testDrafts(t *testing.T, c *care) {
	draft := c.post(c.refers, c.request("draft"))
	expect(t, "draft", draft, obj{"status": "draft"})
	id := fmt.Sprint(draft["id"])
	c.get("/Task/"+id, c.receives).want(t, http.StatusNotFound)
	draft["priority"] = "asap"
	draft["identifier"] = list{obj{"system": "urn:oid:1.2.3", "value": "7"}, obj{"type": coding(v2, "FILL"), "value": "8"}}
	if got := c.put(c.refers, draft).want(t, http.StatusUnprocessableEntity).issues(); len(got) != 1 || !strings.Contains(got[0], "ServiceRequest.identifier[1]") {
		t.Errorf("a number of the owner's: %v", got)
	}
	draft["identifier"] = list{obj{"system": "7", "value": "7"}}
	if got := c.put(c.refers, draft).want(t, http.StatusUnprocessableEntity).issues(); len(got) != 1 || !strings.Contains(got[0], "ServiceRequest.identifier.system") {
		t.Errorf("a system that is no URI: %v", got)
	}
	draft["identifier"] = list{obj{"type": coding(v2, "PLAC"), "system": "urn:oid:1.2.3", "value": "7"}}
	draft["reasonCode"] = list{coding("http://hl7.org/fhir/sid/icd-10-cm", "C50.911")}
	changed := c.put(c.refers, draft).want(t, http.StatusOK)
	expect(t, "changed", changed.json, obj{"status": "draft", "priority": "asap", "reasonCode.0.coding.0.code": "C50.911", "extension.0.valueInteger": 5,
		"identifier.0.system": "urn:oid:1.2.3", "identifier.0.value": "7", "identifier.0.type.coding.0.code": "PLAC"})
	expect(t, "the version before", c.get("/ServiceRequest/"+id+"/_history/1", c.refers).want(t, http.StatusOK).json, obj{"identifier": nil})
	expect(t, "the version now", c.get(fmt.Sprintf("/ServiceRequest/%s/_history/%v", id, at(changed.json, "meta.versionId")), c.refers).want(t, http.StatusOK).json, obj{"identifier.0.system": "urn:oid:1.2.3"})
	expect(t, "consent", c.get("/Consent/"+id, c.refers).json, obj{"status": "active", "sourceAttachment.title": "form 12"})
	sent := changed.json
	sent["status"] = "active"
	c.put(c.refers, sent, "If-Match", `W/"1"`).want(t, http.StatusPreconditionFailed)
	expect(t, "sent", c.put(c.refers, sent, "If-Match", changed.Header.Get("ETag")).want(t, http.StatusOK).json, obj{"status": "active"})
	expect(t, "its task", c.get("/Task/"+id, c.receives).json, obj{"status": "requested", "priority": "asap"})
	sent["priority"] = "routine"
	if late := c.put(c.refers, sent).want(t, http.StatusUnprocessableEntity); !strings.Contains(strings.Join(late.issues(), ""), "withdraw") {
		t.Errorf("a change after it was sent: %v", late.issues())
	}

	other := fmt.Sprint(c.post(c.refers, c.request("draft"))["id"])
	task := obj{"resourceType": "Task", "status": "requested", "intent": "order", "priority": "stat", "focus": obj{"reference": "ServiceRequest/" + other}, "owner": obj{"reference": "HealthcareService/" + c.group}}
	expect(t, "a Task sends it", c.post(c.refers, task), obj{"status": "requested", "id": other, "priority": "stat"})
	twice := c.do(http.MethodPost, "/Task", c.refers, text(t, task)).want(t, http.StatusConflict)
	if !strings.Contains(strings.Join(twice.issues(), ""), "Task/"+other) {
		t.Errorf("a second Task: %v", twice.issues())
	}
}

// v2 is the code system of types of identifiers.
const v2 = "http://terminology.hl7.org/CodeSystem/v2-0203"

// The searches of a closed loop find what they name, and nothing else.
func testReferralSearch(t *testing.T, c *care) {
	one := c.request("active")
	one["identifier"] = list{obj{"system": "urn:oid:1.2.840", "value": "ORD-1"}}
	a := c.post(c.refers, one)
	b := c.post(c.refers, c.request("active"))
	idA, idB := fmt.Sprint(a["id"]), fmt.Sprint(b["id"])
	c.step(c.receives, idB, obj{"status": "accepted", "identifier": list{obj{"type": coding(v2, "FILL"), "system": "urn:x:theirs", "value": "ORD-1"}}}).want(t, http.StatusOK)
	since := fmt.Sprint(at(c.get("/Task/"+idA, c.refers).json, "meta.lastUpdated"))
	person := fmt.Sprint(at(a, "subject.reference"))
	number := at(one, "contained.0.identifier.0.value")
	for path, want := range map[string][]string{
		"/Task":                             {idA, idB},
		"/Task?status=requested":            {idA},
		"/Task?status=accepted,requested":   {idA, idB},
		"/Task?status=failed":               {},
		"/Task?business-status=accepted":    {idB},
		"/Task?patient=" + person:           {idA},
		"/Task?focus=ServiceRequest/" + idB: {idB},
		"/Task?focus:ServiceRequest.subject.identifier=urn:example:mrn|" + fmt.Sprint(number): {idA},
		"/Task?patient.identifier=" + fmt.Sprint(number):                                      {idA},
		"/Task?requester=Organization/" + c.hospital:                                          {idA, idB},
		"/Task?requester=Organization/" + c.nonprofit:                                         {},
		"/Task?_lastUpdated=lt2020":                                                           {},
		"/Task?_lastUpdated=gt" + since:                                                       {idB},
		"/Task?priority=http://hl7.org/fhir/request-priority|routine":                         {idA, idB},
		"/Task?priority=stat,urn:x|routine":                                                   {},
		"/Task?priority=http://hl7.org/fhir/request-priority|":                                {idA, idB},
		"/Task?code=fulfill&priority=routine":                                                 {idA, idB},
		"/ServiceRequest?identifier=ORD-1":                                                    {idA, idB},
		"/ServiceRequest?identifier=urn:x|ORD-1":                                              {},
		"/ServiceRequest?identifier=|ORD-1":                                                   {},
		"/ServiceRequest?identifier=urn:oid:1.2.840|ORD-1":                                    {idA},
		"/Task?identifier=urn:oid:1.2.840|":                                                   {idA},
		"/Task?identifier=urn:x:theirs|ORD-1":                                                 {idB},
		"/Task?identifier=ORD-1":                                                              {idA, idB},
		"/Task?identifier:of-type=" + v2 + "|PLAC|ORD-1":                                      {idA},
		"/Task?identifier:of-type=" + v2 + "|PLAC|ORD-1," + v2 + "|FILL|ORD-1":                {idA, idB},
		"/ServiceRequest?status=active&performer=HealthcareService/" + c.group:                {idA, idB},
		"/ServiceRequest?performer=Organization/" + c.hospital:                                {},
		"/ServiceRequest?reason-code=http://hl7.org/fhir/sid/icd-10-cm|Z85.3":                 {idA, idB},
		"/ServiceRequest?authored=ge2020&subject.identifier=" + fmt.Sprint(number):            {idA},
		"/ServiceRequest?status=http://hl7.org/fhir/request-status|active":                    {idA, idB},
		"/ServiceRequest?status=urn:x|active":                                                 {},
		"/Task?status=http://hl7.org/fhir/task-status|accepted":                               {idB},
		"/Task?status=urn:x|accepted":                                                         {},
		"/Task?business-status=3.0,sent":                                                      {idA, idB},
		"/Task?business-status=" + ownURLs + "referral-state|3.0":                             {},
		"/Task?business-status=nonsense-that-is-longer-than-a-code":                           {},
	} {
		got := c.get(path, c.refers).want(t, http.StatusOK).ids()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s finds %v, want %v", path, got, want)
		}
	}
	for _, wrong := range []string{"PLAC|ORD-1", v2 + "|MR|ORD-1", v2 + "|PLAC|", "urn:x|PLAC|ORD-1"} {
		c.get("/Task?identifier:of-type="+wrong, c.refers).want(t, http.StatusBadRequest)
	}
	counted := c.get("/Task?_summary=count", c.refers).want(t, http.StatusOK)
	if fmt.Sprint(counted.json["total"]) != "2" {
		t.Errorf("count: %s", counted.body)
	}
	first := c.get("/Task?_count=1&_sort=_lastUpdated", c.refers).want(t, http.StatusOK)
	second := c.get(first.link("next"), c.refers).want(t, http.StatusOK)
	if got := append(first.ids(), second.ids()...); !slices.Equal(got, []string{idA, idB}) {
		t.Errorf("pages: %v", got)
	}
}

// A code that no Task has is no search that finds nothing.
func testSearchedByNoCode(t *testing.T, c *care) {
	for path, says := range map[string]string{
		"/Task?status=requested,foo":                       "in-progress",
		"/Task?status=http://hl7.org/fhir/task-status|foo": "in-progress",
		"/Task?priority=soon":                              "routine",
		"/ServiceRequest?status=requested":                 "revoked",
		"/ServiceRequest?priority=STAT":                    "routine",
		"/Appointment?status=done":                         "fulfilled",
		"/Slot?status=open&schedule=Schedule/" + c.group:   "busy-unavailable",
	} {
		name, _, _ := strings.Cut(path[strings.IndexByte(path, '?')+1:], "=")
		if got := c.get(path, c.refers).issues(); len(got) != 1 || !strings.HasPrefix(got[0], "code-invalid http."+name+": ") || !strings.Contains(got[0], says) {
			t.Errorf("%s: %v", path, got)
		}
	}
	for _, path := range []string{"/Task?status=ready", "/Task?status=urn:x|requested", "/ServiceRequest?status=on-hold,unknown", "/Appointment?status=arrived"} {
		c.get(path, c.refers).want(t, http.StatusOK)
	}
}

// Who refers asks somebody else while nobody has answered, and refers again what was declined; both are linked.
func testElsewhere(t *testing.T, c *care) {
	other := c.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Ola"})
	elsewhere := token("organizations/"+other, "SDOHCC", "system/*.cruds")
	id := fmt.Sprint(c.post(c.refers, c.request("active"))["id"])
	c.step(c.receives, id, obj{"owner": obj{"reference": "Organization/" + other}}).want(t, http.StatusUnprocessableEntity)
	given := c.step(c.refers, id, obj{"owner": obj{"reference": "Organization/" + other}}).want(t, http.StatusOK)
	expect(t, "given to another", given.json, obj{"status": "requested", "owner.reference": "Organization/" + other})
	c.get("/Task/"+id, c.receives).want(t, http.StatusNotFound)
	c.step(elsewhere, id, obj{"status": "rejected", "statusReason": coding(ownCodes+"reject-reason", "no-capacity")}).want(t, http.StatusOK)

	again := c.get("/ServiceRequest/"+id, c.refers).want(t, http.StatusOK).json
	delete(again, "id")
	consent := c.agreed("name", "clinical")
	consent["id"], consent["patient"] = "c", again["subject"]
	again["contained"], again["supportingInfo"] = list{consent}, list{obj{"reference": "#c"}}
	again["status"], again["replaces"], again["performer"] = "active", list{obj{"reference": "ServiceRequest/" + id}}, list{obj{"reference": "HealthcareService/" + c.group}}
	changed := obj{}
	for k, v := range again {
		changed[k] = v
	}
	changed["reasonCode"] = list{coding("http://hl7.org/fhir/sid/icd-10-cm", "C61")}
	refused := c.do(http.MethodPost, "/ServiceRequest", c.refers, text(t, changed)).want(t, http.StatusUnprocessableEntity)
	if got := refused.issues(); len(got) != 1 || !strings.HasPrefix(got[0], "business-rule ServiceRequest.replaces") {
		t.Errorf("other reasons: %v", got)
	}
	made := c.post(c.refers, again)
	expect(t, "referred again", made, obj{"status": "active", "replaces.0.reference": "ServiceRequest/" + id, "reasonCode.0.coding.0.code": "Z85.3"})
	expect(t, "its Task", c.get("/Task/"+fmt.Sprint(made["id"]), c.receives).json, obj{"status": "requested", "owner.reference": "Organization/" + c.nonprofit})
}

// The hospital is told of help at once where distress is high, and of another open referral of the same person for the same.
func testTold(t *testing.T, c *care) {
	request := c.request("active")
	request["extension"] = list{obj{"url": ownURLs + "distress", "valueInteger": 9}}
	first := c.post(c.refers, request)
	if got := text(t, first["extension"]); !strings.Contains(got, "crisis-resource") {
		t.Errorf("distress 9: %s", got)
	}
	if got := text(t, c.get("/ServiceRequest/"+fmt.Sprint(first["id"]), c.receives).json["extension"]); strings.Contains(got, "crisis-resource") {
		t.Errorf("to the owner: %s", got)
	}
	second := c.post(c.refers, request)
	if got := text(t, second["extension"]); !strings.Contains(got, "ServiceRequest/"+fmt.Sprint(first["id"])) {
		t.Errorf("the same again: %s", got)
	}
	if second["status"] = "revoked"; c.put(c.refers, second).want(t, http.StatusOK).json["status"] != "revoked" {
		t.Error("what is told comes back as a change")
	}
	both := c.get("/Patient?_id="+strings.TrimPrefix(fmt.Sprint(at(first, "subject.reference")), "Patient/")+"&_revinclude=ServiceRequest:subject&_revinclude=Task:patient", c.refers).want(t, http.StatusOK)
	if got := both.resources("include"); len(got) != 4 {
		t.Errorf("%d resources refer to her: %s", len(got), both.body)
	}
}

// A person is one record, found again by any number of hers, created once however many ask at the same time.
func testParts(t *testing.T, c *care) {
	person := c.person()
	query := "identifier=urn:example:mrn|" + fmt.Sprint(at(person, "identifier.0.value"))
	ids := make([]string, 8)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			got := c.do(http.MethodPost, "/Patient", c.refers, text(t, person), "If-None-Exist", query)
			if got.StatusCode != http.StatusOK && got.StatusCode != http.StatusCreated {
				t.Errorf("conditional create: %d %s", got.StatusCode, got.body)
			}
			ids[i] = fmt.Sprint(got.json["id"])
		})
	}
	group.Wait()
	if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 1 {
		t.Errorf("made twice: %v", ids)
	}
	c.do(http.MethodPost, "/Patient", c.refers, text(t, person)).want(t, http.StatusConflict)
	found := c.do(http.MethodPost, "/Patient/_search", c.refers, query, "Content-Type", "application/x-www-form-urlencoded").want(t, http.StatusOK)
	if got := found.ids(); !slices.Equal(got, ids[:1]) {
		t.Errorf("found %v, want %v", got, ids[:1])
	}
	if got := c.get("/Patient?"+query, c.receives).want(t, http.StatusOK).ids(); len(got) != 0 {
		t.Errorf("another organization finds %v by her number", got)
	}
	her := c.get("/Patient/"+ids[0], c.refers).want(t, http.StatusOK)
	her.json["telecom"] = list{obj{"system": "email", "value": "x@example.org", "rank": 1}}
	c.put(c.refers, her.json, "If-Match", `W/"99"`).want(t, http.StatusPreconditionFailed)
	expect(t, "changed", c.put(c.refers, her.json, "If-Match", her.Header.Get("ETag")).want(t, http.StatusOK).json, obj{"telecom.0.value": "x@example.org", "telecom.1": nil})

	reads := token("organizations/"+c.hospital, "SDOHCC", "system/Task.rs system/ServiceRequest.r")
	c.do(http.MethodPost, "/ServiceRequest", reads, text(t, c.request("active"))).want(t, http.StatusForbidden)
	c.get("/Patient/"+ids[0], reads).want(t, http.StatusForbidden)
	c.get("/Task", reads).want(t, http.StatusOK)
	c.get("/Task?_include=Task:patient", reads).want(t, http.StatusForbidden)
	c.get("/Task", "").want(t, http.StatusUnauthorized)
}

// Who asks again and again for what has changed since the last change that she has read misses none, however many change things meanwhile.
func testPolling(t *testing.T, c *care) {
	const writers, each = 4, 6
	written := make(chan string, writers*each*2)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				made := c.do(http.MethodPost, "/ServiceRequest", c.refers, text(t, c.request("active")))
				if made.StatusCode != http.StatusCreated {
					t.Errorf("refer: %d %s", made.StatusCode, made.body)
					return
				}
				id := fmt.Sprint(made.json["id"])
				written <- id + " " + fmt.Sprint(at(made.json, "meta.versionId"))
				withdrawn := made.json
				withdrawn["status"] = "revoked"
				if gone := c.put(c.refers, withdrawn); gone.StatusCode == http.StatusOK {
					written <- id + " " + fmt.Sprint(at(gone.json, "meta.versionId"))
				} else {
					t.Errorf("withdraw: %d %s", gone.StatusCode, gone.body)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	seen, last := map[string]string{}, "2000-01-01"
	poll := func() (found int) {
		next := "/Task?requester=Organization/" + c.hospital + "&_count=5&_sort=_lastUpdated&_lastUpdated=gt" + last
		for next != "" {
			page := c.get(next, c.refers).want(t, http.StatusOK)
			for _, task := range page.resources("match") {
				changed := fmt.Sprint(at(task, "meta.lastUpdated"))
				if changed < last {
					t.Errorf("after %s comes %s", last, changed)
				}
				seen[fmt.Sprint(task["id"])], last = fmt.Sprint(at(task, "meta.versionId")), changed
				found++
			}
			next = page.link("next")
		}
		return found
	}
	for writing := true; writing; {
		poll()
		select {
		case <-done:
			writing = false
		default:
		}
	}
	close(written)
	want := map[string]string{}
	for w := range written {
		id, version, _ := strings.Cut(w, " ")
		if old, ok := want[id]; !ok || len(old) < len(version) || old < version {
			want[id] = version
		}
	}
	deadline := time.Now().Add(time.Minute) // what is settled lags behind the oldest transaction of the machine
	for !maps.Equal(seen, want) && time.Now().Before(deadline) {
		poll()
	}
	if !maps.Equal(seen, want) {
		t.Errorf("polling saw %v, written were %v", seen, want)
	}
}
