package partners

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
)

// A replay needs one connection and not two: any number at once end, however small the pool is.
func TestReplayNeedsOneConnection(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	h.changes(t, name("referrals"), 1, 2)
	h.next(t)
	h.next(t)
	ctx := auth.WithTenant(h.ctx, auth.Tenant{Org: uuid.MustParse(hospital[len("organizations/"):])})
	cursor := h.listEvents(t, h.ctx, &partnersv1.ListEventsRequest{Types: []string{"care.cairn.referral.*"}}).GetEvents()[0].GetCursor()
	shared := h.DBs[Name]
	db, err := pg.Connect(t.Context(), pg.Options{AdminURL: pgtest.URL(t), Service: Name, MaxConns: 1}, shared.Name(), shared.Role())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	alone := &webhooksServer{service: &service{db: db, clock: h.Clock, deliverer: &deliverer{woken: make(chan struct{}, 1)}}}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	n := ok(alone.ReplayWebhookEvents(ctx, &partnersv1.ReplayWebhookEventsRequest{
		Name: w.GetName(), Start: &partnersv1.ReplayWebhookEventsRequest_Cursor{Cursor: cursor},
	}))(t)
	if n.GetEventCount() != 1 {
		t.Errorf("%d events are sent again, want 1", n.GetEventCount())
	}
}

// An event that is to be sent again while another of its resource is being sent waits for it.
func TestRedeliverLeavesTheLaneToItsSender(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	referral := name("referrals")
	h.changes(t, referral, 1, 1)
	h.next(t)
	h.becomes(t, w, "done", func(w *partnersv1.WebhookSubscription) bool { return w.OldestPendingTime == nil })
	first := ok(h.ListWebhookDeliveries(h.ctx, &partnersv1.ListWebhookDeliveriesRequest{Parent: w.GetName()}))(t).GetDeliveries()[0]
	release := make(chan struct{})
	h.answers(func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	h.changes(t, referral, 2, 2)
	if e := h.next(t).event; e.Revision != 2 {
		t.Fatalf("%v came, want revision 2", e)
	}
	held := h.lane(t)
	ok(h.RedeliverWebhookEvent(h.ctx, &partnersv1.RedeliverWebhookEventRequest{Name: first.GetName()}))(t)
	if now := h.lane(t); now != held {
		t.Errorf("the lane is %q and was %q: its sender has lost it", now, held)
	}
	close(release)
	if e := h.next(t).event; e.Revision != 1 {
		t.Errorf("%v came, want revision 1 again", e)
	}
	h.becomes(t, w, "done", func(w *partnersv1.WebhookSubscription) bool { return w.OldestPendingTime == nil })
}

// lane says by whose lease, and until when, the only lane is held.
func (h *hooks) lane(t testing.TB) (held string) {
	t.Helper()
	ctx := auth.System(t.Context(), Name)
	if err := h.DBs[Name].Tx(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT lease || ' until ' || due_time FROM webhook_lanes`).Scan(&held)
	}); err != nil {
		t.Fatal(err)
	}
	return held
}

// lanesWait is how long all lanes wait that there are, 0 while one is being sent: each has a wait of its own beside the subscription's.
func (h *hooks) lanesWait(t testing.TB) time.Duration {
	t.Helper()
	ctx := auth.System(t.Context(), Name)
	var due *time.Time
	if err := h.DBs[Name].Tx(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT CASE WHEN bool_and(lease IS NULL) THEN min(due_time) END FROM webhook_lanes`).Scan(&due)
	}); err != nil {
		t.Fatal(err)
	}
	if due == nil {
		return 0
	}
	return due.Sub(h.Clock.Now())
}

// What waits is sent to a new address at once, however long the old one has made it wait; the new one has failed at nothing.
func TestNewAddressIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url+"/old")
	h.answers(func(rw http.ResponseWriter, r *http.Request, _ []byte) {
		if r.URL.Path == "/old" {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	h.changes(t, name("referrals"), 1, 1)
	for range 3 {
		h.next(t)
		h.becomes(t, w, "failing again", func(w *partnersv1.WebhookSubscription) bool {
			return w.GetNextAttemptTime().AsTime().After(h.Clock.Now())
		})
		h.Clock.Advance(mostWait)
	}
	h.next(t)
	h.becomes(t, w, "failing again", func(w *partnersv1.WebhookSubscription) bool {
		return w.GetNextAttemptTime().AsTime().After(h.Clock.Now())
	})
	moved := ok(h.UpdateWebhookSubscription(h.ctx, &partnersv1.UpdateWebhookSubscriptionRequest{
		WebhookSubscription: &partnersv1.WebhookSubscription{Name: w.GetName(), Url: h.url + "/new"},
		UpdateMask:          &fieldmaskpb.FieldMask{Paths: []string{"url"}},
	}))(t)
	if moved.GetState() != partnersv1.WebhookSubscription_ACTIVE || moved.FailingTime != nil || moved.GetLastFailure() != "" {
		t.Errorf("with a new address it is %v", moved)
	}
	if got := h.next(t); got.path != "/new" {
		t.Errorf("sent to %s, want /new", got.path)
	}
	h.becomes(t, w, "done", func(w *partnersv1.WebhookSubscription) bool { return w.OldestPendingTime == nil })
}

// A try at the old address that fails after the change is none of the new one's failures.
func TestLateFailureOfTheOldAddress(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url+"/old")
	release := make(chan struct{})
	h.answers(func(rw http.ResponseWriter, r *http.Request, _ []byte) {
		if r.URL.Path == "/old" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			rw.WriteHeader(http.StatusGone)
		}
	})
	h.changes(t, name("referrals"), 1, 1)
	h.next(t)
	ok(h.UpdateWebhookSubscription(h.ctx, &partnersv1.UpdateWebhookSubscriptionRequest{
		WebhookSubscription: &partnersv1.WebhookSubscription{Name: w.GetName(), Url: h.url + "/new"},
		UpdateMask:          &fieldmaskpb.FieldMask{Paths: []string{"url"}},
	}))(t)
	close(release)
	if got := h.next(t); got.path != "/new" {
		t.Errorf("sent to %s, want /new", got.path)
	}
	now := h.becomes(t, w, "done", func(w *partnersv1.WebhookSubscription) bool { return w.OldestPendingTime == nil })
	if now.GetState() != partnersv1.WebhookSubscription_ACTIVE {
		t.Errorf("it is %v", now)
	}
}

// What is no longer kept is dropped in steps: whoever writes meanwhile waits for one of them at most.
func TestNoticesAreDroppedInSteps(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	h.change(t, `
		INSERT INTO webhook_deliveries (subscription_id, org_id, position, event_id, type, subject, state, create_time)
		SELECT id, org_id, n - @n::int - 1, gen_random_uuid(), 'heartbeat', 'heartbeat', 'DELIVERED', create_time
		FROM webhook_subscriptions, generate_series(1, @n::int) AS n WHERE id = @id`, pgx.NamedArgs{"n": sweptAtOnce + 1, "id": idOf(w)})
	ctx := auth.System(t.Context(), Name)
	swept := make(chan error, 1)
	err := h.DBs[Name].Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM webhook_deliveries WHERE position = -1 FOR UPDATE`); err != nil {
			return err
		}
		go func() {
			swept <- (&service{db: h.DBs[Name], clock: clock.NewFake(h.Clock.Now().Add(keepEvents + time.Hour))}).sweepEvents(ctx)
		}()
		h.blocked(t, 1)
		if n := h.count(t, `SELECT count(*) FROM webhook_deliveries`); n != 1 {
			t.Errorf("%d are there while the last waits, want it alone", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-swept; err != nil {
		t.Error(err)
	}
	if n := h.count(t, `SELECT count(*) FROM webhook_deliveries`); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// A call looks at so many events and no more: who looks for rare ones goes on, and who asks about one resource finds it at once.
func TestListEventsLooksAtSoMany(t *testing.T) {
	t.Parallel()
	s := setupWith(t, teller("referral"))
	s.change(t, `
		INSERT INTO event_log (org_id, event_id, service, type, subject, revision, time, log_time, data)
		SELECT @org, gen_random_uuid(), 'referral', 'care.cairn.referral.referral.sent.v1', 'referrals/' || n, 1, now(), now(), '{}'
		FROM generate_series(1, @n::int) AS n`, pgx.NamedArgs{"org": hospital[len("organizations/"):], "n": lookedAt + 1})
	rare := name("referrals")
	s.tell(t, "referral", "referral.closed", rare, 2, sent(rare))
	ctx := suitetest.Client(t.Context(), hospital, "referrals.read")
	req := &partnersv1.ListEventsRequest{Types: []string{"care.cairn.referral.referral.closed.v1"}}
	within(t, "found by its resource", func() (*partnersv1.ListEventsResponse, bool) {
		one := s.listEvents(t, ctx, &partnersv1.ListEventsRequest{Subject: rare})
		return one, len(one.GetEvents()) == 1
	})
	none := s.listEvents(t, ctx, req)
	if len(none.GetEvents()) != 0 || !none.GetHasMore() {
		t.Errorf("the first look finds %v, want none yet", none)
	}
	req.Cursor = none.GetNextCursor()
	within(t, "found", func() (*partnersv1.ListEventsResponse, bool) {
		found := s.listEvents(t, ctx, req)
		return found, len(found.GetEvents()) == 1 && found.GetEvents()[0].GetSubject() == rare && !found.GetHasMore()
	})
}
