package scheduling

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

// leadsSession finds sessions that the facilitator @lead leads, or whose group she leads.
const leadsSession = `(EXISTS (SELECT FROM group_leads gl WHERE gl.facilitator_id = @lead AND gl.group_id = s.group_id)
	OR EXISTS (SELECT FROM session_facilitators sf WHERE sf.session_id = s.id AND sf.facilitator_id = @lead))`

// theirOwn returns a condition for the sessions s that a person who was let in for herself may see, and adds what it needs to
// args; it is "true" for everybody else.
func theirOwn(ctx context.Context, args pgx.NamedArgs) string {
	self, bounded := auth.SelfFrom(ctx)
	if !bounded {
		return "true"
	}
	args["lead"], args["member"] = selfID("facilitators", self.Facilitator), selfID("members", self.Member)
	return `(` + leadsSession + ` OR EXISTS (SELECT FROM attendees a WHERE a.member_id = @member AND a.group_id = s.group_id AND a.active))`
}

// selfID returns the id of a name that a token says; the nil UUID, which is nobody's, if it says none.
func selfID(collection, name string) uuid.UUID {
	id, err := aip.ParseName("self", collection, name)
	if err != nil {
		return uuid.Nil
	}
	return id
}

// leads tells whether the caller may act for everybody of the session: a facilitator only if she leads it or its group.
func leads(ctx context.Context, tx pg.Querier, session uuid.UUID) (yes bool, err error) {
	self, bounded := auth.SelfFrom(ctx)
	if !bounded {
		return true, nil
	}
	if self.Facilitator == "" {
		return false, nil
	}
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM sessions s WHERE s.id = @session AND `+leadsSession+`)`,
		pgx.NamedArgs{"session": session, "lead": selfID("facilitators", self.Facilitator)}).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("find who leads: %w", err)
	}
	return yes, nil
}

// keepLeads keeps who leads groups whose calendars are locked.
func keepLeads(ctx context.Context, tx pg.Querier, list []listing) error {
	var groups, of, who, orgs []uuid.UUID
	for _, l := range list {
		groups = append(groups, l.id)
		for _, lead := range l.leads {
			of, who, orgs = append(of, l.id), append(who, lead), append(orgs, l.org)
		}
	}
	b := &pgx.Batch{}
	b.Queue(`DELETE FROM group_leads l WHERE l.group_id = ANY(@groups) AND NOT EXISTS (
		SELECT FROM unnest(@of::uuid[], @who::uuid[]) AS g (id, lead) WHERE g.id = l.group_id AND g.lead = l.facilitator_id)`,
		pgx.NamedArgs{"groups": groups, "of": some(of), "who": some(who)})
	if len(of) > 0 {
		b.Queue(`INSERT INTO group_leads (facilitator_id, group_id, org_id)
			SELECT DISTINCT g.lead, g.id, g.org FROM unnest(@of::uuid[], @who::uuid[], @orgs::uuid[]) AS g (id, lead, org)
			ON CONFLICT DO NOTHING`, pgx.NamedArgs{"of": of, "who": who, "orgs": orgs})
	}
	return sendAll(ctx, tx, b, "keep who leads")
}

// leadsOf returns those of the facilitators of a group who lead it.
func leadsOf(list []*groupsv1.Group_FacilitatorRole) (ids []uuid.UUID) {
	for _, f := range list {
		id := selfID("facilitators", f.GetFacilitator())
		if f.GetRole() != groupsv1.Group_FacilitatorRole_CLINICAL_ADVISOR && id != uuid.Nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
