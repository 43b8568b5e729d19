package fhir

import (
	"encoding/json"
	"testing"

	"cairn.care/services/formats/fhir/r4"
)

// FuzzReferralResources reads any JSON as the resources of referrals: it is taken or refused, and what is taken is shown as valid FHIR.
func FuzzReferralResources(f *testing.F) {
	for _, body := range []any{
		requestBody(meta("9", testNow), profileSDOHCC, fullReferral()), taskBody(meta("9", testNow), profileBSER, fullReferral()),
		consentBody(nil, fullReferral(), testNow), patientBody(patientID, nil, "", fullReferral().GetSubject()),
	} {
		raw, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"resourceType":"ServiceRequest","status":"active","intent":"order","subject":{"reference":"#p"},"contained":[{"resourceType":"Patient","id":"p","name":[null]}]}`))
	f.Add([]byte(`{"resourceType":"Task","status":"requested","intent":"order","output":[{"type":{},"valueBoolean":true}],"restriction":{"period":{}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := r4.Parse(raw, "ServiceRequest", "Task", "Consent", "Patient")
		if err != nil {
			return
		}
		c := testCall(profileSDOHCC)
		var shown any
		switch doc.Type {
		case "ServiceRequest":
			if in, err := readIntake(t.Context(), c, doc); err == nil {
				in.referral.Name, in.referral.ServiceRequestStatus = "referrals/"+referralID, "active"
				in.referral.CreateTime, in.referral.Patient = fullReferral().GetCreateTime(), "patients/"+patientID
				shown = requestBody(nil, profileSDOHCC, in.referral)
			}
		case "Task":
			now := taskBody(nil, profileSDOHCC, fullReferral())
			if step, r, err := readChanged(doc, now, profileSDOHCC); err == nil {
				r.unchanged(c, step.body, now)
			}
		case "Consent":
			if consent, _, err := readConsent(doc, "Consent"); err == nil {
				m := fullReferral()
				m.Consent = consent
				shown = consentBody(nil, m, testNow)
			}
		case "Patient":
			if person, err := subjectOf(doc, "Patient", testNow); err == nil {
				shown = patientBody(patientID, nil, "", person)
			}
		}
		if shown == nil {
			return
		}
		again, err := json.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r4.Parse(again); err != nil {
			t.Errorf("taken, but shown as no FHIR: %v\n%s\n%s", err, raw, again)
		}
	})
}
