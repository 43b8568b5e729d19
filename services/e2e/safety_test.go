package e2e_test

import (
	"strings"
	"testing"

	"cairn.care/services/internal/smtptest"
	"cairn.care/services/internal/suitetest"
)

// TestUrgentConcernIsMailed has the clinical advisor and the organization told of an urgent concern, in their languages, and of nothing
// that says what it is or whom it is about; the lead, who does not act on it, is told of nothing.
func TestUrgentConcernIsMailed(t *testing.T) {
	t.Parallel()
	mailbox := smtptest.Start(t)
	w := newWorld(t, suitetest.Mail(mailbox.Address))
	nonprofit := w.nonprofit(t, "Puentes")
	nonprofit.do(t, "PATCH", "/v1/"+nonprofit.org, obj{"contact": obj{"email": "office@puentes.example"}}).ok(t)
	facilitator := func(email, language string) string {
		return nonprofit.post(t, "/v1/facilitators", obj{
			"displayName": "Ana", "email": email, "languages": list{language},
			"licence": obj{"profession": "p", "number": "n", "jurisdiction": "US", "expireDate": obj{"year": 2040, "month": 1, "day": 1}},
		}).ok(t).text("name")
	}
	lead, advisor := facilitator("lead@puentes.example", "en"), facilitator("advisor@puentes.example", "es-MX")
	group := nonprofit.post(t, "/v1/groups", circle(func(g obj) {
		g["facilitators"] = list{obj{"facilitator": lead, "role": "LEAD"}, obj{"facilitator": advisor, "role": "CLINICAL_ADVISOR"}}
	})).ok(t).text("name")
	nonprofit.post(t, "/v1/"+group+":publish", obj{}).ok(t)
	membership := nonprofit.joins(t, group)
	concern := nonprofit.post(t, "/v1/safetyConcerns", obj{
		"group": group, "membership": membership, "kind": "SELF_HARM_RISK", "severity": "URGENT", "description": "zimmerworry",
	}).ok(t)
	if concern.text("actor") != "CLINICAL_ADVISOR" {
		t.Fatalf("who acts: %s", concern.body)
	}
	told := mailbox.Wait(t, "advisor@puentes.example", 1)[0]
	if !strings.Contains(told.Text, concern.text("name")) || !strings.Contains(told.Subject, "aviso") {
		t.Errorf("the advisor is told %q: %s", told.Subject, told.Text)
	}
	office := mailbox.Wait(t, "office@puentes.example", 1)[0]
	for _, m := range []smtptest.Message{told, office} {
		for _, word := range []string{"zimmer", "Wren", membership, "SELF_HARM"} {
			if strings.Contains(m.Raw, word) {
				t.Errorf("the message to %s says %q", m.To, word)
			}
		}
	}
	if got := mailbox.Mailbox("lead@puentes.example"); len(got) != 0 {
		t.Errorf("the lead is told of %d", len(got))
	}
}
