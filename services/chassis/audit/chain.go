package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/pg"
)

// format is what a chain's row hashes: see [record.hash].
const format = 1

const (
	chainBatch  = 2000
	settleAfter = time.Minute // between a number being drawn and its row being written less passes by far
)

// Anchor is a place of a chain: whoever keeps it elsewhere can tell later that everything up to there is as it was.
type Anchor struct {
	Position int64
	Hash     [sha256.Size]byte
}

// record is a row of the log.
type record struct {
	ID         int64
	At         time.Time
	CallerKind string
	Caller     string
	Org        string
	Service    string
	OnBehalfOf string
	Tenant     *uuid.UUID
	Method     string
	Resource   string
	Access     string
	RequestID  string
	TraceID    string
	Purpose    string
}

const recordColumns = `l.id, l.at, l.caller_kind, l.caller, l.organization, l.service, l.on_behalf_of, l.tenant, l.method, l.resource, l.access, l.request_id, l.trace_id, l.purpose`

func (r *record) fields() []any {
	return []any{&r.ID, &r.At, &r.CallerKind, &r.Caller, &r.Org, &r.Service, &r.OnBehalfOf, &r.Tenant, &r.Method, &r.Resource, &r.Access, &r.RequestID, &r.TraceID, &r.Purpose}
}

// hash is SHA-256 over the hash before it, the chain's own columns, and the row with its times in microseconds since 1970 and each text
// after its length.
func (r *record) hash(before [sha256.Size]byte, position int64, chainedAt time.Time) [sha256.Size]byte {
	b := make([]byte, 0, 512)
	b = append(b, before[:]...)
	b = append(b, format)
	for _, n := range []int64{position, chainedAt.UnixMicro(), r.ID, r.At.UnixMicro()} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if r.Tenant == nil {
		b = append(b, 0)
	} else {
		b = append(append(b, 1), r.Tenant[:]...)
	}
	for _, s := range []string{r.CallerKind, r.Caller, r.Org, r.Service, r.OnBehalfOf, r.Method, r.Resource, r.Access, r.RequestID, r.TraceID, r.Purpose} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}

// Extend lays the chain over what has been added to the log, and returns where it ends then.
func Extend(ctx context.Context, db *pg.DB) (Anchor, error) {
	for {
		var end Anchor
		var n int
		err := db.Tx(ctx, func(tx pgx.Tx) (err error) {
			end, n, err = extend(ctx, tx)
			return err
		})
		if err != nil {
			return Anchor{}, fmt.Errorf("extend audit chain: %w", err)
		}
		if n < chainBatch {
			return end, nil
		}
	}
}

// extend chains a batch. Where no row is left it notes up to where there can be none any more.
func extend(ctx context.Context, tx pgx.Tx) (end Anchor, n int, err error) {
	var floor, drawn int64
	var settled bool
	// One at a time. What has ended by this statement's snapshot is seen by the next one's.
	if err := tx.QueryRow(ctx, `SELECT floor, coalesce(pg_sequence_last_value(pg_get_serial_sequence('audit_log', 'id')::regclass), 0),
			next_xid <= pg_snapshot_xmin(pg_current_snapshot()) AND next_seen_at < clock_timestamp() - $1::interval
		FROM audit_chain_floor FOR UPDATE`, settleAfter).Scan(&floor, &drawn, &settled); err != nil {
		return end, 0, fmt.Errorf("lock: %w", err)
	}
	if end, err = lastAnchor(ctx, tx); err != nil {
		return end, 0, err
	}
	rows, err := tx.Query(ctx, `SELECT clock_timestamp(), `+recordColumns+` FROM audit_log l
		WHERE l.id > $1 AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.log_id = l.id) ORDER BY l.id LIMIT $2`, floor, chainBatch)
	if err != nil {
		return end, 0, fmt.Errorf("read the log: %w", err)
	}
	var chain struct {
		positions, ids []int64
		hashes         [][]byte
	}
	var r record
	var now, at time.Time
	_, err = pgx.ForEachRow(rows, append([]any{&now}, r.fields()...), func() error {
		if at.IsZero() {
			at = now
		}
		end.Position++
		end.Hash = r.hash(end.Hash, end.Position, at)
		chain.positions, chain.ids, chain.hashes = append(chain.positions, end.Position), append(chain.ids, r.ID), append(chain.hashes, bytes.Clone(end.Hash[:]))
		return nil
	})
	if err != nil {
		return end, 0, fmt.Errorf("read the log: %w", err)
	}
	if n = len(chain.ids); n > 0 {
		if _, err := tx.Exec(ctx, `INSERT INTO audit_chain (position, log_id, format, hash, chained_at)
			SELECT *, @at FROM (SELECT unnest(@positions::bigint[]), unnest(@ids::bigint[]), @format::smallint, unnest(@hashes::bytea[])) AS rows`,
			pgx.NamedArgs{"positions": chain.positions, "ids": chain.ids, "hashes": chain.hashes, "format": format, "at": at}); err != nil {
			return end, 0, fmt.Errorf("insert: %w", err)
		}
	}
	if n == chainBatch || !settled {
		return end, n, nil
	}
	// The transactions that may still use a number drawn by then are those before this statement's snapshot ends.
	if _, err := tx.Exec(ctx, `UPDATE audit_chain_floor SET floor = next_floor, next_floor = @drawn,
		next_xid = pg_snapshot_xmax(pg_current_snapshot()), next_seen_at = clock_timestamp()`, pgx.NamedArgs{"drawn": drawn}); err != nil {
		return end, 0, fmt.Errorf("raise the floor: %w", err)
	}
	return end, n, nil
}

func lastAnchor(ctx context.Context, q pg.Querier) (a Anchor, err error) {
	var hash []byte
	rows, err := q.Query(ctx, `SELECT position, hash FROM audit_chain ORDER BY position DESC LIMIT 1`)
	if err != nil {
		return a, fmt.Errorf("end of the chain: %w", err)
	}
	_, err = pgx.ForEachRow(rows, []any{&a.Position, &hash}, func() error {
		if copy(a.Hash[:], hash) != sha256.Size {
			return errors.New("its hash is none")
		}
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("end of the chain: %w", err)
	}
	return a, nil
}
