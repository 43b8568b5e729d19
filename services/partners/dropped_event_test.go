package partners

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
)

// change changes what the service has stored.
func (s *suite) change(t testing.TB, sql string, args pgx.NamedArgs) {
	t.Helper()
	ctx := auth.System(t.Context(), Name)
	if err := s.DBs[Name].Tx(ctx, func(tx pgx.Tx) error { return second(tx.Exec(ctx, sql, args)) }); err != nil {
		t.Fatal(err)
	}
}

// count returns how many a statement counts.
func (s *suite) count(t testing.TB, sql string) (n int) {
	t.Helper()
	ctx := auth.System(t.Context(), Name)
	if err := s.DBs[Name].Tx(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// waitForLocks counts the connections to the test's database that wait for a lock.
const waitForLocks = `
SELECT count(DISTINCT pid) FROM pg_locks
WHERE NOT granted AND pid IN (SELECT pid FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()))`

// blocked waits until so many of the service's connections wait for a lock.
func (s *suite) blocked(t testing.TB, n int) {
	t.Helper()
	within(t, "waiting for a lock", func() (int, bool) {
		is := s.count(t, waitForLocks)
		return is, is == n
	})
}

// idOf returns the id in a subscription's name.
func idOf(w *partnersv1.WebhookSubscription) uuid.UUID {
	return uuid.MustParse(strings.TrimPrefix(w.GetName(), webhookSubscriptions+"/"))
}

// An event that is dropped while it waits is passed over, and its subscription says so; what comes after it is sent.
func TestDroppedEventIsPassedOver(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	for format, w := range map[string]*partnersv1.WebhookSubscription{
		cloudEvents: h.subscribe(t, h.url), fhirNotification: h.subscribeFHIR(t, &partnersv1.WebhookSubscription_Fhir{Topic: partnersv1.WebhookSubscription_Fhir_TASK}),
	} {
		h.becomes(t, w, "active", standing(partnersv1.WebhookSubscription_ACTIVE))
		ok(h.PauseWebhookSubscription(h.ctx, &partnersv1.PauseWebhookSubscriptionRequest{Name: w.GetName()}))(t)
		if format == fhirNotification {
			h.next(t) // the handshake
		}
	}
	lost, kept := name("referrals"), name("referrals")
	h.changes(t, lost, 1, 1)
	h.changes(t, lost, 2, 2)
	h.changes(t, kept, 1, 1)
	const waits = `SELECT count(*) FROM webhook_deliveries WHERE position > 0 AND state = 'PENDING'`
	within(t, "in line", func() (int, bool) {
		n := h.count(t, waits)
		return n, n == 6
	})
	h.change(t, `DELETE FROM event_log WHERE subject = @lost AND revision = 1`, pgx.NamedArgs{"lost": lost})
	for _, w := range ok(h.ListWebhookSubscriptions(h.ctx, &partnersv1.ListWebhookSubscriptionsRequest{}))(t).GetWebhookSubscriptions() {
		ok(h.ResumeWebhookSubscription(h.ctx, &partnersv1.ResumeWebhookSubscriptionRequest{Name: w.GetName()}))(t)
		now := h.becomes(t, w, "done", func(w *partnersv1.WebhookSubscription) bool { return w.OldestPendingTime == nil })
		if now.DroppedBeforeTime == nil {
			t.Errorf("%v does not say that it has lost an event", now)
		}
		skipped := ok(h.ListWebhookDeliveries(h.ctx, &partnersv1.ListWebhookDeliveriesRequest{Parent: w.GetName(), Filter: "state = SKIPPED"}))(t).GetDeliveries()
		if len(skipped) != 1 || skipped[0].GetSubject() != lost || skipped[0].GetAttemptCount() != 0 {
			t.Errorf("passed over are %v, want the one that was dropped", skipped)
		}
		for range 2 {
			if got := h.next(t); w.GetFormat() == partnersv1.WebhookSubscription_CLOUD_EVENTS && got.event.Subject == lost && got.event.Revision != 2 {
				t.Errorf("sent was %s, want what is kept", got.body)
			} else if w.GetFormat() == partnersv1.WebhookSubscription_FHIR_NOTIFICATION && read(t, got).kind != "event-notification" {
				t.Errorf("sent was %s, want what is kept", got.body)
			}
		}
	}
	h.Clock.Advance(2 * keepEvents)
	if err := (&service{db: h.DBs[Name], clock: h.Clock}).sweepEvents(auth.System(t.Context(), Name)); err != nil {
		t.Fatal(err)
	}
	h.changes(t, kept, 2, 2)
	h.next(t)
	if err := (&service{db: h.DBs[Name], clock: h.Clock}).sweepEvents(auth.System(t.Context(), Name)); err != nil {
		t.Fatal(err)
	}
	if n := h.count(t, `SELECT count(*) FROM webhook_deliveries WHERE state = 'SKIPPED'`); n != 0 {
		t.Errorf("%d deliveries are kept longer than their event", n)
	}
}

// Old events are not dropped while somebody puts them in line again.
func TestReplayHoldsTheSweep(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	old, recent := name("referrals"), name("referrals")
	begin := h.Clock.Now()
	h.changes(t, old, 1, 1)
	h.watch(t, h.ctx, &partnersv1.WatchEventsRequest{}).next()
	h.Clock.Advance(time.Hour)
	w := h.subscribe(t, h.url)
	h.changes(t, recent, 1, 1)
	h.next(t)
	h.becomes(t, w, "done", func(w *partnersv1.WebhookSubscription) bool { return w.OldestPendingTime == nil })
	ok(h.PauseWebhookSubscription(h.ctx, &partnersv1.PauseWebhookSubscriptionRequest{Name: w.GetName()}))(t)

	// The replay has put the old event in line and waits before the recent one.
	ctx := auth.System(t.Context(), Name)
	replayed, swept := make(chan error, 1), make(chan error, 1)
	err := h.DBs[Name].Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM webhook_deliveries FOR UPDATE`); err != nil {
			return err
		}
		go func() {
			_, err := h.ReplayWebhookEvents(h.ctx, &partnersv1.ReplayWebhookEventsRequest{
				Name: w.GetName(), Start: &partnersv1.ReplayWebhookEventsRequest_StartTime{StartTime: timestamppb.New(begin.Add(-time.Hour))},
			})
			replayed <- err
		}()
		h.blocked(t, 1)
		go func() {
			swept <- (&service{db: h.DBs[Name], clock: clock.NewFake(begin.Add(keepEvents + time.Minute))}).sweepEvents(ctx)
		}()
		within(t, "held or through", func() (int, bool) {
			n := h.count(t, waitForLocks)
			return n, n == 2 || len(swept) == 1
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, done := range map[string]chan error{"replay": replayed, "sweep": swept} {
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	const orphans = `SELECT count(*) FROM webhook_deliveries d LEFT JOIN event_log e USING (position) WHERE d.position > 0 AND e.position IS NULL`
	if n := h.count(t, orphans); n != 0 {
		t.Errorf("%d deliveries wait for events that are dropped", n)
	}
	if h.get(t, w).DroppedBeforeTime == nil {
		t.Error("the subscription does not say that it has lost the old event")
	}
}

// Who reads the log while it is swept is told that events are gone, and does not go on behind them.
func TestSweepDuringARead(t *testing.T) {
	t.Parallel()
	for what, read := range map[string]func(context.Context, *service, *reader, *timestamppb.Timestamp) error{
		"the next page": func(ctx context.Context, _ *service, r *reader, _ *timestamppb.Timestamp) error {
			_, _, err := r.next(ctx)
			return err
		},
		"since a time": func(ctx context.Context, s *service, _ *reader, start *timestamppb.Timestamp) error {
			return second(s.openLog(ctx, "", start, nil, "", 0))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := setupWith(t, teller("referral"))
			referral, start := name("referrals"), timestamppb.New(s.Clock.Now().Add(-time.Hour))
			s.tell(t, "referral", "referral.sent", referral, 1, sent(referral))
			ctx := suitetest.Client(t.Context(), hospital, "referrals.read")
			within(t, "logged", func() (int, bool) {
				n := len(s.listEvents(t, ctx, &partnersv1.ListEventsRequest{}).GetEvents())
				return n, n == 1
			})
			// One connection that has prepared its statements: they wait for the sweep when they run, and not before.
			shared := s.DBs[Name]
			db, err := pg.Connect(t.Context(), pg.Options{AdminURL: pgtest.URL(t), Service: Name, MaxConns: 1}, shared.Name(), shared.Role())
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			alone := &service{db: db, clock: s.Clock}
			bound := auth.WithTenant(ctx, auth.Tenant{Org: uuid.MustParse(strings.TrimPrefix(hospital, "organizations/"))})
			warm, r := ok(alone.openLog(bound, "", start, nil, "", 0))(t), ok(alone.openLog(bound, "", start, nil, "", 0))(t)
			if list, _, err := warm.next(bound); err != nil || len(list) != 1 {
				t.Fatalf("the log has %v, %v; want one event", list, err)
			}
			got := make(chan error, 1)
			system := auth.System(t.Context(), Name)
			err = shared.Tx(system, func(tx pgx.Tx) error {
				if _, err := tx.Exec(system, `LOCK TABLE event_log IN ACCESS EXCLUSIVE MODE`); err != nil {
					return err
				}
				go func() { got <- read(bound, alone, r, start) }()
				s.blocked(t, 1)
				return second(tx.Exec(system, `
					WITH dropped AS (DELETE FROM event_log RETURNING changed_xid, log_time)
					UPDATE event_log_end SET purged_xid = newest.xid, log_time = newest.time
					FROM (SELECT max(changed_xid) AS xid, max(log_time) AS time FROM dropped) AS newest`))
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := <-got; err == nil || !strings.Contains(err.Error(), cursorExpired().Error()) {
				t.Errorf("%v, want CURSOR_EXPIRED", err)
			}
		})
	}
}

// What goes wrong in one lane ends neither the process nor the others, and is a failed try.
func TestPanicEndsItsLane(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	h.answers(answering(503))
	referral := name("referrals")
	h.changes(t, referral, 1, 1)
	h.becomes(t, w, "failing", standing(partnersv1.WebhookSubscription_FAILING))
	l := lane{idOf(w), referral, uuid.New()}
	h.change(t, `UPDATE webhook_lanes SET lease = @lease WHERE subscription_id = @sub AND subject = @subject`, l.args())
	var said bytes.Buffer
	broken := ok(newDeliverer(&service{db: h.DBs[Name], clock: h.Clock, log: slog.New(slog.NewTextHandler(&said, nil))}, nil, noop.Meter{}))(t)
	broken.work(auth.System(t.Context(), Name), l) // it has no keys
	if !strings.Contains(said.String(), "panicked") || !strings.Contains(said.String(), referral) {
		t.Errorf("the log says %q", said.String())
	}
	if got := h.get(t, w); got.GetLastFailure() != "could not be prepared" {
		t.Errorf("the subscription is %v", got)
	}
}

// An event that Cairn cannot prepare is tried and fails as one that its receiver refuses: for three days, after which who waits for it is
// told.
func TestUnpreparedEvent(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	for part, w := range map[string]*partnersv1.WebhookSubscription{
		"secret":       h.subscribe(t, h.url),
		"fhir_headers": h.subscribeFHIR(t, &partnersv1.WebhookSubscription_Fhir{Topic: partnersv1.WebhookSubscription_Fhir_TASK, Headers: []string{"X-Channel: 7"}}),
	} {
		h.becomes(t, w, "active", standing(partnersv1.WebhookSubscription_ACTIVE))
		h.change(t, `UPDATE webhook_subscriptions SET `+part+` = '\x00' WHERE id = @id`, pgx.NamedArgs{"id": idOf(w)})
		h.changes(t, name("referrals"), 1, 1)
		tried := within(t, "tried", func() (*partnersv1.WebhookDelivery, bool) {
			list := ok(h.ListWebhookDeliveries(h.ctx, &partnersv1.ListWebhookDeliveriesRequest{Parent: w.GetName(), Filter: "state = PENDING AND attempt_count > 0"}))(t).GetDeliveries()
			if len(list) == 0 {
				return nil, false
			}
			return list[0], true
		})
		if a := tried.GetAttempts()[0]; a.GetFailure() != "could not be prepared" || a.GetStatusCode() != 0 || tried.NextAttemptTime == nil {
			t.Errorf("%s: the try is %v", part, tried)
		}
		if got := h.get(t, w); got.GetState() != partnersv1.WebhookSubscription_ACTIVE || got.GetLastFailure() != "could not be prepared" {
			t.Errorf("%s: the subscription is %v", part, got)
		}
		h.change(t, `UPDATE webhook_deliveries SET failing_time = failing_time - '3 days'::interval WHERE subscription_id = @id`, pgx.NamedArgs{"id": idOf(w)})
		h.Clock.Advance(mostWait)
		paused := h.becomes(t, w, "paused", standing(partnersv1.WebhookSubscription_PAUSED))
		if paused.GetPauseReason() != partnersv1.WebhookSubscription_NOT_DELIVERED {
			t.Errorf("%s: paused is %v", part, paused)
		}
	}
}
