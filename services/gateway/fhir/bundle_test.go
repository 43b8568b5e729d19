package fhir_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/gateway/fhir"
	"cairn.care/services/internal/fhirtest"
)

// bundle is a Bundle of entries.
func bundle(kind string, entries ...obj) obj {
	b := obj{"resourceType": "Bundle", "type": kind, "entry": list{}}
	for _, e := range entries {
		b["entry"] = append(b["entry"].(list), e) //nolint:forcetypeassert // made above
	}
	return b
}

// does is an entry; resource may be nil.
func does(method, url string, resource obj, more ...obj) obj {
	e := obj{"request": obj{"method": method, "url": url}}
	if resource != nil {
		e["resource"] = resource
	}
	for _, m := range more {
		for k, v := range m {
			if k == "fullUrl" {
				e[k] = v
				continue
			}
			e["request"].(obj)[k] = v //nolint:forcetypeassert // made above
		}
	}
	return e
}

func (c *care) send(bearer string, b obj, headers ...string) *reply {
	c.t.Helper()
	return c.do(http.MethodPost, "", bearer, text(c.t, b), headers...)
}

// statuses are the status of each entry of an answer.
func statuses(r *reply) string {
	var out []string
	entries, _ := r.json["entry"].([]any)
	for _, e := range entries {
		s, _ := at(e, "response.status").(string)
		code, _, _ := strings.Cut(s, " ")
		out = append(out, code)
	}
	return strings.Join(out, " ")
}

// TestWriting runs what concerns writes and bundles in one Cairn, each with organizations of its own.
func TestWriting(t *testing.T) {
	t.Parallel()
	s := setupCare(t).site
	for name, run := range map[string]func(*testing.T, *care){
		"batch": testBatch, "a transaction is one referral": testTransaction, "all or nothing": testAllOrNothing, "found and resolved": testResolved, "again": testRepeated, "relative references": testRelative, "sent whole": testSentWhole, "writes": testWrites, "personal searches": testPersonalSearch,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newCare(t, s))
		})
	}
	t.Run("too much", func(t *testing.T) {
		t.Parallel()
		c := newCare(t, s)
		for range 20 { // two organizations each
			newCare(t, s)
		}
		testTooMuch(t, c)
	})
}

// testTooMuch searches so often in one batch that its answer would have no end.
func testTooMuch(t *testing.T, c *care) {
	var entries []obj
	for range 100 {
		entries = append(entries, does("GET", "Organization?_count=100", nil))
	}
	r := c.send(c.refers, bundle("batch", entries...)).want(t, http.StatusOK)
	said := strings.Fields(statuses(r))
	if len(said) != len(entries) || said[0] != "200" || !slices.Contains(said, "413") || !strings.Contains(string(r.body), "too-costly") {
		t.Errorf("want the first searches answered and the last refused, got %v", said)
	}
}

// testBatch mixes what works and what does not: each entry is answered by itself, in the order in which it came, but writes come before reads.
func testBatch(t *testing.T, c *care) {
	person := c.person()
	identifier := at(person, "identifier.0.system").(string) + "|" + at(person, "identifier.0.value").(string) //nolint:forcetypeassert // a text
	r := c.send(c.refers, bundle("batch",
		does("GET", "Patient?identifier="+identifier, nil),
		does("POST", "Patient", person),
		does("POST", "Patient", obj{"resourceType": "Patient", "colour": "red"}),
		does("GET", "HealthcareService/"+c.group, nil),
		does("GET", "HealthcareService/"+uuid.NewString(), nil),
		does("GET", "Claim/1", nil),
		does("POST", "HealthcareService", obj{"resourceType": "HealthcareService"}),
		does("PATCH", "Patient/1", nil),
		does("PUT", "Patient/"+uuid.NewString(), obj{"resourceType": "Patient", "id": "another"}),
		does("DELETE", "Patient/1", nil),
		obj{"resource": obj{"resourceType": "Patient"}},
		does("POST", "Patient", nil),
		does("POST", "Patient", obj{"resourceType": "Task", "status": "draft", "intent": "order"}),
	)).want(t, http.StatusOK)
	if got, want := statuses(r), "200 201 400 200 404 400 400 400 400 400 400 400 400"; got != want {
		t.Fatalf("the entries are answered %s, want %s: %s", got, want, r.body)
	}
	expect(t, "the batch", r.json, obj{
		"type": "batch-response", "entry.0.resource.type": "searchset", "entry.0.resource.entry.0.resource.resourceType": "Patient", "entry.1.response.etag": `W/"1"`, "entry.1.resource.resourceType": "Patient",
		"entry.2.response.outcome.issue.0.expression.0": "Bundle.entry[2].resource.colour", "entry.3.resource.name": "Camino", "entry.5.response.outcome.issue.0.expression.0": "Bundle.entry[5].request.url",
	})
	if r := c.send(c.refers, bundle("batch", does("POST", "Patient", c.person())), "Prefer", "return=minimal").want(t, http.StatusOK); at(r.json, "entry.0.resource") != nil || at(r.json, "entry.0.response.location") == nil {
		t.Errorf("return=minimal: %s", r.body)
	}
	told := c.send(c.refers, bundle("batch", does("POST", "Patient", c.person())), "Prefer", "return=OperationOutcome").want(t, http.StatusOK)
	expect(t, "return=OperationOutcome", told.json, obj{"entry.0.resource": nil, "entry.0.response.outcome.resourceType": "OperationOutcome", "entry.0.response.outcome.issue.0.severity": "information"})
	reader := token("organizations/"+c.hospital, "SDOHCC", "system/Patient.s")
	if got := statuses(c.send(reader, bundle("batch", does("POST", "Patient", c.person()), does("GET", "Patient?identifier="+identifier, nil))).want(t, http.StatusOK)); got != "403 200" {
		t.Errorf("with a scope to search alone: %s", got)
	}
	c.send("", bundle("batch", does("GET", "HealthcareService?_count=1", nil))).want(t, http.StatusUnauthorized)
	many := make([]obj, 101)
	for i := range many {
		many[i] = does("GET", "Patient/1", nil)
	}
	c.send(c.refers, bundle("batch", many...)).want(t, http.StatusRequestEntityTooLarge)
}

// parts are the entries of a referral, each with a fullUrl of its own: Patient, Consent, ServiceRequest and Task, in that order.
func (c *care) parts() []obj {
	url := func() string { return "urn:uuid:" + uuid.NewString() }
	patient, consent, request, task := url(), url(), url(), url()
	sr, agreed := c.request("active"), c.agreed()
	delete(sr, "contained")
	agreed["patient"], sr["subject"], sr["supportingInfo"] = obj{"reference": patient}, obj{"reference": patient}, list{obj{"reference": consent}}
	return []obj{
		does("POST", "Patient", c.person(), obj{"fullUrl": patient}),
		does("POST", "Consent", agreed, obj{"fullUrl": consent}),
		does("POST", "ServiceRequest", sr, obj{"fullUrl": request}),
		does("POST", "Task", obj{"resourceType": "Task", "status": "requested", "intent": "order", "code": coding("http://hl7.org/fhir/CodeSystem/task-code", "fulfill"),
			"focus": obj{"reference": request}, "for": obj{"reference": patient}, "owner": obj{"reference": "Organization/" + c.nonprofit}}, obj{"fullUrl": task}),
	}
}

func testTransaction(t *testing.T, c *care) {
	p := c.parts()
	r := c.send(c.refers, bundle("transaction", p[3], p[2], does("GET", "HealthcareService/"+c.group, nil), p[1], p[0])).want(t, http.StatusOK)
	if got := statuses(r); got != "201 201 200 201 201" {
		t.Fatalf("the entries are answered %s: %s", got, r.body)
	}
	expect(t, "the transaction", r.json, obj{
		"type": "transaction-response", "entry.0.resource.resourceType": "Task", "entry.0.resource.status": "requested", "entry.1.resource.resourceType": "ServiceRequest",
		"entry.2.resource.name": "Camino", "entry.3.resource.resourceType": "Consent", "entry.4.resource.resourceType": "Patient",
	})
	id := at(r.json, "entry.1.resource.id")
	if id == nil || at(r.json, "entry.0.resource.id") != id || at(r.json, "entry.3.resource.id") != id || at(r.json, "entry.0.resource.focus.reference") != fmt.Sprint("ServiceRequest/", id) ||
		at(r.json, "entry.1.resource.subject.reference") != fmt.Sprint("Patient/", at(r.json, "entry.4.resource.id")) {
		t.Errorf("the parts do not belong together: %s", r.body)
	}
}

// testAllOrNothing sends transactions of which a part cannot be: nothing of them is done.
func testAllOrNothing(t *testing.T, c *care) {
	change := func(i int, name string, v any) []obj {
		p := c.parts()
		body := p[i]["resource"].(obj) //nolint:forcetypeassert // made so
		if body[name] = v; v == nil {
			delete(body, name)
		}
		return p
	}
	two := append(c.parts(), c.parts()...)
	twice := c.parts()
	twice[1]["fullUrl"] = twice[0]["fullUrl"]
	for name, tt := range map[string]struct {
		entries []obj
		code    int
		issue   string
	}{
		"two referrals":                 {two, 422, "not-supported Bundle.entry[2].request"},
		"a stranger's patient":          {change(2, "subject", obj{"reference": "urn:uuid:" + uuid.NewString()}), 422, "not-found Bundle.entry[2].resource.subject.reference"},
		"a patient who is not there":    {change(2, "subject", obj{"reference": "Patient/" + uuid.NewString()}), 422, ""},
		"no FHIR":                       {change(3, "status", "asked"), 422, "code-invalid Bundle.entry[3].resource.status"},
		"an element nobody understands": {change(1, "verification", list{obj{"verified": true}}), 422, "not-supported Bundle.entry[1].resource.verification"},
		"a read that finds nothing":     {append(c.parts(), does("GET", "HealthcareService/"+uuid.NewString(), nil)), 404, "not-found Bundle.entry[4].request"},
		"a scope that is not there":     {append(c.parts(), does("GET", "Claim/1", nil)), 400, "not-supported Bundle.entry[4].request.url"},
		"the same fullUrl twice":        {twice, 400, "duplicate Bundle.entry[1].fullUrl"},
		"a condition that several meet": {change(2, "performer", list{obj{"reference": "Organization?active=true"}}), 412, "multiple-matches Bundle.entry[2].resource.performer[0].reference"},
		"a condition that nobody meets": {change(2, "performer", list{obj{"reference": "Organization?name=nobody"}}), 412, "multiple-matches Bundle.entry[2].resource.performer[0].reference"},
		"a Practitioner for nothing":    {append(c.parts(), does("POST", "Practitioner", obj{"resourceType": "Practitioner"}, obj{"fullUrl": "urn:uuid:" + uuid.NewString()})), 422, "not-supported Bundle.entry[4].resource"},
		"a Task for nothing":            {change(3, "focus", nil), 422, "required Bundle.entry[3].resource.focus"},
		"a Task for another":            {change(3, "focus", obj{"reference": "ServiceRequest/x"}), 422, "value Bundle.entry[3].resource.focus"},
		"another consent":               {change(2, "supportingInfo", list{obj{"reference": "Consent/x"}}), 422, "not-supported Bundle.entry[2].resource.supportingInfo"},
	} {
		r := c.send(c.refers, bundle("transaction", tt.entries...))
		if strings.HasPrefix(name, "a Task for") && len(r.issues()) != 1 {
			t.Errorf("%s: %v", name, r.issues())
		}
		if r.StatusCode != tt.code || len(r.issues()) == 0 || !strings.HasPrefix(r.issues()[0], tt.issue) {
			t.Errorf("%s: %d %v, want %d %q", name, r.StatusCode, r.issues(), tt.code, tt.issue)
		}
	}
	for _, kind := range []string{"ServiceRequest", "Task"} {
		if found := c.get("/"+kind, c.refers).want(t, http.StatusOK).ids(); len(found) != 0 {
			t.Errorf("%d %s came of transactions that were refused", len(found), kind)
		}
	}
	weak := token("organizations/"+c.hospital, "SDOHCC", "system/ServiceRequest.cruds system/Patient.cruds system/Consent.cruds")
	c.send(weak, bundle("transaction", c.parts()...)).want(t, http.StatusForbidden)
}

// testResolved has references that lead to what is there already.
func testResolved(t *testing.T, c *care) {
	p := c.parts()
	person := p[0]["resource"].(obj) //nolint:forcetypeassert // made so
	there := c.post(c.refers, person)
	condition := "identifier=urn:example:mrn|" + at(person, "identifier.0.value").(string) //nolint:forcetypeassert // a text
	p[0]["request"].(obj)["ifNoneExist"] = condition                                       //nolint:forcetypeassert // made so
	r := c.send(c.refers, bundle("transaction", p...)).want(t, http.StatusOK)
	if got := statuses(r); got != "200 201 201 201" {
		t.Errorf("the entries are answered %s, want the patient found: %s", got, r.body)
	}
	expect(t, "ServiceRequest", at(r.json, "entry.2.resource"), obj{"subject.reference": fmt.Sprint("Patient/", there["id"])})

	p = c.parts()[1:]
	for _, e := range p {
		for _, element := range []string{"patient", "subject", "for"} {
			if resource := e["resource"].(obj); resource[element] != nil { //nolint:forcetypeassert // made so
				resource[element] = obj{"reference": "Patient?" + condition}
			}
		}
	}
	r = c.send(c.refers, bundle("transaction", p...)).want(t, http.StatusOK)
	expect(t, "ServiceRequest", at(r.json, "entry.1.resource"), obj{"subject.reference": fmt.Sprint("Patient/", there["id"])})

	// If-None-Exist of a single creation.
	again := c.do(http.MethodPost, "/Patient", c.refers, text(t, person), "If-None-Exist", condition).want(t, http.StatusOK)
	expect(t, "Patient", again.json, obj{"id": there["id"]})
	c.do(http.MethodPost, "/Patient", c.refers, text(t, c.person()), "If-None-Exist", "name=x").want(t, http.StatusBadRequest)
	c.do(http.MethodPost, "/Patient", c.refers, text(t, c.person()), "If-None-Exist", "").want(t, http.StatusCreated)
	c.do(http.MethodPost, "/ServiceRequest", c.refers, text(t, c.request("active")), "If-None-Exist", "status=active").want(t, http.StatusPreconditionFailed)
}

// testRepeated sends a transaction twice, as after an answer that was lost.
func testRepeated(t *testing.T, c *care) {
	b, key := bundle("transaction", c.parts()...), uuid.NewString()
	first := c.send(c.refers, b, "Idempotency-Key", key).want(t, http.StatusOK)
	second := c.send(c.refers, b, "Idempotency-Key", key).want(t, http.StatusOK)
	if a, b := at(first.json, "entry.2.resource.id"), at(second.json, "entry.2.resource.id"); a == nil || a != b {
		t.Errorf("the same transaction makes %v and %v", a, b)
	}
	c.send(c.refers, b, "Idempotency-Key", "again").want(t, http.StatusBadRequest)

	// What the first one created is found by the second one's condition.
	p := c.parts()
	p[0]["request"].(obj)["ifNoneExist"] = "identifier=urn:example:mrn|" + at(p[0], "resource.identifier.0.value").(string) //nolint:forcetypeassert // made so
	b, key = bundle("transaction", p...), uuid.NewString()
	first = c.send(c.refers, b, "Idempotency-Key", key).want(t, http.StatusOK)
	second = c.send(c.refers, b, "Idempotency-Key", key).want(t, http.StatusOK)
	if got := statuses(second); got != "201 201 201 201" || got != statuses(first) {
		t.Errorf("the first answer was %s, the second %s", statuses(first), got)
	}
	for i := range 4 {
		id := fmt.Sprintf("entry.%d.resource.id", i)
		if a, b := at(first.json, id), at(second.json, id); a == nil || a != b {
			t.Errorf("entry %d of the same transaction makes %v and %v", i, a, b)
		}
	}
	p[2]["resource"].(obj)["requester"] = obj{"display": "somebody else"} //nolint:forcetypeassert // made so
	other := c.send(c.refers, bundle("transaction", p...), "Idempotency-Key", key).want(t, http.StatusUnprocessableEntity)
	if len(other.issues()) != 1 || !strings.Contains(other.issues()[0], "Idempotency-Key was used for another request") {
		t.Errorf("another transaction with the key of one before: %v", other.issues())
	}
	again := c.do(http.MethodPost, "/ServiceRequest", c.refers, text(t, c.request("active")), "If-None-Exist", "identifier=1").want(t, http.StatusPreconditionFailed)
	if !strings.Contains(again.issues()[0], "Idempotency-Key") {
		t.Errorf("a conditional creation of a referral: %v", again.issues())
	}
}

// testRelative has references as a server writes them: relative to the fullUrl of their entry.
func testRelative(t *testing.T, c *care) {
	const server = "http://ehr.example/fhir/"
	p := c.parts()
	urls := map[any]string{}
	for i, name := range []string{"Patient/p1", "Consent/c1", "ServiceRequest/s1", "Task/t1"} {
		urls[p[i]["fullUrl"]] = name
		p[i]["fullUrl"] = server + name
	}
	for _, e := range p {
		body := e["resource"].(obj) //nolint:forcetypeassert // made so
		for _, element := range []string{"patient", "subject", "focus", "for"} {
			if name := urls[at(body, element+".reference")]; name != "" {
				body[element] = obj{"reference": name}
			}
		}
	}
	request := p[2]["resource"].(obj) //nolint:forcetypeassert // made so
	request["supportingInfo"] = list{obj{"reference": "Consent/c1"}}
	r := c.send(c.refers, bundle("transaction", p...)).want(t, http.StatusOK)
	if got := statuses(r); got != "201 201 201 201" {
		t.Fatalf("the entries are answered %s: %s", got, r.body)
	}
	expect(t, "ServiceRequest", at(r.json, "entry.2.resource"), obj{"subject.reference": fmt.Sprint("Patient/", at(r.json, "entry.0.resource.id"))})

	// Of another server, the same words mean something else.
	p = c.parts()
	p[1]["fullUrl"], p[2]["fullUrl"] = "http://other.example/fhir/Consent/c1", server+"ServiceRequest/s1"
	p[2]["resource"].(obj)["supportingInfo"] = list{obj{"reference": "Consent/c1"}}  //nolint:forcetypeassert // made so
	p[3]["resource"].(obj)["focus"] = obj{"reference": server + "ServiceRequest/s1"} //nolint:forcetypeassert // made so
	if r := c.send(c.refers, bundle("transaction", p...)).want(t, http.StatusUnprocessableEntity); !strings.Contains(r.issues()[0], "by the fullUrl of this entry") {
		t.Errorf("a Consent of another server: %v", r.issues())
	}
}

// testSentWhole sends a draft with changes: where it cannot be sent, they are not kept either.
func testSentWhole(t *testing.T, c *care) {
	draft := c.post(c.refers, c.request("draft"))
	at := "/ServiceRequest/" + fmt.Sprint(draft["id"])
	same := func(what string) {
		t.Helper()
		if now := c.get(at, c.refers).want(t, http.StatusOK); now.Header.Get("ETag") != `W/"1"` || now.json["status"] != "draft" {
			t.Errorf("%s: the draft is now %s", what, now.body)
		}
	}
	changed := c.get(at, c.refers).want(t, http.StatusOK).json
	changed["priority"], changed["status"], changed["performer"] = "urgent", "active", list{obj{"reference": "Organization/" + c.hospital}}
	c.put(c.refers, changed).want(t, http.StatusUnprocessableEntity)
	same("to a hospital")
	changed["status"] = "completed"
	if r := c.put(c.refers, changed).want(t, http.StatusUnprocessableEntity); !strings.Contains(r.issues()[0], "ServiceRequest.status") {
		t.Errorf("a draft that is completed: %v", r.issues())
	}
	same("completed")
	task := obj{"resourceType": "Task", "status": "requested", "intent": "order", "code": coding("http://hl7.org/fhir/CodeSystem/task-code", "fulfill"),
		"focus": obj{"reference": "ServiceRequest/" + fmt.Sprint(draft["id"])}, "for": draft["subject"], "owner": obj{"reference": "Organization/" + c.hospital}}
	c.do(http.MethodPost, "/Task", c.refers, text(t, task)).want(t, http.StatusUnprocessableEntity)
	same("by a Task for a hospital")
	changed["status"], changed["performer"] = "active", list{obj{"reference": "Organization/" + c.nonprofit}}
	sent := c.put(c.refers, changed, "If-Match", `W/"1"`).want(t, http.StatusOK)
	expect(t, "sent", sent.json, obj{"status": "active", "priority": "urgent", "performer.0.reference": "Organization/" + c.nonprofit})
	expect(t, "its Task", c.get("/Task/"+fmt.Sprint(draft["id"]), c.receives).want(t, http.StatusOK).json, obj{"status": "requested"})
}

// TestEveryEntryCounts sends a batch of more entries than the caller has calls left.
func TestEveryEntryCounts(t *testing.T) {
	t.Parallel()
	left := 2
	keys := auth.NewIdentities(clock.System{})
	f, err := fhir.New(fhir.Options{
		Peer: func(string) grpc.ClientConnInterface { return outOfReach{} }, PublicURL: "https://cairn.test", MaxBodyBytes: 1 << 20,
		Seal: func(plain []byte) (string, error) { return keys.Seal("page", plain) }, Open: func(sealed string) ([]byte, error) { return keys.Open("page", sealed) },
		Verify: func(ctx context.Context, bearer string) (auth.Principal, error) {
			if left--; left < 0 {
				return auth.Principal{}, &fault.Error{Code: codes.ResourceExhausted, Reason: "RATE_LIMITED", Message: "too often",
					Details: []protoadapt.MessageV1{&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)}}}
			}
			return verify(ctx, bearer)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	get := does("GET", "Location", nil)
	r := httptest.NewRequest(http.MethodPost, fhir.Root, strings.NewReader(text(t, bundle("batch", get, get, get))))
	r.Header.Set("Authorization", "Bearer "+token("organizations/0192d7a5-0000-7000-8000-00000000000a", "", "system/*.rs"))
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), `"code":"throttled"`) {
		t.Errorf("three entries with two calls left: %d %v %s", w.Code, w.Header(), w.Body)
	}
	fhirtest.Validate(t, w.Body.Bytes())
}
