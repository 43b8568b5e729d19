package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// groupKey is what the columns of a group hold that the message does not.
type groupKey struct {
	ID          uuid.UUID
	OrgID       uuid.UUID
	Revision    int64
	State       int32
	PauseReason int32
	Listed      bool // brought by a feed: its source vouches for who leads
	CreateTime  time.Time
	UpdateTime  time.Time
	DeleteTime  *time.Time
	MergedInto  *uuid.UUID // the group that this one is a duplicate of, which hides it
	MergeTime   *time.Time
}

func (k *groupKey) standing() standing {
	return standing{groupsv1.Group_State(k.State), k.DeleteTime != nil}
}

// groupColumns are those of a groupRow, in order; only the first sessions are read, since past ones are few.
const groupColumns = `
	g.id, g.org_id, g.revision, g.state, g.pause_reason, g.listed, g.create_time, g.update_time, g.delete_time,
	g.merged_into, g.merge_time, g.body, p.body, a.open_seats, a.waitlist_length, a.next_sessions[1:20], a.time_zone, a.planned`

func (r *groupRow) scan(row pgx.Row) error {
	return row.Scan(&r.ID, &r.OrgID, &r.Revision, &r.State, &r.PauseReason, &r.Listed, &r.CreateTime, &r.UpdateTime, &r.DeleteTime,
		&r.MergedInto, &r.MergeTime, &r.Body, &r.Private, &r.OpenSeats, &r.WaitlistLength, &r.NextSessions, &r.TimeZone, &r.Planned)
}

// selectGroup reads one group: anybody's that is public, the tenant's own with its private part. Positional arguments,
// since this is the hottest statement: id, org, all.
const selectGroup = `
SELECT ` + groupColumns + `
FROM groups g
JOIN availability a ON a.group_id = g.id
LEFT JOIN group_private p ON p.group_id = g.id AND ($3 OR p.org_id = $2)
WHERE g.id = $1 AND ($3 OR g.org_id = $2 OR (` + publicGroup + `))`

// lockGroup reads the tenant's group and keeps others from changing it until the transaction ends.
func lockGroup(ctx context.Context, tx pg.Querier, id uuid.UUID) (r groupRow, err error) {
	t := auth.TenantFrom(ctx)
	err = r.scan(tx.QueryRow(ctx, `
		SELECT `+groupColumns+`
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		LEFT JOIN group_private p ON p.group_id = g.id
		WHERE g.id = @id AND (@all OR g.org_id = @org)
		FOR UPDATE OF g`, pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All}))
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fault.NotFound(aip.Name("groups", id))
	}
	if err != nil {
		return r, fmt.Errorf("lock group: %w", err)
	}
	return r, nil
}

// leadsOf returns the facilitators of a group and keeps them as they are until the transaction ends; today is the date on
// which a licence must be valid.
func leadsOf(ctx context.Context, tx pg.Querier, orgID uuid.UUID, roles []*groupsv1.Group_FacilitatorRole, today time.Time) ([]lead, error) {
	ids, numbers := make([]uuid.UUID, len(roles)), make([]int32, len(roles))
	for i, r := range roles {
		id, err := aip.ParseName(fmt.Sprintf("group.facilitators[%d].facilitator", i), "facilitators", r.GetFacilitator())
		if err != nil {
			return nil, err
		}
		ids[i], numbers[i] = id, int32(r.GetRole())
	}
	rows, err := tx.Query(ctx, `
		SELECT f.id, r.role, f.licence_verified AND f.licence_expire_date >= @today::date AS licensed, f.lived_experience
		FROM unnest(@ids::uuid[], @roles::int[]) AS r (id, role)
		JOIN facilitators f ON f.id = r.id AND f.org_id = @org
		FOR SHARE OF f`,
		pgx.NamedArgs{"ids": ids, "roles": numbers, "org": orgID, "today": today})
	if err != nil {
		return nil, fmt.Errorf("read facilitators: %w", err)
	}
	leads, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l lead, err error) {
		var licensed *bool
		err = row.Scan(&l.ID, &l.Role, &licensed, &l.LivedExperience)
		l.Licensed = licensed != nil && *licensed
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("read facilitators: %w", err)
	}
	found := map[uuid.UUID]bool{}
	for _, l := range leads {
		found[l.ID] = true
	}
	for i, id := range ids {
		if !found[id] {
			return nil, fault.Invalid(fault.Field(fmt.Sprintf("group.facilitators[%d].facilitator", i), "%s is no facilitator of the organization", roles[i].GetFacilitator()))
		}
	}
	return leads, nil
}

// queueInsertGroup queues all rows of a new group.
func queueInsertGroup(b *pgx.Batch, k *groupKey, g *groupsv1.Group) error {
	args, err := groupArgs(k, g)
	if err != nil {
		return err
	}
	b.Queue(`
		INSERT INTO groups (id, org_id, revision, state, pause_reason, title, kind, facilitation, format, languages, cancer_types,
			time_zone, external_id, source_system, listed, body, create_time, update_time, delete_time)
		VALUES (@id, @org, @revision, @state, @pause_reason, @title, @kind, @facilitation, @format, @languages, @cancer_types,
			@time_zone, @external_id, @source_system, @listed, @body, @create_time, @update_time, @delete_time)`, args)
	b.Queue(`INSERT INTO availability (group_id, open_seats) VALUES (@id, nullif(@seats::int, 0))`, args)
	queueGroupParts(b, args)
	return nil
}

// queueUpdateGroup queues the change of a locked group to k and g.
func queueUpdateGroup(b *pgx.Batch, k *groupKey, g *groupsv1.Group) error {
	args, err := groupArgs(k, g)
	if err != nil {
		return err
	}
	b.Queue(`
		UPDATE groups SET revision = @revision, state = @state, pause_reason = @pause_reason, title = @title, kind = @kind,
			facilitation = @facilitation, format = @format, languages = @languages, cancer_types = @cancer_types, time_zone = @time_zone,
			external_id = @external_id, source_system = @source_system, body = @body, update_time = @update_time, delete_time = @delete_time,
			merged_into = @merged_into, merge_time = @merge_time
		WHERE id = @id AND org_id = @org`, args)
	// Until membership has told of seats, all are open.
	b.Queue(`
		UPDATE availability SET open_seats = nullif(@seats::int, 0)
		WHERE group_id = @id AND seats_revision = 0 AND open_seats IS DISTINCT FROM nullif(@seats::int, 0)`, args)
	b.Queue(`DELETE FROM group_private WHERE group_id = @id AND @private::bytea IS NULL`, args)
	b.Queue(`DELETE FROM group_facilitators WHERE group_id = @id AND facilitator_id <> ALL(@facilitator_ids::uuid[])`, args)
	queueGroupParts(b, args)
	return nil
}

// queueGroupParts queues the rows beside a group's own.
func queueGroupParts(b *pgx.Batch, args pgx.NamedArgs) {
	b.Queue(`
		INSERT INTO group_private (group_id, org_id, body)
		SELECT @id, @org, @private::bytea WHERE @private::bytea IS NOT NULL
		ON CONFLICT (group_id) DO UPDATE SET body = excluded.body WHERE group_private.body <> excluded.body`, args)
	b.Queue(`
		INSERT INTO group_facilitators (group_id, org_id, facilitator_id, role)
		SELECT @id, @org, r.id, r.role FROM unnest(@facilitator_ids::uuid[], @facilitator_roles::int[]) AS r (id, role)
		ON CONFLICT (group_id, facilitator_id) DO UPDATE SET role = excluded.role WHERE group_facilitators.role <> excluded.role`, args)
}

// groupArgs returns the values of a group's columns.
func groupArgs(k *groupKey, g *groupsv1.Group) (pgx.NamedArgs, error) {
	_, body, private, err := bodies(g)
	if err != nil {
		return nil, err
	}
	ids, roles := []uuid.UUID{}, []int32{}
	for i, r := range g.GetFacilitators() {
		id, err := aip.ParseName(fmt.Sprintf("group.facilitators[%d].facilitator", i), "facilitators", r.GetFacilitator())
		if err != nil {
			return nil, err
		}
		ids, roles = append(ids, id), append(roles, int32(r.GetRole()))
	}
	return pgx.NamedArgs{
		"id": k.ID, "org": k.OrgID, "revision": k.Revision, "state": k.State, "pause_reason": k.PauseReason,
		"title": g.GetTitle(), "kind": int32(g.GetKind()), "facilitation": int32(g.GetFacilitation()), "format": int32(g.GetFormat()),
		"languages": orEmpty(g.GetLanguages()), "cancer_types": orEmpty(g.GetCancerTypes()), "time_zone": g.GetTimeZone(),
		"external_id": g.GetExternalId(), "source_system": g.GetSourceSystem(), "seats": g.GetCapacity().GetSeats(), "listed": k.Listed,
		"body": body, "private": private, "facilitator_ids": ids, "facilitator_roles": roles,
		"create_time": k.CreateTime, "update_time": k.UpdateTime, "delete_time": k.DeleteTime,
		"merged_into": k.MergedInto, "merge_time": k.MergeTime,
	}, nil
}

// queueChange queues what goes with every change of a group: its revision and its event. before is
// the group as it was, nil when it is new.
func queueChange(ctx context.Context, b *pgx.Batch, k *groupKey, before, g *groupsv1.Group, change string) error {
	h := newHistory(ctx, uuid.Nil)
	if err := h.add(k, changeOf(change), before, g); err != nil {
		return err
	}
	h.queue(b)
	return events.Queue(ctx, b, groupEvent(k, g, change))
}

// keyHolder returns the name of the resource that has the key for which a new one was refused, and err, which says so.
func keyHolder(ctx context.Context, db *pg.DB, err error, collection, sql string, key ...any) (string, error) {
	var id uuid.UUID
	b := db.Batch(ctx)
	b.Queue(sql, key...).QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
	if failed := db.Send(ctx, b); failed != nil { // it is gone again
		return "", errors.Join(err, failed)
	}
	return aip.Name(collection, id), err
}

// groupError turns a broken constraint into what the caller did.
func groupError(err error, g *groupsv1.Group) error {
	switch pg.Constraint(err) {
	case "groups_external_id":
		return fault.AlreadyExists(g.GetName(), "the organization already has a group with external_id %q of source_system %q: update that one",
			g.GetExternalId(), g.GetSourceSystem())
	case "group_facilitators_facilitator":
		return fault.Invalid(fault.Field("group.facilitators", "names somebody who is no facilitator of the organization"))
	}
	return err
}

// orEmpty makes a missing list an empty one: NULL would never match.
func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
