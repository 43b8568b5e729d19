package membership

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/pg"
)

// erasureRow is a row of erasures, with its parts.
type erasureRow struct {
	ID         uuid.UUID
	OrgID      uuid.UUID
	MemberID   uuid.UUID
	Revision   int64
	State      membershipv1.Erasure_State
	Records    int64 // emptied here at once
	RetryTime  *time.Time
	FinishTime *time.Time
	CreateTime time.Time

	Parts []partRow
}

// partRow is what one service has done, as JSON in the query of an erasure.
type partRow struct {
	Service    string     `json:"service"`
	Records    int64      `json:"records"`
	FinishTime *time.Time `json:"finish_time"`
}

const erasureColumns = `e.id, e.org_id, e.member_id, e.revision, e.state, e.records, e.retry_time, e.finish_time, e.create_time,
	(SELECT jsonb_agg(jsonb_build_object('service', p.service, 'records', p.records, 'finish_time', p.finish_time) ORDER BY p.service)
		FROM erasure_parts p WHERE p.erasure_id = e.id) AS parts`

func (r *erasureRow) name() string { return aip.Name("erasures", r.ID) }

func (r *erasureRow) toProto() *membershipv1.Erasure {
	m := &membershipv1.Erasure{
		Name: r.name(), Member: aip.Name("members", r.MemberID), Organization: aip.Name("organizations", r.OrgID), State: r.State,
		CreateTime: timestamppb.New(r.CreateTime), FinishTime: timestamp(r.FinishTime),
	}
	for _, p := range r.Parts {
		m.Parts = append(m.Parts, &membershipv1.Erasure_Part{Service: p.Service, Records: p.Records, FinishTime: timestamp(p.FinishTime)})
	}
	return m
}

// findErasure returns the erasure for which the condition on @id holds, nil if there is none.
func findErasure(ctx context.Context, q pg.Querier, condition string, id uuid.UUID) (*erasureRow, error) {
	rows, err := q.Query(ctx, `SELECT `+erasureColumns+` FROM erasures e WHERE `+condition, pgx.NamedArgs{"id": id})
	if err != nil {
		return nil, fmt.Errorf("find erasure: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[erasureRow])
	if err != nil {
		return nil, fmt.Errorf("find erasure: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[0], nil
}

func insertErasure(b *pgx.Batch, r *erasureRow) {
	b.Queue(`INSERT INTO erasures (id, org_id, member_id, revision, state, records, retry_time, finish_time, create_time)
		VALUES (@id, @org, @member, @revision, @state, @records, @retry, NULL, @create_time)`, pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "member": r.MemberID, "revision": r.Revision, "state": int32(r.State), "records": r.Records,
		"retry": r.RetryTime, "create_time": r.CreateTime,
	})
	for _, p := range r.Parts {
		b.Queue(`INSERT INTO erasure_parts (erasure_id, org_id, service, records) VALUES (@id, @org, @service, 0)`,
			pgx.NamedArgs{"id": r.ID, "org": r.OrgID, "service": p.Service})
	}
}

// finishPart records what one service has done, and that the erasure is done if that was the last.
func finishPart(ctx context.Context, tx pgx.Tx, erasure uuid.UUID, service string, records int64, now time.Time) error {
	b := new(pgx.Batch)
	b.Queue(`SELECT FROM erasures WHERE id = $1 FOR UPDATE`, erasure)
	b.Queue(`UPDATE erasure_parts SET records = @records, finish_time = @now WHERE erasure_id = @id AND service = @service AND finish_time IS NULL`,
		pgx.NamedArgs{"id": erasure, "service": service, "records": records, "now": now})
	b.Queue(`UPDATE erasures SET state = 2, finish_time = @now, revision = revision + 1 WHERE id = @id AND state = 1
		AND NOT EXISTS (SELECT FROM erasure_parts p WHERE p.erasure_id = @id AND p.finish_time IS NULL)`, pgx.NamedArgs{"id": erasure, "now": now})
	if err := send(ctx, tx, b); err != nil {
		return fmt.Errorf("finish part of erasure: %w", err)
	}
	return nil
}
