package fhir_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/internal/suitetest"
)

// Who withdraws changes nothing else: what else differs is refused by name and not dropped, of a draft too.
func testRevokedAlone(t *testing.T, c *care) {
	for _, status := range []string{"draft", "active"} {
		made := c.post(c.refers, c.request(status))
		path := "/ServiceRequest/" + fmt.Sprint(made["id"])
		changed := c.get(path, c.refers).json
		changed["status"], changed["priority"] = "revoked", "urgent"
		changed["identifier"] = list{obj{"type": obj{"coding": list{obj{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PLAC"}}}, "value": "another"}}
		refused := c.put(c.refers, changed).want(t, http.StatusUnprocessableEntity)
		for _, element := range []string{"ServiceRequest.priority", "ServiceRequest.identifier"} {
			if !strings.Contains(string(refused.body), `"`+element+`"`) {
				t.Errorf("%s: %s is not named: %s", status, element, refused.body)
			}
		}
		expect(t, "refused", c.get(path, c.refers).json, obj{"status": status, "priority": "routine"})
		alone := c.get(path, c.refers).json
		alone["status"] = "revoked"
		expect(t, "alone", c.put(c.refers, alone).want(t, http.StatusOK).json, obj{"status": "revoked"})
	}
}

// However often and in however many pages the steps of a referral are gone through for a request, they are asked for once.
func testStepsOnce(t *testing.T, c *care) {
	id := fmt.Sprint(c.post(c.refers, c.request("active"))["id"])
	found := c.get("/ServiceRequest?_id="+id+"&_revinclude=Provenance:target&_revinclude=Provenance:target", c.refers).want(t, http.StatusOK)
	if steps := found.resources("include"); len(steps) == 0 {
		t.Errorf("no step came: %s", found.body)
	}
	ctx := suitetest.Client(t.Context(), "organizations/"+c.hospital, "referrals.read")
	resp, err := referralv1.NewAccessServiceClient(c.Conn("referral")).ListAccesses(ctx, &referralv1.ListAccessesRequest{Parent: "referrals/" + id})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, a := range resp.GetAccesses() {
		if strings.HasSuffix(a.GetMethod(), "/ListReferralEvents") {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("it took %d calls, want 1", asked)
	}
}
