package fhir_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

const bserStatuses = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"

// transition is a row of BSeR's state machine.
type transition struct{ tid, actor, trigger, fromStatus, fromBusiness, toStatus, toBusiness string }

// transitionsOfBSeR reads the state machine that the guide publishes.
func transitionsOfBSeR(t *testing.T) []transition {
	t.Helper()
	f, err := os.Open("../../../../shared/data/fhir/bser/harmonized-state-transitions.csv")
	if os.IsNotExist(err) {
		t.Skip("BSeR's state transitions are not here (../shared/data/fhir/bser)")
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var all []transition
	for _, r := range rows[1:] {
		all = append(all, transition{r[0], r[1], r[2], r[3], r[4], r[5], r[6]})
	}
	if len(all) != 34 {
		t.Fatalf("%d transitions", len(all))
	}
	return all
}

// bring makes a referral and moves its Task to a status of BSeR.
func (c *care) bring(status, business string) string {
	c.t.Helper()
	if status == "draft" {
		return fmt.Sprint(c.post(c.bserRefers, c.request("draft"))["id"])
	}
	id := fmt.Sprint(c.post(c.bserRefers, c.request("active"))["id"])
	way := map[string][]string{
		"2.0": nil, "3.0": {"3.0"}, "5.1": {"3.0", "5.1"}, "5.1.1": {"3.0", "5.1.1"}, "5.1.2": {"3.0", "5.1.1", "5.1.2"}, "5.1.3": {"3.0", "5.1.1", "5.1.3"},
		"5.1.4": {"3.0", "5.1.4"}, "5.2": {"3.0", "5.2"},
	}
	steps, ok := way[business]
	if !ok {
		c.t.Fatalf("no way to %s", business)
	}
	for _, s := range steps {
		by, to := c.bserReceives, "in-progress"
		if s == "3.0" {
			to = "accepted"
		}
		if s == "5.2" {
			by = c.bserRefers
		}
		c.stepBSeR(by, id, to, s).want(c.t, http.StatusOK)
	}
	return id
}

// stepBSeR puts a Task with the status, and with what the guide sends along.
func (c *care) stepBSeR(bearer, id, status, business string) *reply {
	c.t.Helper()
	changes := obj{"status": status, "businessStatus": coding(bserStatuses, business)}
	switch business {
	case "5.1.1", "5.1":
		changes["output"] = list{output("session-time", obj{"valueDateTime": c.Clock.Now().Add(-time.Hour).UTC().Format(time.RFC3339)})}
	case "7.0":
		changes["output"] = list{output("helped", obj{"valueCodeableConcept": coding(ownCodes+"helped", "yes")})}
	case "4.0":
		changes["statusReason"] = obj{"text": "There is no room."}
	}
	return c.step(bearer, id, changes)
}

// Every transition of BSeR is taken over FHIR by the party that the guide says, and refused to the other.
func testBSeR(t *testing.T, c *care) {
	for _, tr := range transitionsOfBSeR(t) {
		t.Run(tr.tid+" "+tr.trigger, func(t *testing.T) {
			t.Parallel()
			own := *c.site
			own.t = t
			c := &care{
				site: &own, hospital: c.hospital, nonprofit: c.nonprofit, group: c.group, refers: c.refers, receives: c.receives,
				bserRefers: c.bserRefers, bserReceives: c.bserReceives,
			}
			id := c.bring(tr.fromStatus, tr.fromBusiness)
			right, wrong := c.bserReceives, c.bserRefers
			if tr.actor == "Referral Initiator" {
				right, wrong = wrong, right
			}
			if tr.fromStatus == "draft" {
				got := c.post(right, obj{"resourceType": "Task", "status": "received", "intent": "order", "focus": obj{"reference": "ServiceRequest/" + id}})
				expect(t, "sent", got, obj{"status": "received", "businessStatus.coding.0.code": "2.0", "businessStatus.coding.0.display": "Service Request Created"})
				return
			}
			before := c.get("/Task/"+id, right).want(t, http.StatusOK)
			if tr.toStatus+tr.toBusiness != tr.fromStatus+tr.fromBusiness { // what changes nothing is nobody's to refuse
				if got := c.stepBSeR(wrong, id, tr.toStatus, tr.toBusiness); got.StatusCode != http.StatusForbidden {
					t.Errorf("by the wrong party: %d %s", got.StatusCode, got.body)
				}
			}
			after := c.get("/Task/"+id, right).want(t, http.StatusOK)
			if after.Header.Get("ETag") != before.Header.Get("ETag") {
				t.Error("the wrong party has changed it")
			}
			got := c.stepBSeR(right, id, tr.toStatus, tr.toBusiness).want(t, http.StatusOK)
			status, business := fmt.Sprint(got.json["status"]), fmt.Sprint(at(got.json, "businessStatus.coding.0.code"))
			if tr.tid == "04" { // nobody has begun: Cairn confirms for the recipient at once, row 23
				steps := c.get("/Provenance?target=Task/"+id, right).want(t, http.StatusOK).resources("match")
				expect(t, "steps", obj{"of": steps}, obj{"of.1.activity.coding.0.code": "request-cancel", "of.2.activity.coding.0.code": "confirm-cancel"})
				status, business = tr.toStatus, tr.toBusiness
			}
			if status != tr.toStatus || business != tr.toBusiness && !strings.HasPrefix(business, tr.toBusiness+".") {
				t.Errorf("from %s/%s to %s/%s, want %s/%s", tr.fromStatus, tr.fromBusiness, status, business, tr.toStatus, tr.toBusiness)
			}
		})
	}
}
