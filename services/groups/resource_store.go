package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// resourceRow is a row of the table resources; the columns that only filters use are left out.
type resourceRow struct {
	ID         uuid.UUID
	OrgID      uuid.UUID
	Revision   int64
	State      int32
	Body       []byte
	CreateTime time.Time
	UpdateTime time.Time
	DeleteTime *time.Time
}

const resourceColumns = `r.id, r.org_id, r.revision, r.state, r.body, r.create_time, r.update_time, r.delete_time`

func (r *resourceRow) scan(row pgx.Row) error {
	return row.Scan(&r.ID, &r.OrgID, &r.Revision, &r.State, &r.Body, &r.CreateTime, &r.UpdateTime, &r.DeleteTime)
}

// toProto returns the resource of a row.
func (r *resourceRow) toProto() (*groupsv1.Resource, error) {
	m := &groupsv1.Resource{}
	if err := proto.Unmarshal(r.Body, m); err != nil {
		return nil, fmt.Errorf("decode resource %s: %w", r.ID, err)
	}
	r.into(m)
	return m, nil
}

// into sets the fields that the columns hold.
func (r *resourceRow) into(m *groupsv1.Resource) {
	m.Name, m.Organization = aip.Name("resources", r.ID), aip.Name("organizations", r.OrgID)
	m.State = groupsv1.Resource_State(r.State)
	m.CreateTime, m.UpdateTime, m.DeleteTime = timestamppb.New(r.CreateTime), timestamppb.New(r.UpdateTime), nil
	if r.DeleteTime != nil {
		m.DeleteTime = timestamppb.New(*r.DeleteTime)
	}
	m.Etag = aip.ETag(r.Revision)
}

// kept returns a copy without what the columns hold.
func kept(m *groupsv1.Resource) *groupsv1.Resource {
	w := proto.CloneOf(m)
	w.Name, w.Organization, w.Etag, w.State = "", "", "", 0
	w.CreateTime, w.UpdateTime, w.DeleteTime = nil, nil, nil
	return w
}

// unreview takes away what only ReviewResource, or a flag, may set.
func unreview(m *groupsv1.Resource) {
	m.ReviewedBy, m.ReviewTime, m.ReviewDue = "", nil, nil
}

// visibleResource is the condition under which the caller may see the resource r.
const visibleResource = `(@all OR r.org_id = @org OR (r.state IN (2, 3) AND r.delete_time IS NULL))`

// queueSaveResource queues the insert of a resource, or the change of a locked one.
func queueSaveResource(b *pgx.Batch, r *resourceRow, m *groupsv1.Resource) error {
	body, err := proto.Marshal(kept(m))
	if err != nil {
		return fmt.Errorf("encode resource: %w", err)
	}
	args := pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "revision": r.Revision, "state": r.State, "kind": int32(m.GetKind()), "title": m.GetTitle(),
		"words":     orEmpty(words(m.GetTitle(), m.GetSummary(), m.GetAuthor())),
		"languages": orEmpty(m.GetLanguages()), "forms": widened(m.GetLanguages()), "cancer_types": orEmpty(m.GetCancerTypes()),
		"phases": numbers(m.GetPhases()), "side_effects": numbers(m.GetSideEffects()), "audiences": numbers(m.GetAudiences()),
		"cost": int32(m.GetCost()), "review_time": nil, "review_due": nil, "body": body,
		"create_time": r.CreateTime, "update_time": r.UpdateTime, "delete_time": r.DeleteTime,
	}
	if m.GetReviewTime() != nil {
		args["review_time"], args["review_due"] = m.GetReviewTime().AsTime(), dateTime(m.GetReviewDue())
	}
	b.Queue(`
		INSERT INTO resources (id, org_id, revision, state, kind, title, words, languages, language_forms, cancer_types, phases, side_effects,
			audiences, cost, review_time, review_due, body, create_time, update_time, delete_time)
		VALUES (@id, @org, @revision, @state, @kind, @title, @words, @languages, @forms, @cancer_types, @phases, @side_effects,
			@audiences, @cost, @review_time, @review_due::date, @body, @create_time, @update_time, @delete_time)
		ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, state = excluded.state, kind = excluded.kind, title = excluded.title,
			words = excluded.words, languages = excluded.languages, language_forms = excluded.language_forms, cancer_types = excluded.cancer_types,
			phases = excluded.phases, side_effects = excluded.side_effects, audiences = excluded.audiences, cost = excluded.cost,
			review_time = excluded.review_time, review_due = excluded.review_due, body = excluded.body, update_time = excluded.update_time,
			delete_time = excluded.delete_time`, args)
	return nil
}

// queueResourceEvent queues the event of a change ("created", "reviewed", …) to a resource.
func queueResourceEvent(ctx context.Context, b *pgx.Batch, r *resourceRow, m *groupsv1.Resource, change string) error {
	return events.Queue(ctx, b, events.Event{
		Type: "care.cairn.groups.resource." + change + ".v1", Subject: m.GetName(), Revision: r.Revision,
		Data: &groupsv1.ResourceChanged{
			Resource: m.GetName(), Organization: m.GetOrganization(), Kind: m.GetKind(), Title: m.GetTitle(), State: m.GetState(),
			Deleted: r.DeleteTime != nil, ReviewDue: m.GetReviewDue(), ChangeTime: m.GetUpdateTime(),
		},
	})
}

// lockResource reads a resource that the caller may change and keeps others from changing it until the transaction ends.
func lockResource(ctx context.Context, tx pg.Querier, id uuid.UUID) (r resourceRow, err error) {
	t := auth.TenantFrom(ctx)
	err = r.scan(tx.QueryRow(ctx, `SELECT `+resourceColumns+` FROM resources r WHERE r.id = @id AND (@all OR r.org_id = @org) FOR UPDATE`,
		pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All}))
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fault.NotFound(aip.Name("resources", id))
	}
	if err != nil {
		return r, fmt.Errorf("lock resource: %w", err)
	}
	return r, nil
}

// changeResource locks the resource, applies, writes, tells. do returns what happened ("updated", "reviewed", …), or "" if
// nothing did.
func (s *server) changeResource(ctx context.Context, id uuid.UUID, etag string, do func(*resourceRow, *groupsv1.Resource) (string, error)) (*groupsv1.Resource, error) {
	var m *groupsv1.Resource
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lockResource(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := aip.CheckETag(etag, r.Revision); err != nil {
			return err
		}
		if m, err = s.applyToResource(ctx, tx, &r, do); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, m)
	})
	if err != nil {
		return nil, fmt.Errorf("change resource: %w", err)
	}
	return m, nil
}

// applyToResource is changeResource for a locked one.
func (s *server) applyToResource(ctx context.Context, tx pgx.Tx, r *resourceRow, do func(*resourceRow, *groupsv1.Resource) (string, error)) (*groupsv1.Resource, error) {
	m, err := r.toProto()
	if err != nil {
		return nil, err
	}
	change, err := do(r, m)
	if err != nil || change == "" {
		return m, err
	}
	r.Revision, r.UpdateTime = r.Revision+1, s.clock.Now()
	r.into(m)
	b := new(pgx.Batch)
	if err := queueSaveResource(b, r, m); err != nil {
		return nil, err
	}
	if err := queueResourceEvent(ctx, b, r, m, change); err != nil {
		return nil, err
	}
	return m, tx.SendBatch(ctx, b).Close()
}

// live refuses a change of a deleted resource.
func (r *resourceRow) live() error {
	if r.DeleteTime != nil {
		return fault.Precondition("RESOURCE_DELETED", aip.Name("resources", r.ID), "the resource is deleted: bring it back with :undelete first")
	}
	return nil
}
