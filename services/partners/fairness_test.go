package partners

import (
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/types/known/durationpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
)

// hold pauses a subscription.
func (h *hooks) hold(t testing.TB, w *partnersv1.WebhookSubscription) {
	t.Helper()
	ok(h.PauseWebhookSubscription(h.ctx, &partnersv1.PauseWebhookSubscriptionRequest{Name: w.GetName()}))(t)
}

// waiting waits until so many deliveries are in line.
func (h *hooks) waiting(t testing.TB, want int) {
	t.Helper()
	within(t, "in line", func() (int, bool) {
		n := h.count(t, `SELECT count(*) FROM webhook_deliveries WHERE state = 'PENDING'`)
		return n, n == want
	})
}

// Tries that fail together are one failure of the receiver, which is tried again as soon as after one.
func TestFailuresTogetherAreOne(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	h.hold(t, w)
	for range deliverPer {
		h.changes(t, name("referrals"), 1, 1)
	}
	h.waiting(t, deliverPer)
	release := make(chan struct{})
	h.answers(func(rw http.ResponseWriter, r *http.Request, _ []byte) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
	})
	ok(h.ResumeWebhookSubscription(h.ctx, &partnersv1.ResumeWebhookSubscriptionRequest{Name: w.GetName()}))(t)
	for range deliverPer {
		h.next(t)
	}
	close(release)
	within(t, "all failed", func() (int, bool) {
		n := h.count(t, `SELECT count(*) FROM webhook_attempts`)
		return n, n == deliverPer
	})
	if now := h.get(t, w); now.GetNextAttemptTime().AsTime().Sub(h.Clock.Now()) > firstWait {
		t.Errorf("waits until %v at %v, want %v at most", now.GetNextAttemptTime().AsTime(), h.Clock.Now(), firstWait)
	}
	h.Clock.Advance(firstWait)
	h.next(t)
	h.becomes(t, w, "failed twice", func(w *partnersv1.WebhookSubscription) bool {
		return w.GetNextAttemptTime().AsTime().Sub(h.Clock.Now()) > firstWait
	})
}

// When there is room for few, who has waited longest comes first, whatever the subscription's id.
func TestLongestDueIsClaimedFirst(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	first, last := h.subscribe(t, h.url), h.subscribe(t, h.url)
	h.hold(t, first)
	h.hold(t, last)
	h.changes(t, name("referrals"), 1, 1)
	h.waiting(t, 2)
	// Due for a sender whose clock is ahead, and not for the service's own.
	now := h.Clock.Now()
	args := pgx.NamedArgs{"last": idOf(last), "sooner": now.Add(time.Hour), "later": now.Add(2 * time.Hour)}
	h.change(t, `UPDATE webhook_lanes SET due_time = CASE WHEN subscription_id = @last THEN @sooner::timestamptz ELSE @later END`, args)
	h.change(t, `UPDATE webhook_subscriptions SET state = 'ACTIVE', pause_reason = ''`, nil)
	d := ok(newDeliverer(&service{db: h.DBs[Name], clock: clock.NewFake(now.Add(3 * time.Hour))}, nil, noop.Meter{}))(t)
	d.all = deliverAtMax - 1
	for _, want := range []*partnersv1.WebhookSubscription{last, first} {
		lanes := ok(d.claim(auth.System(t.Context(), Name)))(t)
		if len(lanes) != 1 || lanes[0].Subscription != idOf(want) {
			t.Errorf("claimed %v, want that of %s", lanes, want.GetName())
		}
		d.all = deliverAtMax - 1
	}
	if lanes := ok(d.claim(auth.System(t.Context(), Name)))(t); len(lanes) > 0 {
		t.Errorf("claimed %v twice", lanes)
	}
}

// However many subscriptions cannot be given their heartbeat, the others hear theirs.
func TestFailingHeartbeatsHoldNobody(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribeFHIR(t, &partnersv1.WebhookSubscription_Fhir{Topic: partnersv1.WebhookSubscription_Fhir_TASK, HeartbeatPeriod: durationpb.New(time.Hour)})
	h.next(t)
	h.becomes(t, w, "active", standing(partnersv1.WebhookSubscription_ACTIVE))
	// Before it in any order, with types that cannot be read.
	h.change(t, `
		INSERT INTO webhook_subscriptions (`+webhookColumns+`)
		SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, org_id, audience, revision, display_name, url, '{NULL}', patterns, services, format,
			state, pause_reason, failing_time, failures, retry_time, last_failure, dropped_before_time, secret, previous_secret, previous_secret_expire,
			fhir_topic, fhir_headers, fhir_heartbeat, fhir_heartbeat_time - interval '1 minute', end_time, event_count, create_time, update_time
		FROM webhook_subscriptions, generate_series(1, @n::int) AS n`, pgx.NamedArgs{"n": noticesAtOnce + 20})
	h.change(t, `UPDATE webhook_subscriptions SET display_name = 'the good one' WHERE id = @id`, pgx.NamedArgs{"id": idOf(w)})
	h.Clock.Advance(time.Hour)
	if n := read(t, h.next(t)); n.kind != "heartbeat" {
		t.Errorf("an hour later comes %+v, want a heartbeat", n)
	}
}
