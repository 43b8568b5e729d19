package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/pg"
)

// letter is a message that a sender has taken.
type letter struct {
	ID         int64
	Key        []byte
	Payload    []byte
	NotBefore  time.Time // the date it bears: the same in every copy
	ExpireTime time.Time
	Attempts   int32
	Stopped    bool // its reader does not want it any more
}

func (l letter) open(keys *crypt.Keyset) (p payload, err error) {
	raw, err := crypt.OpenString(keys.AEAD(), resource(l.Key), "payload", l.Payload)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(raw), &p); err != nil {
		return p, fmt.Errorf("payload of e-mail %d: %w", l.ID, err)
	}
	return p, nil
}

// due counts the messages that are to be sent, as far as most.
func due(ctx context.Context, q pg.Querier, now time.Time, most int) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM mail WHERE next_time <= @now LIMIT @most) AS due`,
		pgx.NamedArgs{"now": now, "most": most}).Scan(&n)
	return n, err
}

// take takes the message that has waited longest, for a lease: no other sender takes it before that ends. Nil: there is none.
func take(ctx context.Context, q pg.Querier, now time.Time, lease time.Duration) (*letter, error) {
	rows, err := q.Query(ctx, `
		UPDATE mail SET next_time = @now::timestamptz + @lease::interval, attempts = attempts + 1
		WHERE id = (SELECT id FROM mail WHERE next_time <= @now ORDER BY next_time, id LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING id, key, payload, not_before, expire_time, attempts, `+stopped+` AS stopped`, pgx.NamedArgs{"now": now, "lease": lease})
	if err != nil {
		return nil, err
	}
	l, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[letter])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return l, err
}

// done ends a message that this sender has taken, unless it has been erased or taken by another since.
func done(ctx context.Context, q pg.Querier, l *letter, outcome, answer string, now time.Time) error {
	_, err := q.Exec(ctx, `
		UPDATE mail SET payload = NULL, next_time = NULL, outcome = @outcome, answer = @answer, done_time = @now
		WHERE id = @id AND attempts = @attempts AND next_time IS NOT NULL`,
		pgx.NamedArgs{"id": l.ID, "attempts": l.Attempts, "outcome": outcome, "answer": answer, "now": now})
	return err
}

// again puts a message back until a later time.
func again(ctx context.Context, q pg.Querier, l *letter, answer string, at time.Time) error {
	_, err := q.Exec(ctx, `
		UPDATE mail SET next_time = @at, answer = @answer WHERE id = @id AND attempts = @attempts AND next_time IS NOT NULL`,
		pgx.NamedArgs{"id": l.ID, "attempts": l.Attempts, "answer": answer, "at": at})
	return err
}

// sweep deletes rows whose keys need not be known any more, some at a time.
func sweep(ctx context.Context, q pg.Querier, before time.Time) error {
	_, err := q.Exec(ctx, `DELETE FROM mail WHERE id IN (SELECT id FROM mail WHERE done_time < $1 LIMIT 5000)`, before)
	return err
}
