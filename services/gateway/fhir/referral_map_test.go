package fhir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/formats/fhir/r4"
	"cairn.care/services/internal/fhirtest"
)

const (
	hospitalID = "0192d7a5-0000-7000-8000-000000000001"
	ownerID    = "0192d7a5-0000-7000-8000-000000000002"
	groupID    = "0192d7a5-0000-7000-8000-000000000003"
	referralID = "0192d7a5-0000-7000-8000-000000000004"
	patientID  = "0192d7a5-0000-7000-8000-000000000005"
	sessionID  = "0192d7a5-0000-7000-8000-000000000006"
)

var testNow = time.Date(2027, 3, 4, 11, 0, 0, 0, time.UTC)

// testCall is a call of the hospital's that reaches no service.
func testCall(guide string) *call {
	c := &call{
		face: &Face{base: "https://cairn.test/fhir/R4", clock: clock.NewFake(testNow)}, profile: guide,
		principal: auth.Principal{Kind: auth.Client, Organization: "organizations/" + hospitalID}, memory: &memory{known: map[string]any{}},
	}
	c.resource = serviceRequest()
	return c
}

// fullReferral says everything that a referral can say.
func fullReferral() *referralv1.Referral {
	n := &referralv1.Needs{
		CancerTypes: []string{"breast"}, Phase: groupsv1.Group_AFTER_TREATMENT, Role: referralv1.Needs_SURVIVOR,
		SideEffects:   []groupsv1.Group_SideEffect{groupsv1.Group_FEAR_OF_RECURRENCE, groupsv1.Group_FATIGUE},
		Languages:     []string{"es", "en-US"},
		Location:      &latlng.LatLng{Latitude: 41.88, Longitude: -87.63},
		Country:       "US",
		TravelLimitKm: 20,
		Formats:       []groupsv1.Group_Format{groupsv1.Group_IN_PERSON, groupsv1.Group_HYBRID},
		Kinds:         []groupsv1.Group_Kind{groupsv1.Group_PEER_SUPPORT, groupsv1.Group_EDUCATION},
		Times:         []*typev1.TimeOfWeek{{Day: dayofweek.DayOfWeek_TUESDAY, StartMinute: 18 * 60, EndMinute: 20*60 + 30}, {StartMinute: 0, EndMinute: 24 * 60}},
		TimeZone:      "America/Chicago",
		CostLimit:     &money.Money{CurrencyCode: "USD", Units: 12, Nanos: 500_000_000},
		Payer:         "Aetna",
		Size:          groupsv1.Group_SMALL,
		Demographics:  []groupsv1.Group_Demographic{groupsv1.Group_WOMEN},
		AgeYears:      proto.Int32(52),
		Accessibility: []groupsv1.Group_Accessibility{groupsv1.Group_STEP_FREE},
	}
	return &referralv1.Referral{
		Name: "referrals/" + referralID, Organization: "organizations/" + hospitalID, Author: "Ada Okafor, oncology", PlacerNumber: "ORD-7", FillerNumber: "F-1",
		PlacerSystem: "urn:oid:1.2.840.114350.1.13.861.1.7.2.798268", FillerSystem: "https://puentes.example.org/orders",
		Patient: "patients/" + patientID, Subject: &referralv1.Referral_Subject{GivenName: "Maria"},
		ReasonCodes: []*typev1.Code{{System: icd10, Code: "Z85.3", Display: "Personal history of breast cancer"}, {System: snomed, Code: "254837009"}},
		Needs:       n, Distress: proto.Int32(5), SelfHarmRisk: true, Urgency: referralv1.Referral_URGENT,
		Consent: &referralv1.Referral_Consent{
			Share: []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME, referralv1.Referral_Consent_CONTACT}, GrantTime: timestamppb.New(testNow),
			ExpireTime: timestamppb.New(testNow.AddDate(1, 0, 0)), Document: "form 12", Recipients: []string{"organizations/" + ownerID},
		},
		RequestedGroup: "groups/" + groupID, OwnerOrganization: "organizations/" + ownerID, Deadline: timestamppb.New(testNow.AddDate(0, 0, 5)),
		State: referralv1.Referral_COMPLETED, TaskStatus: "completed", BserStatus: "completed", BserBusinessStatus: "7.0", ServiceRequestStatus: "completed",
		Group: "groups/" + groupID, FirstSession: "sessions/" + sessionID, FirstSessionTime: timestamppb.New(testNow), FirstAttendedTime: timestamppb.New(testNow),
		SessionsAttended: 3,
		Outcome: &referralv1.Referral_Outcome{
			Note: "She found friends.", DistressAfter: proto.Int32(2), DistressChange: proto.Int32(-3), Helped: referralv1.Referral_Outcome_YES,
			TimeToAcceptance: durationpb.New(36 * time.Hour), TimeToFirstSession: durationpb.New(200 * time.Hour), SessionsAttended: 3,
		},
		CreateTime: timestamppb.New(testNow), UpdateTime: timestamppb.New(testNow), ChangeTime: timestamppb.New(testNow), Etag: `"9"`, ConsentVersion: 1,
		ConsentTime: timestamppb.New(testNow), AuthorTime: timestamppb.New(testNow.AddDate(0, 0, -2)),
	}
}

func validated(t *testing.T, body any) []byte {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	fhirtest.Validate(t, raw)
	return raw
}

// What a referral says as a ServiceRequest, read again, is what it said; in either guide.
func TestServiceRequestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, guide := range []string{profileSDOHCC, profileBSER} {
		want := fullReferral()
		it := requestItem(guide, want)
		raw := validated(t, it.body)
		doc, err := r4.Parse(raw, "ServiceRequest")
		if err != nil {
			t.Fatal(err)
		}
		in, err := readIntake(t.Context(), testCall(guide), doc)
		if err != nil {
			t.Fatal(err)
		}
		want = &referralv1.Referral{
			Author: want.Author, PlacerNumber: want.PlacerNumber, PlacerSystem: want.PlacerSystem, FillerNumber: want.FillerNumber, FillerSystem: want.FillerSystem, Patient: want.Patient, ReasonCodes: want.ReasonCodes, Needs: want.Needs, Distress: want.Distress,
			SelfHarmRisk: true, Urgency: want.Urgency, RequestedGroup: want.RequestedGroup, OwnerOrganization: want.OwnerOrganization, Deadline: want.Deadline,
			AuthorTime: want.AuthorTime,
		}
		if !proto.Equal(in.referral, want) {
			t.Errorf("%s: read as\n%v\nnot as\n%v", guide, in.referral, want)
		}
		if it.version != "9" || in.status != "completed" {
			t.Errorf("version %s, status %s", it.version, in.status)
		}
	}
}

// Each thing that a referral says is in its ServiceRequest: without it, the text is another.
func TestServiceRequestSaysEverything(t *testing.T) {
	t.Parallel()
	whole := string(validated(t, requestBody(nil, profileSDOHCC, fullReferral())))
	needs := fullReferral().GetNeeds().ProtoReflect()
	for i := range needs.Descriptor().Fields().Len() {
		field := needs.Descriptor().Fields().Get(i)
		r := fullReferral()
		if !needs.Has(field) {
			t.Fatalf("the test's referral says nothing of needs.%s", field.Name())
		}
		r.GetNeeds().ProtoReflect().Clear(field)
		if string(validated(t, requestBody(nil, profileSDOHCC, r))) == whole {
			t.Errorf("needs.%s is not told", field.Name())
		}
	}
}

// A Consent that is shown can be sent again as it is, and says the same.
func TestConsentRoundTrip(t *testing.T) {
	t.Parallel()
	want := fullReferral()
	want.State, want.Awaiting = referralv1.Referral_SENT, referralv1.Referral_RECEIVER
	raw := validated(t, consentItem(testCall(profileSDOHCC), want).body)
	doc, err := r4.Parse(raw, "Consent")
	if err != nil {
		t.Fatal(err)
	}
	got, withdrawn, err := readConsent(doc, "Consent")
	if err != nil || withdrawn {
		t.Fatal(err, withdrawn)
	}
	if !proto.Equal(got, want.GetConsent()) {
		t.Errorf("read as %v, not as %v", got, want.GetConsent())
	}
}

// A person is shown as she was sent.
func TestPatientRoundTrip(t *testing.T) {
	t.Parallel()
	want := &referralv1.Referral_Subject{
		Identifiers: []*referralv1.Referral_Subject_Identifier{{System: "urn:oid:1.2.3", Value: "MRN 77"}}, GivenName: "Maria Elena", FamilyName: "Gómez",
		BirthDate: &date.Date{Year: 1974, Month: 5, Day: 6}, Phone: "+13125550100", Email: "maria@example.org",
		Address:           &typev1.PostalAddress{AddressLines: []string{"1 Main St", "Apt 2"}, Locality: "Chicago", AdministrativeArea: "IL", PostalCode: "60601", Country: "US"},
		ContactPreference: referralv1.Referral_Subject_TEXT_MESSAGE, DoNotContact: true, Gender: referralv1.Referral_Subject_FEMALE, Languages: []string{"es", "en"},
	}
	for i := range want.ProtoReflect().Descriptor().Fields().Len() {
		if field := want.ProtoReflect().Descriptor().Fields().Get(i); !want.ProtoReflect().Has(field) {
			t.Errorf("the test's person says nothing of %s", field.Name())
		}
	}
	raw := validated(t, patientBody(patientID, meta("1", testNow), "organizations/"+hospitalID, want))
	doc, err := r4.Parse(raw, "Patient")
	if err != nil {
		t.Fatal(err)
	}
	got, err := subjectOf(doc, "Patient", testNow)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("read as %v, not as %v", got, want)
	}
}

// Of many names, numbers and addresses the ones in use are taken.
func TestPatientInUse(t *testing.T) {
	t.Parallel()
	doc, err := r4.Parse([]byte(`{"resourceType":"Patient","active":true,
		"name":[{"use":"old","family":"Before"},{"family":"Past","period":{"end":"2020-01-01"}},{"use":"nickname","given":["Mia"]},{"use":"official","family":"Now","given":["Maria"],"suffix":["PhD"]}],
		"telecom":[{"system":"fax","value":"1"},{"system":"phone","value":"home","use":"home"},{"system":"phone","value":"mobile","use":"mobile"},{"system":"email","value":"a@b.org","rank":1}],
		"address":[{"use":"old","city":"Before"},{"use":"work","city":"Office"},{"use":"home","city":"Home","country":"USA"}],
		"birthDate":"1974"}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := subjectOf(doc, "Patient", testNow)
	if err != nil {
		t.Fatal(err)
	}
	want := &referralv1.Referral_Subject{
		GivenName: "Maria", FamilyName: "Now", Phone: "mobile", Email: "a@b.org", ContactPreference: referralv1.Referral_Subject_EMAIL,
		Address: &typev1.PostalAddress{Locality: "Home", Country: "US"}, BirthDate: &date.Date{Year: 1974},
	}
	if !proto.Equal(got, want) {
		t.Errorf("read as %v, not as %v", got, want)
	}
}

// A period lasts as long as the year, month or day that its end says, and what is shown of names and addresses can be sent again.
func TestPatientPeriodsAndParts(t *testing.T) {
	t.Parallel()
	for end, want := range map[string]bool{"2026": false, "2027": true, "2027-02": false, "2027-03": true, "2027-03-03": false, "2027-03-04": true, "2027-03-03T23:59:00Z": false, "2028-01": true} {
		if got := current("", &r4.Period{End: end}, time.Date(2027, 3, 4, 12, 0, 0, 0, time.UTC)); got != want {
			t.Errorf("until %s: in use is %t", end, got)
		}
	}
	read := func(raw []byte) *referralv1.Referral_Subject {
		t.Helper()
		doc, err := r4.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		s, err := subjectOf(doc, "Patient", testNow)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := read([]byte(`{"resourceType":"Patient","name":[{"family":"Gómez","given":["Eva","Maria"]}],"address":[{"line":["1 Main St"],"district":"Cook","city":"Chicago"}]}`))
	shown := patientBody(patientID, nil, "", first)
	if given := shown.Name[0].Given; len(given) != 2 || given[1] != "Maria" {
		t.Errorf("given names %q", given)
	}
	shown.Address[0].District = "Cook"
	if again := read(validated(t, shown)); !proto.Equal(again, first) {
		t.Errorf("sent again it is %v, not %v", again, first)
	}
}

// Every state is shown as a valid Task and a valid ServiceRequest, in both guides, with codes of the guides.
func TestTaskOfEveryState(t *testing.T) {
	t.Parallel()
	states := referralv1.Referral_SENT.Descriptor().Values()
	for i := 1; i < states.Len(); i++ {
		for _, guide := range []string{profileSDOHCC, profileBSER} {
			r := fullReferral()
			r.State = referralv1.Referral_State(states.Get(i).Number())
			r.RejectReason, r.StateReason = referralv1.Referral_NO_CAPACITY, "the next group starts in May"
			r.Awaiting, r.DueTime, r.OverdueTime = referralv1.Referral_RECEIVER, timestamppb.New(testNow), timestamppb.New(testNow)
			b, ok := taskItem(guide, r).body.(*r4.Task)
			if !ok {
				t.Fatal("is no Task")
			}
			validated(t, b)
			if want := map[string]string{profileSDOHCC: sdohccDefinitions + "SDOHCC-TaskForReferralManagement", profileBSER: "http://hl7.org/fhir/us/bser/StructureDefinition/referral-task"}[guide]; !slices.Equal(b.Meta.Profile, []string{want}) {
				t.Errorf("profile %v", b.Meta.Profile)
			}
			if b.StatusReason == nil || b.StatusReason.Text == "" {
				t.Errorf("%s: no words for the reason", r.State)
			}
			if code := b.BusinessStatus.Coding[0]; guide == profileBSER && (code.System != bserBusinessStatus || code.Display == "") {
				t.Errorf("businessStatus %v", code)
			}
			validated(t, requestItem(guide, r).body)
		}
	}
	bare := &referralv1.Referral{Name: "referrals/" + referralID, Organization: "organizations/" + hospitalID, Patient: "patients/" + patientID,
		State: referralv1.Referral_DRAFT, TaskStatus: "draft", BserStatus: "draft", ServiceRequestStatus: "draft", Etag: `"1"`, CreateTime: timestamppb.New(testNow), UpdateTime: timestamppb.New(testNow)}
	for _, guide := range []string{profileSDOHCC, profileBSER} {
		validated(t, taskItem(guide, bare).body)
		validated(t, requestItem(guide, bare).body)
		validated(t, consentItem(testCall(guide), bare).body)
	}
}

// A Task that comes back as it was read asks for nothing but what was changed in it.
func TestTaskReadModifyWrite(t *testing.T) {
	t.Parallel()
	r := fullReferral()
	r.State, r.TaskStatus, r.StateReason = referralv1.Referral_SENT, "requested", "sent again"
	shown := taskBody(meta("9", testNow), profileSDOHCC, r)
	sent := taskBody(meta("9", testNow), profileSDOHCC, r)
	sent.Status = "completed"
	sent.Output = append(sent.Output, r4.TaskOutput{Type: concept(outputCodes, "distress-after", ""), ValueInteger: ptr(int32(4))},
		r4.TaskOutput{Type: &r4.CodeableConcept{Text: "report"}, ValueString: "She comes every week."})
	doc, err := r4.Parse(validated(t, sent), "Task")
	if err != nil {
		t.Fatal(err)
	}
	step, reader, err := readChanged(doc, shown, profileSDOHCC)
	if err != nil {
		t.Fatal(err)
	}
	if reader.unchanged(testCall(profileSDOHCC), step.body, shown); reader.err() != nil {
		t.Fatal(reader.err())
	}
	want := &referralv1.StepTaskRequest{Profile: referralv1.TaskProfile_SDOHCC, Status: "completed",
		Outcome: &referralv1.Referral_Outcome{DistressAfter: proto.Int32(4), Note: "She comes every week."}}
	if !proto.Equal(step.request, want) {
		t.Errorf("asks for %v, not for %v", step.request, want)
	}
}

// What is not understood is refused, and told where it stands; nothing is dropped.
func TestRefused(t *testing.T) {
	t.Parallel()
	const subject = `"subject":{"reference":"Patient/` + patientID + `"}`
	const code = `"code":{"coding":[{"system":"http://snomed.info/sct","code":"711281004"}]}`
	const good = `"resourceType":"ServiceRequest","status":"active","intent":"order",` + subject + `,` + code
	typed := func(kind, value string) string {
		return `{"type":{"coding":[{"system":"` + identifierTypes + `","code":"` + kind + `"}]},"value":"` + value + `"}`
	}
	for name, c := range map[string]struct{ body, at, says string }{
		"unknown element":      {good + `,"specimen":[{"reference":"Specimen/1"}]`, "ServiceRequest.specimen", "leave it out"},
		"element with a hint":  {good + `,"reasonReference":[{"reference":"Condition/1"}]`, "ServiceRequest.reasonReference", "reasonCode"},
		"part of an element":   {good + `,"insurance":[{"reference":"Coverage/1","display":"Aetna"}]`, "ServiceRequest.insurance[0].reference", "leave it out"},
		"a note":               {good + `,"note":[{"text":"call late"}]`, "ServiceRequest.note", "messages"},
		"extension":            {good + `,"extension":[{"url":"http://example.org/x","valueString":"y"}]`, "ServiceRequest.extension[0]", "no extension that is understood"},
		"not to be done":       {good + `,"doNotPerform":true`, "ServiceRequest.doNotPerform", "not to help"},
		"another service":      {`"resourceType":"ServiceRequest","status":"active","intent":"order",` + subject + `,"code":{"coding":[{"system":"http://snomed.info/sct","code":"467771000124109"}]}`, "ServiceRequest.code", "711281004"},
		"category":             {good + `,"category":[{"coding":[{"system":"` + sdohccCodes + `","code":"food-insecurity"}]}]`, "ServiceRequest.category[0]", "social-connection"},
		"detail":               {good + `,"orderDetail":[{"text":"Tuesdays"}]`, "ServiceRequest.orderDetail[0]", "group-kind"},
		"code of a detail":     {good + `,"orderDetail":[{"coding":[{"system":"` + ownCodes + `side-effect","code":"tired"}]}]`, "ServiceRequest.orderDetail[0]", "fatigue"},
		"cancer type":          {good + `,"orderDetail":[{"coding":[{"system":"` + ownCodes + `cancer-type","code":"toe"}]}]`, "ServiceRequest.orderDetail[0]", "cancerTypes"},
		"two phases":           {good + `,"orderDetail":[{"coding":[{"system":"` + ownCodes + `care-phase","code":"in-treatment"}]},{"coding":[{"system":"` + ownCodes + `care-phase","code":"after-treatment"}]}]`, "ServiceRequest.orderDetail[1]", "one care phase"},
		"reason without code":  {good + `,"reasonCode":[{"text":"breast cancer"}]`, "ServiceRequest.reasonCode[0].coding", "words alone"},
		"another performer":    {good + `,"performer":[{"reference":"Practitioner/1"}]`, "ServiceRequest.performer[0]", "HealthcareService"},
		"only a name":          {good + `,"performer":[{"display":"Puentes"}]`, "ServiceRequest.performer[0]", "HealthcareService"},
		"two performers":       {good + `,"performer":[{"reference":"Organization/` + ownerID + `"},{"reference":"Organization/` + hospitalID + `"}]`, "ServiceRequest.performer[1]", "one organization"},
		"another requester":    {good + `,"requester":{"reference":"Organization/` + ownerID + `"}`, "ServiceRequest.requester", "not your organization"},
		"an account number":    {good + `,"identifier":[` + typed("PLAC", "1") + `,` + typed("AN", "2") + `]`, "ServiceRequest.identifier[1].type", "leave the identifier out"},
		"two order numbers":    {good + `,"identifier":[` + typed("PLAC", "1") + `,` + typed("PLAC", "2") + `]`, "ServiceRequest.identifier[1]", "leave this one out"},
		"a number beside":      {good + `,"identifier":[{"system":"urn:x","value":"1"},` + typed("PLAC", "2") + `]`, "ServiceRequest.identifier[0]", "PLAC is kept"},
		"untyped numbers":      {good + `,"identifier":[{"system":"urn:x","value":"1"},{"system":"urn:y","value":"1"}]`, "ServiceRequest.identifier[1]", "the type " + identifierTypes + "|PLAC"},
		"no number":            {good + `,"identifier":[{"system":"urn:x"}]`, "ServiceRequest.identifier[0].value", "number itself"},
		"unknown patient":      {`"resourceType":"ServiceRequest","status":"active","intent":"order","subject":{"reference":"Patient/7"},` + code, "ServiceRequest.subject", "same transaction"},
		"nobody refers to it":  {good + `,"contained":[{"resourceType":"Patient","id":"p"}]`, "ServiceRequest.contained", "#p"},
		"not contained":        {good + `,"supportingInfo":[{"reference":"#c"}]`, "ServiceRequest.supportingInfo[0]", "one Consent"},
		"a place without both": {good + `,"extension":[{"url":"` + needsExtension + `","extension":[{"url":"location","extension":[{"url":"latitude","valueDecimal":1}]}]}]`, "ServiceRequest.extension[0].extension[0]", "longitude"},
		"a time turned round":  {good + `,"extension":[{"url":"` + needsExtension + `","extension":[{"url":"time","extension":[{"url":"start","valueString":"20:00"},{"url":"end","valueString":"18:00"}]}]}]`, "ServiceRequest.extension[0].extension[0]", "after the start"},
		"a wrong distress":     {good + `,"extension":[{"url":"` + distressExtension + `","valueString":"high"}]`, "ServiceRequest.extension[0]", "wrong type"},
		"modifier":             {good + `,"modifierExtension":[{"url":"http://example.org/not","valueBoolean":true}]`, "ServiceRequest.modifierExtension", "change what"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := r4.Parse([]byte("{" + c.body + "}"))
			if err == nil {
				_, err = readIntake(t.Context(), testCall(profileSDOHCC), doc)
			}
			expectIssue(t, err, c.at, c.says)
		})
	}
}

// What an EHR says by itself of every order, and a group has no use for, is read over.
func TestReadOver(t *testing.T) {
	t.Parallel()
	const good = `{"resourceType":"ServiceRequest","status":"active","intent":"order","subject":{"reference":"Patient/` + patientID + `"},
		"code":{"coding":[{"system":"http://snomed.info/sct","code":"711281004"}]},"reasonCode":[{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"Z85.3"}]}]`
	want := (*referralv1.Referral)(nil)
	for _, more := range []string{
		``, `,"occurrenceDateTime":"2027-05-01"`, `,"occurrencePeriod":{"start":"2027-05-01","end":"2027-06-01"}`,
		`,"occurrenceTiming":{"repeat":{"frequency":1,"period":1,"periodUnit":"wk"}}`,
		`,"encounter":{"reference":"Encounter/1","identifier":{"system":"urn:example:visit","value":"7"},"display":"visit"}`,
		`,"reasonReference":[{"reference":"Condition/1","display":"breast cancer"}]`,
	} {
		doc, err := r4.Parse([]byte(good + more + "}"))
		if err != nil {
			t.Fatal(err)
		}
		in, err := readIntake(t.Context(), testCall(profileSDOHCC), doc)
		if err != nil {
			t.Errorf("%s: %v", more, err)
			continue
		}
		if want == nil {
			want = in.referral
		}
		if !proto.Equal(in.referral, want) {
			t.Errorf("%s: read as %v, not as %v", more, in.referral, want)
		}
	}
}

func expectIssue(t *testing.T, err error, at, says string) {
	t.Helper()
	var issues []r4.Issue
	if refused, ok := errors.AsType[*refusal](err); ok {
		issues = refused.issues
	} else if malformed, ok := errors.AsType[*r4.Error](err); ok {
		issues = malformed.Issues
	}
	var all []string
	for _, i := range issues {
		if strings.HasPrefix(i.Expression, at) && strings.Contains(i.Diagnostics, says) {
			return
		}
		all = append(all, fmt.Sprint(i))
	}
	t.Errorf("nothing of %q at %s in %v: %v", says, at, all, err)
}

// examples returns the examples of the SDOHCC guide, if they are there, by file name without its ending.
func examples(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../../../../shared/data/fhir/sdohcc/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the examples of SDOHCC are not here (../shared/data/fhir/sdohcc)")
	}
	all := map[string][]byte{}
	for _, f := range files {
		if all[strings.TrimSuffix(filepath.Base(f), ".json")], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// The examples of SDOHCC are read, or refused for what they ask for, with a reason: a referral for food is not for a group of survivors,
// an accepted Task is no new one, and a signed form is not kept.
func TestExamplesOfSDOHCC(t *testing.T) {
	t.Parallel()
	all := examples(t)
	parse := func(name string) *r4.Document {
		doc, err := r4.Parse(all[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return doc
	}
	person, err := subjectOf(parse("Patient-pat-53234"), "Patient", testNow)
	if err != nil {
		t.Fatal(err)
	}
	want := &referralv1.Referral_Subject{
		Identifiers: []*referralv1.Referral_Subject_Identifier{{System: "http://hospital.smarthealthit.org", Value: "1032702"}},
		GivenName:   "COLIN V.", FamilyName: "BAXTER", BirthDate: &date.Date{Year: 1987, Month: 2, Day: 20}, Phone: "555-555-5555", Gender: referralv1.Referral_Subject_MALE,
		Address: &typev1.PostalAddress{AddressLines: []string{"183 Mountain View St"}, Locality: "Mounds", AdministrativeArea: "OK", PostalCode: "74048", Country: "US"},
	}
	if !proto.Equal(person, want) {
		t.Errorf("Patient read as %v", person)
	}
	_, err = readIntake(t.Context(), testCall(profileSDOHCC), parse("ServiceRequest-SDOHCC-ServiceRequestActiveFoodPantryApplicationAssistExample"))
	for _, at := range []string{"ServiceRequest.code", "ServiceRequest.category[1]", "ServiceRequest.reasonReference", "ServiceRequest.subject"} {
		expectIssue(t, err, at, "")
	}
	_, _, err = readConsent(parse("Consent-SDOHCC-ConsentInformationDisclosureExample"), "Consent")
	expectIssue(t, err, "Consent.source.data", "title")

	// With what is refused put right, and references resolved, they are taken.
	put := strings.NewReplacer("467771000124109", "711281004", "food-insecurity", "social-connection", "Patient/pat-53234", "Patient/"+patientID)
	request := map[string]any{}
	if err := json.Unmarshal([]byte(put.Replace(string(all["ServiceRequest-SDOHCC-ServiceRequestActiveFoodPantryApplicationAssistExample"]))), &request); err != nil {
		t.Fatal(err)
	}
	delete(request, "reasonReference")
	doc, err := r4.Parse(validated(t, request))
	if err != nil {
		t.Fatal(err)
	}
	in, err := readIntake(t.Context(), testCall(profileSDOHCC), doc)
	if err != nil || in.draft || in.referral.GetPatient() != "patients/"+patientID {
		t.Errorf("%v, %v", in, err)
	}
}
