package fhir_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// nobodys refers somebody to whoever claims it, and returns the id.
func (c *care) nobodys(edits ...func(obj)) string {
	c.t.Helper()
	request := c.request("active")
	delete(request, "performer")
	request["orderDetail"] = list{coding(ownCodes+"cancer-type", "lung")}
	for _, e := range edits {
		e(request)
	}
	return fmt.Sprint(c.post(c.refers, request)["id"])
}

// claimable returns the Tasks that a nonprofit may claim, those of ids.
func (c *care) claimable(bearer, query string, ids ...string) map[string]obj {
	c.t.Helper()
	found := map[string]obj{}
	for next := "/Task?owner:missing=true&" + query; next != ""; {
		page := c.get(next, bearer).want(c.t, http.StatusOK)
		for _, task := range page.resources("match") {
			if id := fmt.Sprint(task["id"]); slices.Contains(ids, id) {
				found[id] = task
			}
		}
		next = page.link("next")
	}
	return found
}

// What nobody owns is found by any nonprofit, without anything personal, and claimed by one; who comes late is told.
func testClaim(t *testing.T, c *care) {
	other := c.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Ola"})
	elsewhere := token("organizations/"+other, "SDOHCC", "system/*.cruds")
	id, second, third := c.nobodys(), c.nobodys(), c.nobodys()
	found := c.claimable(c.receives, "status=requested&_count=1", id, second, third)
	if len(found) != 3 {
		t.Fatalf("claimable: %v", found)
	}
	expect(t, "before the claim", found[id], obj{
		"status": "requested", "for": nil, "requester": nil, "owner": nil, "identifier": nil, "focus.reference": "ServiceRequest/" + id, "meta.versionId": 1, "meta.profile": nil,
	})
	whole := c.get("/Task?owner:missing=true&status=requested&code=fulfill&_include=Task:focus&_include=Task:patient&_include=Task:requester&_count=100", c.receives).want(t, http.StatusOK)
	for _, secret := range []string{"Quetzalcanary", "Xochitl", "8165550177", "urn:example:mrn", "Osei", "Z85.3", c.hospital, "Patient/", "Consent/"} {
		if strings.Contains(string(whole.body), secret) {
			t.Errorf("%s is told before the claim", secret)
		}
	}
	if i := slices.IndexFunc(whole.resources("include"), func(in obj) bool { return in["id"] == id }); i < 0 {
		t.Error("what she needs is not included")
	} else {
		expect(t, "what she needs", whole.resources("include")[i], obj{"resourceType": "ServiceRequest", "orderDetail.0.coding.0.code": "lung", "meta.profile": nil})
	}
	c.get("/Task/"+id, c.receives).want(t, http.StatusNotFound)

	// A hospital finds its own, and claims nothing.
	if got := c.get("/Task?owner:missing=true&_count=2&_sort=authored-on", c.refers).want(t, http.StatusOK); !slices.Equal(got.ids(), []string{id, second}) || at(got.resources("match")[0], "for.reference") == nil {
		t.Errorf("the hospital's own: %s", got.body)
	} else if more := c.get(got.link("next"), c.refers).want(t, http.StatusOK); !slices.Equal(more.ids(), []string{third}) {
		t.Errorf("the hospital's own, next page: %v", more.ids())
	}
	owned := fmt.Sprint(c.post(c.refers, c.request("active"))["id"])
	for path, want := range map[string][]string{
		"/Task?owner:missing=false": {owned}, "/Task?owner:missing=true&status=accepted": {}, "/Task?owner:missing=true&_id=" + id + "," + owned: {id},
	} {
		if got := c.get(path, c.refers).want(t, http.StatusOK).ids(); !slices.Equal(got, want) {
			t.Errorf("%s finds %v, want %v", path, got, want)
		}
	}
	claim := func(bearer, id string, changes obj, headers ...string) *reply {
		t.Helper()
		body := obj{}
		for name, v := range found[id] {
			body[name] = v
		}
		organization, _, _ := strings.Cut(strings.TrimPrefix(bearer, "organizations/"), "~")
		body["owner"] = obj{"reference": "Organization/" + organization}
		for name, v := range changes {
			body[name] = v
		}
		return c.put(bearer, body, headers...)
	}
	claim(c.refers, id, nil).want(t, http.StatusForbidden)
	for what, query := range map[string]string{
		"no status": "", "another status": "&status=accepted", "more": "&status=requested&priority=stat", "an order": "&status=requested&_sort=_lastUpdated",
	} {
		if got := c.get("/Task?owner:missing=true"+query, c.receives).want(t, http.StatusBadRequest).issues(); !strings.Contains(fmt.Sprint(got), "status=requested") {
			t.Errorf("%s: %v", what, got)
		}
	}
	c.get("/Task?owner:missing=perhaps", c.receives).want(t, http.StatusBadRequest)
	c.get("/Task?owner:missing=true,false", c.receives).want(t, http.StatusBadRequest)
	if got := c.get("/Task?owner:missing=true&requester=Organization/"+c.nonprofit, c.receives).want(t, http.StatusOK).ids(); len(got) != 0 {
		t.Errorf("its own: %v", got)
	}

	// Of two at once one wins.
	answers := make(chan *reply, 2)
	for _, bearer := range []string{c.receives, elsewhere} {
		go func() { answers <- claim(bearer, id, nil) }()
	}
	won, lost := <-answers, <-answers
	if won.StatusCode != http.StatusOK {
		won, lost = lost, won
	}
	won.want(t, http.StatusOK)
	if got := lost.want(t, http.StatusConflict).issues(); len(got) != 1 || !strings.HasPrefix(got[0], "conflict Task.owner: ") || !strings.Contains(got[0], "somebody else has claimed it") {
		t.Errorf("who came late: %v", got)
	}
	winner := strings.TrimPrefix(won.Request.Header.Get("Authorization"), "Bearer ")
	expect(t, "claimed", won.json, obj{"status": "requested", "requester.reference": "Organization/" + c.hospital, "owner.reference": strings.Replace(strings.Split(winner, "~")[0], "organizations", "Organization", 1)})
	if seen := c.get("/Task?_id="+id+"&_include=Task:patient&_include=Task:focus", winner).want(t, http.StatusOK); !strings.Contains(string(seen.body), "Quetzalcanary") || !strings.Contains(string(seen.body), "Z85.3") {
		t.Errorf("its owner reads %s", seen.body)
	}
	if got := c.claimable(c.receives, "status=requested", id); len(got) != 0 {
		t.Errorf("claimed, and claimable: %v", got)
	}
	c.step(winner, id, obj{"status": "rejected", "statusReason": coding(ownCodes+"reject-reason", "no-capacity")}).want(t, http.StatusOK)

	// Only as it was read; once, however often it is sent; and accepted in the same go.
	claim(c.receives, second, nil, "If-Match", `W/"9"`).want(t, http.StatusPreconditionFailed)
	claim(c.receives, second, obj{"note": list{obj{"text": "ours"}}}).want(t, http.StatusUnprocessableEntity)
	claim(c.receives, second, obj{"focus": obj{"reference": "ServiceRequest/" + third}}).want(t, http.StatusUnprocessableEntity)
	claim(c.receives, second, obj{"owner": obj{"reference": "Organization/" + other}}).want(t, http.StatusUnprocessableEntity)
	key := uuid.NewString()
	first := claim(c.receives, second, nil, "If-Match", `W/"1"`, "Idempotency-Key", key).want(t, http.StatusOK)
	if again := claim(c.receives, second, nil, "If-Match", `W/"1"`, "Idempotency-Key", key).want(t, http.StatusOK); text(t, dated(again.json)) != text(t, dated(first.json)) || again.Header.Get("ETag") != first.Header.Get("ETag") {
		t.Errorf("the same again: %s, first %s", again.body, first.body)
	}
	claim(elsewhere, second, nil).want(t, http.StatusConflict)
	claim(c.receives, second, nil).want(t, http.StatusOK) // it is
	taken := obj{"status": "accepted", "output": list{output("group", obj{"valueReference": obj{"reference": "HealthcareService/" + c.group}})}}
	key = uuid.NewString()
	accepted := claim(c.receives, third, taken, "Idempotency-Key", key).want(t, http.StatusOK)
	expect(t, "accepted", accepted.json, obj{"status": "accepted", "owner.reference": "Organization/" + c.nonprofit, "output.0.valueReference.reference": "HealthcareService/" + c.group})
	if again := claim(c.receives, third, taken, "Idempotency-Key", key).want(t, http.StatusOK); again.json["status"] != "accepted" {
		t.Errorf("accepted again: %s", again.body)
	}
	never := uuid.NewString()
	claim(c.receives, third, obj{"id": never, "focus": obj{"reference": "ServiceRequest/" + never}}).want(t, http.StatusConflict) // it is not told apart

	// BSeR calls it received.
	ordered := func(r obj) { r["identifier"] = list{obj{"system": "urn:oid:1.2.840", "value": "ORD-7"}} }
	bser, both := c.nobodys(ordered), c.nobodys(ordered)
	if found = c.claimable(c.bserReceives, "status=received", bser, both); len(found) != 2 || strings.Contains(text(t, found), "ORD-7") {
		t.Fatalf("BSeR finds %v", found)
	}
	expect(t, "by BSeR", claim(c.bserReceives, bser, nil).want(t, http.StatusOK).json, obj{"status": "received", "owner.reference": "Organization/" + c.nonprofit, "identifier.0.value": "ORD-7"})
	expect(t, "accepted by BSeR", claim(c.bserReceives, both, taken).want(t, http.StatusOK).json, obj{"status": "accepted", "identifier.0.value": "ORD-7"})
}

// When an order was written is shown as it was sent, found and sorted by, and kept in every version; where nobody said it, it is when it came.
func testAuthored(t *testing.T, c *care) {
	written := func(at string) func(obj) { return func(r obj) { r["authoredOn"] = at } }
	old, unsaid := c.nobodys(written("2019-05-06T07:08:09-05:00")), c.nobodys()
	const shown = "2019-05-06T12:08:09.000000Z"
	c.step(c.refers, old, obj{"owner": obj{"reference": "Organization/" + c.nonprofit}}).want(t, http.StatusOK)
	for _, path := range []string{"/ServiceRequest/" + old, "/Task/" + old, "/ServiceRequest/" + old + "/_history/1", "/Task/" + old + "/_history/2"} {
		expect(t, path, c.get(path, c.refers).want(t, http.StatusOK).json, obj{"authoredOn": shown})
	}
	expect(t, "to its owner", c.get("/Task/"+old, c.receives).want(t, http.StatusOK).json, obj{"authoredOn": shown})
	for path, want := range map[string][]string{
		"/ServiceRequest?authored=2019-05-06":                      {old},
		"/ServiceRequest?authored=ge" + shown:                      {old, unsaid},
		"/ServiceRequest?authored=gt" + shown:                      {unsaid},
		"/Task?authored-on=2019":                                   {old},
		"/Task?authored-on=gt2019":                                 {unsaid},
		"/Task?_sort=authored-on":                                  {old, unsaid},
		"/Task?_sort=-authored-on":                                 {unsaid, old},
		"/ServiceRequest?_sort=-authored&_count=1":                 {unsaid},
		"/ServiceRequest?authored=lt2019-05-06&_sort=_lastUpdated": {},
	} {
		if got := c.get(path, c.refers).want(t, http.StatusOK).ids(); len(got) != len(want) || strings.Contains(path, "_sort") && !slices.Equal(got, want) || !slices.Contains(append(got, ""), append(want, "")[0]) {
			t.Errorf("%s finds %v, want %v", path, got, want)
		}
	}
	draft := c.post(c.refers, func() obj { r := c.request("draft"); r["authoredOn"] = "2019-05-07"; return r }())
	expect(t, "a day", draft, obj{"authoredOn": "2019-05-07T00:00:00.000000Z"})
	delete(draft, "authoredOn")
	draft["priority"] = "asap"
	draft = c.put(c.refers, draft).want(t, http.StatusOK).json
	expect(t, "left out", draft, obj{"authoredOn": "2019-05-07T00:00:00.000000Z", "priority": "asap"})
	draft["authoredOn"] = "2019-05-08"
	draft = c.put(c.refers, draft).want(t, http.StatusOK).json
	expect(t, "changed", draft, obj{"authoredOn": "2019-05-08T00:00:00.000000Z"})
	draft["status"] = "active"
	sent := c.put(c.refers, draft).want(t, http.StatusOK).json
	delete(sent, "authoredOn")
	c.put(c.refers, sent).want(t, http.StatusOK)
	sent["authoredOn"] = "2019-05-09"
	c.put(c.refers, sent).want(t, http.StatusUnprocessableEntity)
	for _, wrong := range []string{"1899-12-31", c.Clock.Now().Add(15 * time.Hour).UTC().Format(time.RFC3339)} {
		r := c.request("active")
		r["authoredOn"] = wrong
		if got := c.do(http.MethodPost, "/ServiceRequest", c.refers, text(t, r)).want(t, http.StatusUnprocessableEntity).issues(); len(got) != 1 || !strings.HasPrefix(got[0], "value ServiceRequest.authoredOn: ") {
			t.Errorf("written %s: %v", wrong, got)
		}
	}
}

// dated is a resource without when the database says that it was last changed, which the first answer to a change comes before.
func dated(r obj) obj {
	delete(r["meta"].(obj), "lastUpdated") //nolint:forcetypeassert // has one
	return r
}

// A Task that sends a draft, sent again with its key, is answered with the Task as it is by now; another one is told that the draft is
// sent.
func testTaskAgain(t *testing.T, c *care) {
	for what, more := range map[string]obj{
		"plain": nil, "to a group": {"owner": obj{"reference": "HealthcareService/" + c.group}}, "urgent": {"priority": "urgent", "owner": obj{"reference": "Organization/" + c.nonprofit}},
		"not yet": {"status": "draft", "priority": "asap"},
	} {
		id := fmt.Sprint(c.post(c.refers, c.request("draft"))["id"])
		task := obj{"resourceType": "Task", "status": "requested", "intent": "order", "focus": obj{"reference": "ServiceRequest/" + id}, "authoredOn": "2019-12-24"}
		for name, v := range more {
			task[name] = v
		}
		key := uuid.NewString()
		first := c.do(http.MethodPost, "/Task", c.refers, text(t, task), "Idempotency-Key", key).want(t, http.StatusCreated)
		if what != "not yet" {
			c.step(c.receives, id, obj{"status": "accepted"}).want(t, http.StatusOK)
		}
		again := c.do(http.MethodPost, "/Task", c.refers, text(t, task), "Idempotency-Key", key).want(t, http.StatusCreated)
		if at(again.json, "id") != at(first.json, "id") || again.Header.Get("Location") == "" {
			t.Errorf("%s: again %s, first %s", what, again.body, first.body)
		}
		if what == "not yet" {
			if text(t, dated(again.json)) != text(t, dated(first.json)) || again.Header.Get("Location") != first.Header.Get("Location") || again.Header.Get("ETag") != first.Header.Get("ETag") {
				t.Errorf("%s: again %s, first %s", what, again.body, first.body)
			}
		} else {
			expect(t, what, again.json, obj{"status": "accepted"})
			c.do(http.MethodPost, "/Task", c.refers, text(t, task)).want(t, http.StatusConflict)
		}
	}
}

// A Consent's version and the time of its last change belong together, whatever becomes of the referral.
func testConsentTime(t *testing.T, c *care) {
	id := fmt.Sprint(c.post(c.refers, c.request("active"))["id"])
	first := c.get("/Consent/"+id, c.refers).want(t, http.StatusOK)
	c.step(c.receives, id, obj{"status": "accepted"}).want(t, http.StatusOK)
	same := c.get("/Consent/"+id, c.refers).want(t, http.StatusOK)
	changed := fmt.Sprint(at(first.json, "meta.lastUpdated"))
	expect(t, "after the referral has moved", same.json, obj{"meta.versionId": at(first.json, "meta.versionId"), "meta.lastUpdated": changed})
	narrow := same.json
	narrow["provision"] = obj{"type": "permit", "code": list{coding(ownCodes+"consent-item", "name")}}
	c.Clock.Advance(time.Second)
	second := c.put(c.refers, narrow).want(t, http.StatusOK).json
	if at(second, "meta.versionId") != "2" || fmt.Sprint(at(second, "meta.lastUpdated")) <= changed {
		t.Errorf("the second version: %v, the first of %s", second["meta"], changed)
	}
	for version, want := range map[string]any{"1": changed, "2": at(second, "meta.lastUpdated")} {
		expect(t, "version "+version, c.get("/Consent/"+id+"/_history/"+version, c.refers).want(t, http.StatusOK).json, obj{"meta.lastUpdated": want})
	}
	// It is searched for by the change of its referral: of what that shows of it, and to whom, nothing is missed.
	for range 2 {
		last := fmt.Sprint(at(c.get("/Task/"+id, c.refers).want(t, http.StatusOK).json, "meta.lastUpdated"))
		for query, want := range map[string][]string{"gt" + last: {}, "ge" + last: {id}, last: {id}, "lt" + last: {}} {
			if got := c.get("/Consent?_sort=-_lastUpdated&_lastUpdated="+query, c.refers).want(t, http.StatusOK).ids(); !slices.Equal(got, want) {
				t.Errorf("_lastUpdated=%s finds %v, want %v", query, got, want)
			}
		}
		c.step(c.receives, id, obj{"status": "rejected", "statusReason": obj{"text": "full"}})
	}
}
