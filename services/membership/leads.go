package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

// lead is a facilitator's part in a group, as the group tells it.
type lead struct {
	Facilitator uuid.UUID
	Role        groupsv1.Group_FacilitatorRole_Role
}

// leadsOf returns who leads and advises a group.
func leadsOf(roles []*groupsv1.Group_FacilitatorRole) ([]lead, error) {
	leads := make([]lead, len(roles))
	for i, r := range roles {
		id, err := aip.ParseName("facilitators", "facilitators", r.GetFacilitator())
		if err != nil {
			return nil, err
		}
		leads[i] = lead{Facilitator: id, Role: r.GetRole()}
	}
	return leads, nil
}

// saveLeads queues who leads and advises a group from now on.
func saveLeads(b *pgx.Batch, g *groupRow, leads []lead) {
	ids, roles := make([]uuid.UUID, len(leads)), make([]int32, len(leads))
	for i, l := range leads {
		ids[i], roles[i] = l.Facilitator, int32(l.Role)
	}
	args := pgx.NamedArgs{"group": g.GroupID, "org": g.OrgID, "ids": ids, "roles": roles}
	b.Queue(`DELETE FROM group_leads l WHERE group_id = @group
		AND NOT EXISTS (SELECT FROM unnest(@ids::uuid[], @roles::integer[]) AS n (id, role) WHERE n.id = l.facilitator_id AND n.role = l.role)`, args)
	b.Queue(`INSERT INTO group_leads (group_id, facilitator_id, org_id, role)
		SELECT @group, n.id, @org, n.role FROM unnest(@ids::uuid[], @roles::integer[]) AS n (id, role) ON CONFLICT DO NOTHING`, args)
}

// ledGroups is a subquery of the groups that the caller leads; see [bounds] for its arguments. Who advises only leads nothing.
const ledGroups = `SELECT l.group_id FROM group_leads l WHERE l.facilitator_id = @self_lead AND l.role IN (1, 2)`

// hers is the condition by which a caller sees a membership x: it is her tenant's and, if she calls for herself only, her own
// or one of a group that she leads.
const hers = `(@all OR x.org_id = @org) AND (NOT @self OR x.member_id = @self_member OR x.group_id IN (` + ledGroups + `))`

// bounds returns what bounds the caller, as arguments of queries: her tenant, and who she is if she calls for herself only.
func bounds(ctx context.Context) (pgx.NamedArgs, error) {
	tenant := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "self": false, "self_member": uuid.Nil, "self_lead": uuid.Nil}
	self, ok := auth.SelfFrom(ctx)
	if !ok {
		return args, nil
	}
	args["self"] = true
	for name, of := range map[string]struct{ collection, who string }{
		"self_member": {"members", self.Member}, "self_lead": {"facilitators", self.Facilitator},
	} {
		if of.who == "" {
			continue
		}
		id, err := aip.ParseName("token", of.collection, of.who)
		if err != nil {
			return nil, err
		}
		args[name] = id
	}
	return args, nil
}

// leads tells whether the caller may act for a group as those do who lead it: the group is her tenant's and, if she calls for
// herself only, she leads it. q is the service's transaction, or a pool with the tenant's settings.
func (s *server) leads(ctx context.Context, q pg.Querier, group uuid.UUID) (bool, error) {
	args, err := bounds(ctx)
	if err != nil {
		return false, err
	}
	args["group"] = group
	var may bool
	if err := q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM group_seats g WHERE g.group_id = @group AND (@all OR g.org_id = @org)
		AND (NOT @self OR g.group_id IN (`+ledGroups+`)))`, args).Scan(&may); err != nil {
		return false, fmt.Errorf("find who leads the group: %w", err)
	}
	return may, nil
}

// isSelf tells whether the member is the caller, who calls for herself.
func isSelf(ctx context.Context, member uuid.UUID) bool {
	self, ok := auth.SelfFrom(ctx)
	return ok && self.Member == aip.Name("members", member)
}

// mayTouch tells whether the caller may read and change a member of the tenant: a person who calls for herself only herself.
func mayTouch(ctx context.Context, member uuid.UUID) bool {
	_, self := auth.SelfFrom(ctx)
	return !self || isSelf(ctx, member)
}
