package partners

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/metric"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/outbound"
)

const (
	deliverRate  = 100 * time.Millisecond // between looks for what is due
	deliverAtMax = 256                    // requests under way in this process
	deliverPer   = 8                      // the same to one subscription
	leaseFor     = time.Minute            // longer than any try
	takeTime     = 15 * time.Second       // in which a receiver answers
	laneTurn     = 20                     // deliveries of one subject before others have their turn
)

// deliverer sends what is in line. Any number of processes may: each takes lanes that nobody has, and leaves them to others by
// the end of its lease.
//
// River has no part in it: it keeps no order per resource, and one slow receiver would hold its few workers.
type deliverer struct {
	*service
	client  *outbound.Client
	metrics *webhookMetrics
	woken   chan struct{}
	noticed time.Time // when heartbeats were looked for
	turn    uuid.UUID // the subscription that had its heartbeat last

	mu   sync.Mutex
	busy map[uuid.UUID]int // requests under way, by subscription
	all  int
}

func newDeliverer(s *service, client *outbound.Client, meter metric.Meter) (*deliverer, error) {
	m, err := newWebhookMetrics(meter)
	return &deliverer{service: s, client: client, metrics: m, woken: make(chan struct{}, 1), busy: map[uuid.UUID]int{}}, err
}

// poke says that something may be due.
func (d *deliverer) poke() {
	select {
	case d.woken <- struct{}{}:
	default: // said already
	}
}

// Ready returns nil: nobody relies on what is kept here.
func (d *deliverer) Ready() error { return nil }

// CatchUp returns at once.
func (d *deliverer) CatchUp(context.Context) error { return nil }

// Run sends until ctx ends, and then lets those tries finish that have begun.
func (d *deliverer) Run(ctx context.Context) error {
	ctx = auth.System(ctx, Name)
	var working sync.WaitGroup
	defer working.Wait()
	tick := time.NewTicker(deliverRate)
	defer tick.Stop()
	for {
		began := time.Now()
		if err := d.notices(ctx); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "cannot send heartbeats of subscriptions", "err", err)
		}
		if err := d.measure(ctx); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "cannot measure webhooks", "err", err)
		}
		lanes, err := d.claim(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "cannot look for events to send", "err", err)
		}
		for _, l := range lanes {
			working.Go(func() {
				defer d.leave(l.Subscription)
				d.work(ctx, l)
			})
		}
		// Looking is never more than a third of what there is to do, however many wait.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Since(began)):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.woken:
		}
	}
}

// lane is one that this process sends.
type lane struct {
	Subscription uuid.UUID
	Subject      string
	lease        uuid.UUID
}

func (l lane) args() pgx.NamedArgs {
	return pgx.NamedArgs{"sub": l.Subscription, "subject": l.Subject, "lease": l.lease}
}

// claim takes lanes that are due: some of each subscription, so that none holds others, and one of those whose receiver takes
// nothing. Subscriptions without lanes cost nothing.
func (d *deliverer) claim(ctx context.Context) ([]lane, error) {
	d.mu.Lock()
	free := deliverAtMax - d.all
	ids, counts := make([]uuid.UUID, 0, len(d.busy)), make([]int32, 0, len(d.busy))
	for id, n := range d.busy {
		ids, counts = append(ids, id), append(counts, int32(n))
	}
	d.mu.Unlock()
	if free <= 0 {
		return nil, nil
	}
	now, lease := d.clock.Now(), uuid.New()
	var lanes []lane
	b := d.db.Batch(ctx)
	b.Queue(claimLanes, pgx.NamedArgs{
		"now": now, "until": now.Add(leaseFor), "lease": lease, "free": free, "per": deliverPer, "busy": ids, "counts": counts,
	}).Query(func(rows pgx.Rows) (err error) {
		lanes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l lane, err error) {
			l.lease = lease
			return l, row.Scan(&l.Subscription, &l.Subject)
		})
		return err
	})
	if err := d.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("claim lanes: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range lanes {
		d.busy[l.Subscription]++
		d.all++
	}
	return lanes, nil
}

// claimLanes walks from subscription to subscription along the index of lanes, and of what is due takes what is due longest. Before its
// handshake was answered, one of FHIR has only that sent.
const claimLanes = `
WITH RECURSIVE waiting AS (
	(SELECT subscription_id AS id FROM webhook_lanes ORDER BY subscription_id LIMIT 1)
	UNION ALL
	SELECT (SELECT l.subscription_id FROM webhook_lanes l WHERE l.subscription_id > w.id ORDER BY l.subscription_id LIMIT 1)
	FROM waiting w WHERE w.id IS NOT NULL
), ready AS (
	SELECT s.id, s.state, CASE WHEN s.failures > 0 THEN 1 ELSE @per::int END - coalesce(b.n, 0) AS free
	FROM waiting w JOIN webhook_subscriptions s ON s.id = w.id
	LEFT JOIN unnest(@busy::uuid[], @counts::int[]) AS b (id, n) ON b.id = s.id
	WHERE s.state <> 'PAUSED' AND (s.retry_time IS NULL OR s.retry_time <= @now)
), due AS (
	SELECT l.subscription_id, l.subject, l.due_time
	FROM ready r CROSS JOIN LATERAL (
		SELECT subscription_id, subject, due_time FROM webhook_lanes
		WHERE subscription_id = r.id AND due_time <= @now AND (r.state = 'ACTIVE' OR subject = 'handshake')
		ORDER BY due_time LIMIT greatest(r.free, 0)) AS l
	ORDER BY l.due_time LIMIT @free
), held AS (
	SELECT l.subscription_id, l.subject
	FROM due JOIN webhook_lanes l ON l.subscription_id = due.subscription_id AND l.subject = due.subject
	WHERE l.due_time <= @now
	FOR UPDATE OF l SKIP LOCKED
)
UPDATE webhook_lanes l SET due_time = @until, lease = @lease
FROM held WHERE l.subscription_id = held.subscription_id AND l.subject = held.subject
RETURNING l.subscription_id, l.subject`

// leave gives back the place of a lane.
func (d *deliverer) leave(id uuid.UUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	if d.busy[id]--; d.busy[id] == 0 {
		delete(d.busy, id)
	}
	d.poke()
}

// work sends what waits in a lane, one after another. What is begun is finished although ctx ends.
func (d *deliverer) work(ctx context.Context, l lane) {
	defer func() { // the lease ends by itself; other lanes go on
		if p := recover(); p != nil {
			d.log.ErrorContext(ctx, "sending an event panicked", "subscription", l.Subscription, "subject", l.Subject, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	lasting := context.WithoutCancel(ctx)
	next, err := d.first(lasting, l)
	for n := 0; err == nil && next != nil; n++ {
		if n == laneTurn || ctx.Err() != nil {
			err = d.release(lasting, l)
			break
		}
		next, err = d.deliver(lasting, l, next)
	}
	if err != nil { // the lease ends by itself
		d.log.WarnContext(ctx, "cannot send an event", "subscription", l.Subscription, "subject", l.Subject, "err", err)
	}
}
