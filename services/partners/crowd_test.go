package partners

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/metric/noop"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
)

// A crowd of subscriptions, most of them of the platform's copies of events, of which an organization has as many as it may have.
const (
	crowdSize      = 5000
	crowdDelivered = 500_000 // before
)

// crowd is a service with many subscriptions and a history.
type crowd struct {
	*hooks
	ctx context.Context //nolint:containedctx // of the service itself
}

// newCrowd subscribes the hospital to referrals as often as it may, and the others to what happens to groups. All are paused.
func newCrowd(b *testing.B) *crowd {
	b.Helper()
	c := &crowd{hooks: setupWebhooks(b), ctx: auth.System(b.Context(), Name)}
	keys, err := crypt.LoadOrGenerate(c.Config.EncryptionKeysFile)
	if err != nil {
		b.Fatal(err)
	}
	sealer, now := &service{crypt: keys}, c.Clock.Now()
	c.in(b, func(tx pgx.Tx) error {
		for i := range crowdSize {
			r := &webhookRow{
				ID: aip.NewID(), OrgID: uuid.New(), Revision: 1, URL: c.url, EventTypes: []string{"care.cairn.groups.*"}, Patterns: []string{"care.cairn.groups.%"},
				Services: []string{"groups"}, Format: cloudEvents, State: webhookPaused, PauseReason: "BY_REQUEST", CreateTime: now, UpdateTime: now,
			}
			if i < maxWebhooks {
				r.OrgID = uuid.MustParse(hospital[len("organizations/"):])
				r.Audience = r.OrgID
				r.EventTypes, r.Patterns, r.Services = []string{"care.cairn.*"}, []string{"care.cairn.%"}, []string{"groups", "referral"}
			}
			if r.Secret, err = sealer.sealSecret(r, "secret", secretPrefix+"bm90IHNlY3JldCBhdCBhbGw="); err != nil {
				return err
			}
			if err := insertWebhook(c.ctx, tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	for range crowdDelivered / crowdSize { // of all, one after another: a statement has its time
		c.exec(b, `
			WITH delivered AS (
				INSERT INTO webhook_deliveries (subscription_id, org_id, position, event_id, type, subject, state, attempt_count, create_time, deliver_time)
				SELECT s.id, s.org_id, n, gen_random_uuid(), 'care.cairn.groups.group.updated.v1', 'groups/' || n, 'DELIVERED', 1, @now, @now
				FROM webhook_subscriptions s, (SELECT -nextval('webhook_notices') AS n) AS n
				RETURNING id, org_id, create_time
			)
			INSERT INTO webhook_attempts (delivery_id, number, org_id, time, latency, status_code, failure, answer)
			SELECT id, 1, org_id, create_time, '10 ms', 200, '', '' FROM delivered`, pgx.NamedArgs{"now": now})
	}
	for _, table := range []string{"webhook_subscriptions", "webhook_deliveries", "webhook_attempts"} {
		c.exec(b, `ANALYZE `+table, nil)
	}
	return c
}

// in has fn work in one transaction.
func (c *crowd) in(b *testing.B, fn func(pgx.Tx) error) {
	b.Helper()
	if err := c.DBs[Name].Tx(c.ctx, fn); err != nil {
		b.Fatal(err)
	}
}

func (c *crowd) exec(b *testing.B, sql string, args pgx.NamedArgs) {
	b.Helper()
	c.in(b, func(tx pgx.Tx) error { return second(tx.Exec(c.ctx, sql, args)) })
}

// resume has all subscriptions send.
func (c *crowd) resume(b *testing.B) {
	b.Helper()
	c.exec(b, `UPDATE webhook_subscriptions SET state = 'ACTIVE', pause_reason = ''`, nil)
}

// log writes an event to the log and puts it in line.
func (c *crowd) log(b *testing.B, service, kind string) {
	b.Helper()
	c.exec(b, insertLogged, pgx.NamedArgs{
		"orgs": []uuid.UUID{uuid.MustParse(hospital[len("organizations/"):]), platformCopy}, "event_id": uuid.New(), "service": service,
		"type": "care.cairn." + service + "." + kind + ".v1", "subject": name(service), "revision": 1, "time": c.Clock.Now(), "now": c.Clock.Now(), "data": `{}`,
	})
}

// What an event costs that few, or all, of many subscriptions want.
func BenchmarkQueueEvent(b *testing.B) {
	c := newCrowd(b)
	for _, event := range []struct {
		wanted        int
		service, kind string
	}{{maxWebhooks, "referral", "referral.sent"}, {crowdSize, "groups", "group.updated"}} {
		b.Run(fmt.Sprintf("%d of %d", event.wanted, crowdSize), func(b *testing.B) {
			for b.Loop() {
				c.log(b, event.service, event.kind)
			}
		})
	}
}

// What a look for what is due costs while something waits for each of many subscriptions.
func BenchmarkClaim(b *testing.B) {
	c := newCrowd(b)
	for range 4 {
		c.log(b, "groups", "group.updated")
	}
	c.exec(b, `UPDATE webhook_lanes SET due_time = @later`, pgx.NamedArgs{"later": c.Clock.Now().Add(time.Hour)}) // not for the service's own sender
	c.exec(b, `ANALYZE webhook_lanes`, nil)
	now := c.Clock.Now().Add(2 * time.Hour)
	d := ok(newDeliverer(&service{db: c.DBs[Name], clock: clock.NewFake(now)}, nil, noop.Meter{}))(b)
	for _, look := range []struct{ what, change string }{
		{"all paused", `UPDATE webhook_subscriptions SET update_time = @retry`},
		{"all wait for their receivers", `UPDATE webhook_subscriptions SET state = 'ACTIVE', pause_reason = '', failures = 1, retry_time = @retry`},
		{"all due", `UPDATE webhook_subscriptions SET failures = 0, retry_time = NULL`},
	} {
		b.Run(look.what, func(b *testing.B) {
			c.exec(b, look.change, pgx.NamedArgs{"retry": now.Add(time.Hour)})
			for b.Loop() {
				lanes := ok(d.claim(c.ctx))(b)
				if len(lanes) != 0 && len(lanes) != deliverAtMax || (len(lanes) > 0) != (look.what == "all due") {
					b.Fatalf("%d lanes", len(lanes))
				}
				b.StopTimer()
				clear(d.busy)
				d.all = 0
				c.exec(b, `UPDATE webhook_lanes SET due_time = due_time - interval '1 minute', lease = NULL WHERE lease IS NOT NULL`, nil)
				b.StartTimer()
			}
		})
	}
}

// How many deliveries a second reach their receivers, over TLS, of events that few of many subscriptions want, and of one that all do.
func BenchmarkDeliver(b *testing.B) {
	c := newCrowd(b)
	c.resume(b)
	for _, storm := range []struct{ wanted, events int }{{maxWebhooks, 40}, {crowdSize, 1}} {
		b.Run(fmt.Sprintf("%d events for %d of %d", storm.events, storm.wanted, crowdSize), func(b *testing.B) {
			n := 0
			for b.Loop() {
				for range storm.events {
					if storm.wanted == crowdSize {
						c.log(b, "groups", "group.updated")
					} else {
						c.log(b, "referral", "referral.sent")
					}
				}
				for range storm.events * storm.wanted {
					c.next(b)
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}
