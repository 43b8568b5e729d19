package events

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/pg"
)

// outboxRow is an event to publish.
type outboxRow struct {
	ID          int64
	EventID     uuid.UUID
	Type        string
	Subject     string
	Revision    int64
	Data        string
	Traceparent string
	CreatedAt   time.Time
}

// unpublished returns the first events to publish, in id order. The order begins with
// published_at, which is null, so that only the index of unpublished rows has it.
func unpublished(ctx context.Context, q pg.Querier, limit int) ([]outboxRow, error) {
	rows, err := q.Query(ctx, selectUnpublished, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[outboxRow])
}

const selectUnpublished = `
SELECT id, event_id, type, subject, revision, data, traceparent, created_at
FROM outbox WHERE published_at IS NULL ORDER BY published_at, id LIMIT $1`

// markPublished records the stream sequences that JetStream acknowledged.
func markPublished(ctx context.Context, q pg.Querier, ids, seqs []int64) error {
	_, err := q.Exec(ctx, `
		UPDATE outbox SET published_at = clock_timestamp(), published_seq = acked.seq
		FROM unnest(@ids::bigint[], @seqs::bigint[]) AS acked (id, seq) WHERE outbox.id = acked.id`,
		pgx.NamedArgs{"ids": ids, "seqs": seqs})
	return err
}

// unmarkFrom makes the events that were stored at seq or above unpublished again.
func unmarkFrom(ctx context.Context, q pg.Querier, seq int64) (int64, error) {
	tag, err := q.Exec(ctx, `UPDATE outbox SET published_at = NULL, published_seq = NULL WHERE published_seq >= $1`, seq)
	return tag.RowsAffected(), err
}

// kept is a published event that is still in the outbox.
type kept struct {
	Seq     int64
	EventID uuid.UUID
}

// lastPublished returns the published event with the highest sequence.
func lastPublished(ctx context.Context, q pg.Querier) (k kept, err error) {
	err = q.QueryRow(ctx, `
		SELECT published_seq, event_id FROM outbox WHERE published_seq IS NOT NULL
		ORDER BY published_seq DESC LIMIT 1`).Scan(&k.Seq, &k.EventID)
	return k, err
}

// publishedKept returns the published events that are still in the outbox, by sequence.
func publishedKept(ctx context.Context, q pg.Querier) ([]kept, error) {
	rows, err := q.Query(ctx, `SELECT published_seq, event_id FROM outbox WHERE published_seq IS NOT NULL ORDER BY published_seq`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[kept])
}

// deletePublished deletes those of the first rows that were published that long ago, and tells
// how many it deleted.
func deletePublished(ctx context.Context, q pg.Querier, age time.Duration, limit int) (n int, err error) {
	err = q.QueryRow(ctx, `
		WITH first AS (SELECT id, published_at FROM outbox ORDER BY id LIMIT @limit),
		     gone AS (DELETE FROM outbox USING first
		              WHERE outbox.id = first.id AND first.published_at < clock_timestamp() - @age::interval RETURNING 1)
		SELECT count(*) FROM gone`, pgx.NamedArgs{"limit": limit, "age": age}).Scan(&n)
	return n, err
}

// position is how far a subscription has come.
type position struct {
	Sequence   uint64 // in the publisher's stream; 0: nothing yet
	StoredAt   int64  // of the message there, nanoseconds since 1970
	Generation int64
}

// loadPosition returns where the subscription stands; a new one stands at the start.
func loadPosition(ctx context.Context, q pg.Querier, subscription string) (p position, err error) {
	err = q.QueryRow(ctx, `
		INSERT INTO event_position (subscription, sequence, stored_at) VALUES ($1, 0, 0)
		ON CONFLICT (subscription) DO UPDATE SET generation = event_position.generation
		RETURNING sequence, stored_at, generation`, subscription).Scan(&p.Sequence, &p.StoredAt, &p.Generation)
	return p, err
}

// generation counts how often the subscription was made to start over.
func generation(ctx context.Context, q pg.Querier, subscription string) (n int64, err error) {
	err = q.QueryRow(ctx, `SELECT generation FROM event_position WHERE subscription = $1`, subscription).Scan(&n)
	return n, err
}

// savePosition tells false if the subscription has been made to start over meanwhile.
func savePosition(ctx context.Context, q pg.Querier, subscription string, p position) (bool, error) {
	tag, err := q.Exec(ctx, `
		UPDATE event_position SET sequence = @sequence, stored_at = @stored_at
		WHERE subscription = @subscription AND generation = @generation`,
		pgx.NamedArgs{"subscription": subscription, "sequence": int64(p.Sequence), "stored_at": p.StoredAt, "generation": p.Generation})
	return tag.RowsAffected() == 1, err
}

// insertInbox tells false if the event has been applied already.
func insertInbox(ctx context.Context, q pg.Querier, subscription string, id uuid.UUID) (bool, error) {
	tag, err := q.Exec(ctx, `INSERT INTO event_inbox (subscription, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, subscription, id)
	return tag.RowsAffected() == 1, err
}

// inInbox tells whether the event has been applied already.
func inInbox(ctx context.Context, q pg.Querier, subscription string, id uuid.UUID) (seen bool, err error) {
	err = q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM event_inbox WHERE subscription = $1 AND event_id = $2)`, subscription, id).Scan(&seen)
	return seen, err
}

// deleteInbox deletes some of the subscription's rows of events that were made before t, and
// tells how many.
func deleteInbox(ctx context.Context, q pg.Querier, subscription string, t time.Time, limit int) (int64, error) {
	var before uuid.UUID // the least UUIDv7 of that millisecond
	ms := t.UnixMilli()
	for i := range 6 {
		before[i] = byte(ms >> (40 - 8*i))
	}
	before[6] = 0x70
	tag, err := q.Exec(ctx, `
		DELETE FROM event_inbox WHERE subscription = @subscription AND event_id IN (
			SELECT event_id FROM event_inbox WHERE subscription = @subscription AND event_id < @before ORDER BY event_id LIMIT @limit)`,
		pgx.NamedArgs{"subscription": subscription, "before": before, "limit": limit})
	return tag.RowsAffected(), err
}

const insertAside = `
INSERT INTO event_aside (subscription, event_id, type, subject, revision, data, sequence, reason, attempts)
VALUES (@subscription, @event_id, @type, @subject, @revision, @data, @sequence, @reason, @attempts)
ON CONFLICT (subscription, event_id) DO UPDATE SET reason = excluded.reason, attempts = event_aside.attempts + excluded.attempts, at = excluded.at`
