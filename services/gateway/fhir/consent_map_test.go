package fhir

import (
	"slices"
	"testing"
	"time"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// A provision that lists no code permits, or denies, everything; neither recipients nor a purpose nor an end change that.
func TestConsentProvisions(t *testing.T) {
	t.Parallel()
	all := []referralv1.Referral_Consent_Item{
		referralv1.Referral_Consent_NAME, referralv1.Referral_Consent_BIRTH_DATE, referralv1.Referral_Consent_CONTACT, referralv1.Referral_Consent_IDENTIFIERS, referralv1.Referral_Consent_CLINICAL,
	}
	name := map[string]any{"coding": []any{map[string]any{"system": consentItems, "code": "name"}}}
	actor := []any{map[string]any{"role": map[string]any{"text": "recipient"}, "reference": map[string]any{"reference": "Organization/" + patientID}}}
	for _, c := range []struct {
		title, status string
		provision     any
		want          []referralv1.Referral_Consent_Item
		refused       string
	}{
		{"no provision", "active", nil, all, ""},
		{"a permit", "active", map[string]any{"type": "permit"}, all, ""},
		{"an end", "active", map[string]any{"type": "permit", "period": map[string]any{"end": "2030"}}, all, ""},
		{"an actor", "active", map[string]any{"actor": actor}, all, ""},
		{"a purpose", "active", map[string]any{"purpose": []any{map[string]any{"code": "TREAT"}}}, all, ""},
		{"another purpose", "active", map[string]any{"purpose": []any{map[string]any{"code": "HMARKT"}}}, nil, "Consent.provision.purpose[0]"},
		{"a code", "active", map[string]any{"type": "permit", "code": []any{name}}, all[:1], ""},
		{"a denial", "active", map[string]any{"type": "deny"}, nil, ""},
		{"a denial of a code", "active", map[string]any{"type": "deny", "code": []any{name}}, nil, "Consent.provision.type"},
		{"one that was withdrawn, as it was read", "inactive", map[string]any{"type": "deny", "code": []any{name}}, all[:1], ""},
	} {
		sent := map[string]any{
			"resourceType": "Consent", "status": c.status, "dateTime": "2026-01-02", "sourceAttachment": map[string]any{"title": "form 12"},
			"scope": concept(consentScopes, "patient-privacy", ""), "category": []any{concept(actCodes, "IDSCL", "")}, "policyRule": concept(actCodes, "OPTIN", ""),
		}
		if c.provision != nil {
			sent["provision"] = c.provision
		}
		doc, err := r4.Parse(validated(t, sent), "Consent")
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := readConsent(doc, "Consent")
		if c.refused != "" {
			expectIssue(t, err, c.refused, "")
			continue
		}
		if err != nil || !slices.Equal(got.GetShare(), c.want) {
			t.Errorf("%s: shares %v, want %v; %v", c.title, got.GetShare(), c.want, err)
			continue
		}
		if c.status != "active" {
			continue
		}
		r := fullReferral()
		r.Consent = got
		if doc, err = r4.Parse(validated(t, consentBody(nil, r, time.Unix(0, 0))), "Consent"); err != nil {
			t.Fatal(err)
		}
		if again, _, err := readConsent(doc, "Consent"); err != nil || !slices.Equal(again.GetShare(), c.want) {
			t.Errorf("%s: shown and sent again it shares %v, %v", c.title, again.GetShare(), err)
		}
	}
}
