package partners

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/internal/fhirtest"
)

// notified is a notification as its receiver reads it.
type notified struct {
	kind, number, status, topic, focus string
	events                             []string // fullUrls of the entries behind the first
}

func read(t testing.TB, one *received) notified {
	t.Helper()
	fhirtest.ValidateOutside(t, one.body)
	var b struct {
		Type  string
		Entry []struct {
			FullURL  string `json:"fullUrl"`
			Resource struct {
				Parameter []struct {
					Name, ValueCode, ValueString, ValueCanonical string
					Part                                         []struct {
						Name           string
						ValueReference struct{ Reference string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(one.body, &b); err != nil || b.Type != "history" || len(b.Entry) == 0 {
		t.Fatalf("%s: %v", one.body, err)
	}
	var n notified
	for _, p := range b.Entry[0].Resource.Parameter {
		switch p.Name {
		case "type":
			n.kind = p.ValueCode
		case "status":
			n.status = p.ValueCode
		case "topic":
			n.topic = p.ValueCanonical
		case "events-since-subscription-start":
			n.number = p.ValueString
		case "notification-event":
			for _, part := range p.Part {
				if part.Name == "focus" {
					n.focus = part.ValueReference.Reference
				}
			}
		}
	}
	for _, e := range b.Entry[1:] {
		n.events = append(n.events, e.FullURL)
	}
	return n
}

// subscribeFHIR subscribes the hospital to Tasks.
func (h *hooks) subscribeFHIR(t testing.TB, f *partnersv1.WebhookSubscription_Fhir) *partnersv1.WebhookSubscription {
	t.Helper()
	return ok(h.CreateWebhookSubscription(h.ctx, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: &partnersv1.WebhookSubscription{
		Url: h.url, EventTypes: []string{"care.cairn.referral.referral.*"}, Format: partnersv1.WebhookSubscription_FHIR_NOTIFICATION, Fhir: f,
	}}))(t)
}

// A FHIR subscription begins with a handshake; then it is told which resource has changed, numbered, and nothing more.
func TestFHIRSubscription(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	h.answers(answering(http.StatusInternalServerError))
	w := h.subscribeFHIR(t, &partnersv1.WebhookSubscription_Fhir{Topic: partnersv1.WebhookSubscription_Fhir_TASK, Headers: []string{"Authorization: Bearer of-theirs", "X-Channel:7"}})
	if w.GetState() != partnersv1.WebhookSubscription_REQUESTED || len(w.GetFhir().GetHeaders()) > 0 || !w.GetFhir().GetHeadersKept() {
		t.Errorf("created is %v", w)
	}
	referral := name("referrals")
	_, id, _ := strings.Cut(referral, "/")
	h.changes(t, referral, 1, 2)
	first := h.next(t)
	if n := read(t, first); n.kind != "handshake" || n.number != "0" || n.status != "requested" || n.topic != "https://cairn.care/fhir/SubscriptionTopic/task" {
		t.Errorf("the first is %+v", n)
	}
	if first.header.Get("Authorization") != "Bearer of-theirs" || first.header.Get("X-Channel") != "7" || first.header.Get("Content-Type") != "application/fhir+json" {
		t.Errorf("with %v", first.header)
	}
	first.verify(t, w.GetSecret())
	h.becomes(t, w, "refused", func(w *partnersv1.WebhookSubscription) bool {
		return w.GetLastFailure() == "answered 500" && w.GetState() == partnersv1.WebhookSubscription_REQUESTED
	})
	h.answers(nil)
	h.Clock.Advance(firstWait)
	if n := read(t, h.next(t)); n.kind != "handshake" {
		t.Errorf("the second is %+v, want the handshake again", n)
	}
	for _, number := range []string{"1", "2"} {
		task := "http://cairn.test/fhir/R4/Task/" + id
		if n := read(t, h.next(t)); n.kind != "event-notification" || n.number != number || n.focus != task || !slices.Equal(n.events, []string{task}) || n.status != "active" {
			t.Errorf("then %+v, want event %s of %s", n, number, task)
		}
	}
	if now := h.get(t, w); now.GetState() != partnersv1.WebhookSubscription_ACTIVE || now.GetFhir().GetEventCount() != 2 {
		t.Errorf("now it is %v", now)
	}
	test := ok(h.TestWebhookSubscription(h.ctx, &partnersv1.TestWebhookSubscriptionRequest{Name: w.GetName()}))(t)
	if n := read(t, h.next(t)); n.kind != "heartbeat" || test.GetAttempt().GetStatusCode() != 200 {
		t.Errorf("the test sent %+v: %v", n, test)
	}
}

// A quiet subscription hears a heartbeat; when its end has come it hears nothing any more.
func TestFHIRHeartbeatAndEnd(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribeFHIR(t, &partnersv1.WebhookSubscription_Fhir{
		Topic: partnersv1.WebhookSubscription_Fhir_SERVICE_REQUEST, HeartbeatPeriod: durationpb.New(time.Hour), EndTime: timestamppb.New(h.Clock.Now().Add(150 * time.Minute)),
	})
	read(t, h.next(t))
	h.becomes(t, w, "active", standing(partnersv1.WebhookSubscription_ACTIVE))
	for range 2 {
		h.Clock.Advance(time.Hour)
		if n := read(t, h.next(t)); n.kind != "heartbeat" || n.topic != "https://cairn.care/fhir/SubscriptionTopic/servicerequest" {
			t.Errorf("an hour later comes %+v", n)
		}
	}
	h.Clock.Advance(time.Hour)
	if ended := h.becomes(t, w, "paused", standing(partnersv1.WebhookSubscription_PAUSED)); ended.GetPauseReason() != partnersv1.WebhookSubscription_ENDED {
		t.Errorf("ended is %v", ended)
	}
	_, err := h.ResumeWebhookSubscription(h.ctx, &partnersv1.ResumeWebhookSubscriptionRequest{Name: w.GetName()})
	if _, why := reason(err); why != "SUBSCRIPTION_ENDED" {
		t.Errorf("resumed after its end: %v", err)
	}
}
