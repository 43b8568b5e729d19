package partners

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/pg"
)

func insertWebhook(ctx context.Context, tx pg.Querier, r *webhookRow) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO webhook_subscriptions (`+webhookColumns+`)
		VALUES (@id, @org_id, @audience, @revision, @display_name, @url, @event_types, @patterns, @services, @format, @state, @pause_reason,
			@failing_time, @failures, @retry_time, @last_failure, @dropped_before_time, @secret, @previous_secret, @previous_secret_expire,
			@fhir_topic, @fhir_headers, @fhir_heartbeat, @fhir_heartbeat_time, @end_time, @event_count, @create_time, @update_time)`, r.args())
	return err
}

// writeWebhook writes everything but the numbers that are given to notifications.
func writeWebhook(ctx context.Context, tx pg.Querier, r *webhookRow) error {
	_, err := tx.Exec(ctx, `
		UPDATE webhook_subscriptions
		SET revision = @revision, display_name = @display_name, url = @url, event_types = @event_types, patterns = @patterns, services = @services,
		    state = @state, pause_reason = @pause_reason, failing_time = @failing_time, failures = @failures, retry_time = @retry_time,
		    last_failure = @last_failure, dropped_before_time = @dropped_before_time, secret = @secret, previous_secret = @previous_secret,
		    previous_secret_expire = @previous_secret_expire, fhir_topic = @fhir_topic, fhir_headers = @fhir_headers,
		    fhir_heartbeat = @fhir_heartbeat, fhir_heartbeat_time = @fhir_heartbeat_time, end_time = @end_time, update_time = @update_time
		WHERE id = @id`, r.args())
	return err
}

// selectWebhook returns a subscription of the tenant's. Whoever locks it has locked the lanes that it will change before.
func selectWebhook(ctx context.Context, q pg.Querier, id uuid.UUID, lock bool) (*webhookRow, error) {
	args := tenantArgs(ctx)
	args["id"] = id
	sql := `SELECT ` + webhookColumns + ` FROM webhook_subscriptions WHERE id = @id AND (@all OR org_id = @org)`
	if lock {
		sql += ` FOR NO KEY UPDATE`
	}
	return one[webhookRow](q.Query(ctx, sql, args))
}

// oldestPending returns when the oldest event that waits for a subscription was put in line, nil if none does.
func oldestPending(ctx context.Context, q pg.Querier, id uuid.UUID) (t *time.Time, err error) {
	err = q.QueryRow(ctx, `SELECT min(create_time) FROM webhook_deliveries WHERE subscription_id = @id AND state = 'PENDING'`, pgx.NamedArgs{"id": id}).Scan(&t)
	return t, err
}

// webhookListed is a subscription as a listing gets it.
type webhookListed struct {
	webhookRow
	Pending *time.Time
}

// selectWebhooks lists the tenant's subscriptions of services that the caller may see, by age. where is from [aip.Filter].
func selectWebhooks(ctx context.Context, db *pg.DB, where string, args pgx.NamedArgs) (list []*webhookListed, err error) {
	maps.Copy(args, tenantArgs(ctx))
	b := db.Batch(ctx)
	b.Queue(`
		SELECT `+webhookColumns+`, (SELECT min(d.create_time) FROM webhook_deliveries d WHERE d.subscription_id = s.id AND d.state = 'PENDING') AS pending
		FROM webhook_subscriptions s
		WHERE (@all OR org_id = @org) AND services <@ @readable::text[] AND (NOT @after OR (create_time, id) > (@after_time, @after_id)) AND `+where+`
		ORDER BY create_time, id
		LIMIT @limit`, args).Query(func(rows pgx.Rows) (err error) {
		list, err = pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[webhookListed])
		return err
	})
	return list, db.Send(ctx, b)
}

// deliveryRow is a row of webhook_deliveries, with when its lane is due.
type deliveryRow struct {
	ID           int64
	EventID      uuid.UUID
	Type         string
	Subject      string
	State        string
	AttemptCount int32
	CreateTime   time.Time
	DeliverTime  *time.Time
	DueTime      *time.Time
}

const deliveryColumns = `d.id, d.event_id, d.type, d.subject, d.state, d.attempt_count, d.create_time, d.deliver_time, l.due_time`

const deliveryTables = `webhook_deliveries d LEFT JOIN webhook_lanes l ON l.subscription_id = d.subscription_id AND l.subject = d.subject AND d.state = 'PENDING'`

// attemptRow is a try to deliver.
type attemptRow struct {
	DeliveryID int64
	Time       time.Time
	Latency    time.Duration
	StatusCode int32
	Failure    string
	Answer     string
}

// selectAttempts returns the last ten tries of each delivery, the latest first.
func selectAttempts(ctx context.Context, q pg.Querier, deliveries []int64) (map[int64][]*attemptRow, error) {
	rows, err := q.Query(ctx, `
		SELECT a.delivery_id, a.time, a.latency, a.status_code, a.failure, a.answer
		FROM unnest(@ids::bigint[]) AS d (id)
		CROSS JOIN LATERAL (SELECT * FROM webhook_attempts WHERE delivery_id = d.id ORDER BY number DESC LIMIT 10) AS a
		ORDER BY a.delivery_id, a.number DESC`, pgx.NamedArgs{"ids": deliveries})
	if err != nil {
		return nil, fmt.Errorf("get attempts: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByPos[attemptRow])
	if err != nil {
		return nil, fmt.Errorf("get attempts: %w", err)
	}
	all := map[int64][]*attemptRow{}
	for _, a := range list {
		all[a.DeliveryID] = append(all[a.DeliveryID], a)
	}
	return all, nil
}
