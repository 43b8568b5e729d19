package groups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// duplicateServer answers DuplicatesService and finds duplicates.
type duplicateServer struct {
	groupsv1.UnimplementedDuplicatesServiceServer
	db    *pg.DB
	clock clock.Clock
	log   *slog.Logger
}

// startDuplicates registers the service and its search.
func startDuplicates(h *chassis.Host) error {
	s := &duplicateServer{db: h.DB, clock: h.Clock, log: h.Log}
	groupsv1.RegisterDuplicatesServiceServer(h, s)
	h.Periodic = append(h.Periodic, duplicateSweep())
	return river.AddWorkerSafely(h.Workers, &findWorker{server: s})
}

// pairRow is a pair as its table holds it.
type pairRow struct {
	ID          uuid.UUID
	FirstID     uuid.UUID
	SecondID    uuid.UUID
	FirstOrg    uuid.UUID
	SecondOrg   uuid.UUID
	Revision    int64
	State       int32
	Score       float64
	Weight      float64
	Reasons     []byte
	Survivor    *uuid.UUID
	TakenFields []string
	DecidedBy   string
	DecideTime  *time.Time
	CreateTime  time.Time
	UpdateTime  time.Time
}

const pairColumns = `
	d.id, d.first_id, d.second_id, d.first_org, d.second_org, d.revision, d.state, d.score, d.weight, d.reasons, d.survivor, d.taken_fields,
	d.decided_by, d.decide_time, d.create_time, d.update_time`

// visiblePair returns the condition for a row d of duplicates to be the tenant's to see: a group of its own is in it, and the other
// is its own too, or public but for the merge.
func visiblePair(t auth.Tenant) string {
	if t.All {
		return "true"
	}
	return `(d.first_org = @org OR d.second_org = @org) AND (
		SELECT count(*) FROM groups g
		WHERE g.id IN (d.first_id, d.second_id) AND (g.org_id = @org OR (g.state IN (2, 3) AND g.delete_time IS NULL))) = 2`
}

// selectPair reads a pair that the tenant may see; lock is "" or "FOR UPDATE OF d".
func selectPair(ctx context.Context, tx pg.Querier, t auth.Tenant, id uuid.UUID, lock string) (*pairRow, error) {
	rows, err := tx.Query(ctx, `SELECT `+pairColumns+` FROM duplicates d WHERE d.id = @id AND `+visiblePair(t)+` `+lock,
		pgx.NamedArgs{"id": id, "org": t.Org})
	if err != nil {
		return nil, fmt.Errorf("read pair: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[pairRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(aip.Name("duplicates", id))
	}
	if err != nil {
		return nil, fmt.Errorf("read pair: %w", err)
	}
	return r, nil
}

// other returns the group of the pair that is not the given one.
func (r *pairRow) other(id uuid.UUID) uuid.UUID {
	if id == r.FirstID {
		return r.SecondID
	}
	return r.FirstID
}

// decidable returns why the tenant may not decide about a pair that it sees.
func (r *pairRow) decidable(t auth.Tenant) error {
	if t.All || (r.FirstOrg == t.Org && r.SecondOrg == t.Org) {
		return nil
	}
	return fault.Denied("TWO_ORGANIZATIONS", "the groups are of two organizations: only the platform can decide whether they are one")
}

// toProtos returns pairs with their groups as the tenant may see them.
func (s *duplicateServer) toProtos(ctx context.Context, tx pg.Querier, t auth.Tenant, pairs []*pairRow) ([]*groupsv1.Duplicate, error) {
	var ids []uuid.UUID
	for _, p := range pairs {
		ids = append(ids, p.FirstID, p.SecondID)
	}
	rows, err := tx.Query(ctx, `
		SELECT `+groupColumns+`
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON p.group_id = g.id AND (@all OR p.org_id = @org)
		WHERE g.id = ANY(@ids)`, pgx.NamedArgs{"ids": ids, "org": t.Org, "all": t.All})
	if err != nil {
		return nil, fmt.Errorf("read groups of pairs: %w", err)
	}
	groups, now := map[uuid.UUID]*groupsv1.Group{}, s.clock.Now()
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		var r groupRow
		if err := r.scan(row); err != nil {
			return struct{}{}, err
		}
		groups[r.ID], err = r.toProto(now)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("read groups of pairs: %w", err)
	}
	out := make([]*groupsv1.Duplicate, len(pairs))
	for i, p := range pairs {
		d := &groupsv1.Duplicate{}
		if err := proto.Unmarshal(p.Reasons, d); err != nil {
			return nil, fmt.Errorf("decode reasons of pair %s: %w", p.ID, err)
		}
		d.Name, d.State, d.Score, d.Etag = aip.Name("duplicates", p.ID), groupsv1.Duplicate_State(p.State), p.Score, aip.ETag(p.Revision)
		d.Groups = []*groupsv1.Group{groups[p.FirstID], groups[p.SecondID]}
		if p.Survivor != nil {
			d.Survivor = aip.Name("groups", *p.Survivor)
		}
		d.TakenFields, d.DecidedBy = p.TakenFields, p.DecidedBy
		d.CreateTime, d.UpdateTime = timestamppb.New(p.CreateTime), timestamppb.New(p.UpdateTime)
		if p.DecideTime != nil {
			d.DecideTime = timestamppb.New(*p.DecideTime)
		}
		out[i] = d
	}
	return out, nil
}

// toProto is toProtos for one pair.
func (s *duplicateServer) toProto(ctx context.Context, tx pg.Querier, t auth.Tenant, p *pairRow) (*groupsv1.Duplicate, error) {
	out, err := s.toProtos(ctx, tx, t, []*pairRow{p})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// queueDecide queues what was decided about a locked pair.
func (r *pairRow) queueDecide(b *pgx.Batch, state groupsv1.Duplicate_State, by string, now time.Time) {
	r.State, r.DecidedBy, r.DecideTime, r.UpdateTime, r.Revision = int32(state), by, &now, now, r.Revision+1
	if state != groupsv1.Duplicate_MERGED {
		r.Survivor, r.TakenFields = nil, []string{}
	}
	b.Queue(`
		UPDATE duplicates SET state = @state::smallint, survivor = @survivor, taken_fields = @taken, decided_by = @by, decide_time = @now, unsettled = false,
			decided_weight = CASE WHEN @state::smallint = @merged::smallint THEN decided_weight ELSE weight END, revision = @revision, update_time = @now
		WHERE id = @id`,
		pgx.NamedArgs{
			"id": r.ID, "state": r.State, "merged": int32(groupsv1.Duplicate_MERGED), "survivor": r.Survivor, "taken": orEmpty(r.TakenFields),
			"by": by, "now": now, "revision": r.Revision,
		})
}
