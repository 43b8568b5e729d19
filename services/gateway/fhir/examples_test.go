package fhir_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// exampleOf returns an example that SDOHCC publishes, as it stands but for texts that are put into it.
func exampleOf(t *testing.T, name string, instead ...string) obj {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../../../../shared/data/fhir/sdohcc", name+".json"))
	if os.IsNotExist(err) {
		t.Skip("the examples of SDOHCC are not here (../shared/data/fhir/sdohcc)")
	}
	if err != nil {
		t.Fatal(err)
	}
	out := obj{}
	if err := json.Unmarshal([]byte(strings.NewReplacer(instead...).Replace(string(raw))), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// refused fails the test unless each of the texts, "code expression: words", begins and stands in some issue.
func (r *reply) refused(t *testing.T, what string, status int, says ...[2]string) {
	t.Helper()
	if r.StatusCode != status || r.json["resourceType"] != "OperationOutcome" {
		t.Errorf("%s is answered %d, want %d: %s", what, r.StatusCode, status, r.body)
	}
	for _, s := range says {
		if !slices.ContainsFunc(r.issues(), func(i string) bool { return strings.HasPrefix(i, s[0]) && strings.Contains(i, s[1]) }) {
			t.Errorf("%s: nothing of %q at %q in %q", what, s[1], s[0], r.issues())
		}
	}
}

// Each example that SDOHCC publishes comes over HTTP as a client sends it: it is taken, or refused with what to do instead. What asks
// for another service than a support group, says what is already so, or brings a form to keep, is taken once that is put right.
func TestExamplesOverHTTP(t *testing.T) {
	t.Parallel()
	const (
		patient      = "Patient-pat-53234"
		consent      = "Consent-SDOHCC-ConsentInformationDisclosureExample"
		request      = "ServiceRequest-SDOHCC-ServiceRequestActiveFoodPantryApplicationAssistExample"
		task         = "Task-SDOHCC-TaskReferralManagementOrderFulfillmentAcceptedExample"
		practitioner = "Practitioner-SDOHCC-PractitionerDrJanWaterExample"
		procedure    = "Procedure-SDOHCC-ProcedureFoodPantryApplicationAssistanceExample"
	)
	exampleOf(t, patient)
	c := setupCare(t)
	send := func(body obj) *reply {
		kind, _ := body["resourceType"].(string)
		return c.do(http.MethodPost, "/"+kind, c.refers, text(t, body))
	}

	// What there is no resource for, and what organizations and groups say of themselves elsewhere.
	for _, name := range []string{practitioner, procedure} {
		send(exampleOf(t, name)).refused(t, name, http.StatusNotFound, [2]string{"not-supported", "the resources here are Appointment, AuditEvent, Consent, "})
	}
	for _, kind := range []string{"Goal", "Condition", "Observation"} {
		c.get("/"+kind+"/1", c.refers).refused(t, kind, http.StatusNotFound, [2]string{"not-supported", "ServiceRequest, Slot, Subscription, Task"})
	}
	for _, name := range []string{
		"Organization-SDOHCC-OrganizationClinicExample", "Organization-SDOHCC-OrganizationCoordinationPlatformExample",
		"HealthcareService-SDOHCC-HealthcareServiceTelecomAppointmentExample", "Location-SDOHCC-LocationExample",
	} {
		got := send(exampleOf(t, name))
		if got.refused(t, name, http.StatusMethodNotAllowed, [2]string{"not-supported", "POST is not possible here, but GET"}); got.Header.Get("Allow") != "GET" {
			t.Errorf("%s: Allow is %q", name, got.Header.Get("Allow"))
		}
	}

	// The person is taken as she is called and lives now.
	person := send(exampleOf(t, patient)).want(t, http.StatusCreated)
	expect(t, "Patient", person.json, obj{"name.0.family": "BAXTER", "name.1": nil, "birthDate": "1987-02-20", "identifier.0.value": "1032702", "address.0.postalCode": "74048"})
	whom := "Patient/" + person.json["id"].(string) //nolint:forcetypeassert // a text

	// The order, first as it stands, then for her, then for a group.
	send(exampleOf(t, request)).refused(t, "the order", http.StatusUnprocessableEntity, [2]string{"", "Patient"})
	send(exampleOf(t, request, "Patient/pat-53234", whom)).refused(t, "the order for her", http.StatusUnprocessableEntity,
		[2]string{"", "711281004"}, [2]string{"", "social-connection"}, [2]string{"", "reasonCode"})
	right := []string{"Patient/pat-53234", whom, "467771000124109", "711281004", "food-insecurity", "social-connection"}
	order := exampleOf(t, request, right...)
	delete(order, "reasonReference")
	order["status"] = "draft"
	draft := send(order).want(t, http.StatusCreated)
	focus := "ServiceRequest/" + draft.json["id"].(string) //nolint:forcetypeassert // a text

	// The Task, first as it stands, then with what there is, then as a new one is.
	send(exampleOf(t, task)).refused(t, "the Task", http.StatusNotFound)
	resolved := []string{"ServiceRequest/SDOHCC-ServiceRequestActiveFoodPantryApplicationAssistExample", focus, "Patient/pat-53234", whom,
		"Organization/SDOHCC-OrganizationCoordinationPlatformExample", "Organization/" + c.nonprofit}
	send(exampleOf(t, task, resolved...)).refused(t, "the Task of what there is", http.StatusUnprocessableEntity, [2]string{"", "requested"})
	work := exampleOf(t, task, append(resolved, `"accepted"`, `"requested"`, "PractitionerRole/SDOHCC-PractitionerRoleDrJanWaterExample", "Organization/"+c.hospital)...)
	expect(t, "Task", send(work).want(t, http.StatusCreated).json, obj{"status": "requested", "owner.reference": "Organization/" + c.nonprofit, "for.reference": whom, "authoredOn": draft.json["authoredOn"]})

	// The consent comes with an order; the form stays where it is.
	form := exampleOf(t, consent, "Patient/pat-53234", whom)
	send(form).refused(t, "the consent", http.StatusMethodNotAllowed, [2]string{"not-supported", "Consent is not created by itself"})
	agreed, ordered := "urn:uuid:"+uuid.NewString(), exampleOf(t, request, right...)
	delete(ordered, "reasonReference")
	ordered["supportingInfo"] = list{obj{"reference": agreed}}
	both := bundle("transaction", does("POST", "Consent", form, obj{"fullUrl": agreed}), does("POST", "ServiceRequest", ordered, obj{"fullUrl": "urn:uuid:" + uuid.NewString()}))
	c.send(c.refers, both).refused(t, "the consent with its form", http.StatusUnprocessableEntity, [2]string{"", "leave data out and say in title where it is kept"})
	source, _ := form["sourceAttachment"].(obj)
	delete(source, "data")
	source["title"] = "Shelf 3"
	c.send(c.refers, both).refused(t, "the consent of a payer", http.StatusUnprocessableEntity, [2]string{"value Bundle.entry[0].resource.organization[0]", "your organization here"})
	form["organization"] = list{obj{"reference": "Organization/" + c.hospital}}
	taken := c.send(c.refers, both).want(t, http.StatusOK)
	expect(t, "taken", taken.json, obj{"entry.0.resource.status": "active", "entry.0.resource.sourceAttachment.title": "Shelf 3", "entry.1.resource.status": "active", "entry.1.resource.subject.reference": whom})
}
