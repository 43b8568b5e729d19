package partners

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
)

// Who tries Cairn on a machine of her own may receive without TLS there, if the operator allows private addresses.
func TestReceiverOnThisMachine(t *testing.T) {
	t.Parallel()
	took := make(chan *http.Request, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { took <- r }))
	t.Cleanup(srv.Close)
	url := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1) + "/in"
	create := func(h *hooks) (*partnersv1.WebhookSubscription, error) {
		return h.CreateWebhookSubscription(h.ctx, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: &partnersv1.WebhookSubscription{
			Url: url, EventTypes: []string{"care.cairn.referral.referral.*"}, Format: partnersv1.WebhookSubscription_FHIR_NOTIFICATION,
			Fhir: &partnersv1.WebhookSubscription_Fhir{Topic: partnersv1.WebhookSubscription_Fhir_TASK},
		}})
	}
	h := setupWebhooks(t)
	w := ok(create(h))(t)
	h.becomes(t, w, "active", standing(partnersv1.WebhookSubscription_ACTIVE))
	if r := <-took; r.URL.Path != "/in" || r.Header.Get("Webhook-Signature") == "" {
		t.Errorf("received %v", r)
	}
	_, err := h.UpdateWebhookSubscription(h.ctx, &partnersv1.UpdateWebhookSubscriptionRequest{WebhookSubscription: &partnersv1.WebhookSubscription{Name: w.GetName(), Url: "http://10.0.0.7/"}})
	if field(err) != "webhook_subscription.url" {
		t.Errorf("http to another machine: %v, want it refused", err)
	}
	if _, err := create(setupWebhooks(t, func(c *chassis.Config) { c.AllowPrivateOutbound = false })); field(err) != "webhook_subscription.url" {
		t.Errorf("http where private addresses are not allowed: %v, want it refused", err)
	}
}
