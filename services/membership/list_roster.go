package membership

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// ListRoster implements GroupAppsService.
func (s *server) ListRoster(ctx context.Context, req *membershipv1.ListRosterRequest) (*membershipv1.ListRosterResponse, error) {
	group, err := aip.ParseName("group", "groups", req.GetGroup())
	if err != nil {
		return nil, err
	}
	size := page.Size(req.GetPageSize())
	query := []any{"ListRoster", group}
	after, _, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if err := s.known(ctx, group); err != nil {
		return nil, err
	}
	var leads []lead
	var people []*membershipRow
	var members []*memberRow
	var next string
	contacts := map[uuid.UUID]contact{}
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		who, err := footingIn(ctx, tx, group)
		if err != nil {
			return err
		}
		if !who.inside() {
			return fault.NotFound(req.GetGroup())
		}
		args := pgx.NamedArgs{"group": group, "after": after, "limit": size + 1, "leads": who.Leads}
		const wanted = ` x.group_id = @group AND x.id > @after AND (x.state IN (4, 5) OR @leads AND x.state = 3)`
		b := new(pgx.Batch)
		b.Queue(`SELECT facilitator_id AS facilitator, role FROM group_leads WHERE group_id = @group ORDER BY role, facilitator_id`, args).Query(func(rows pgx.Rows) (err error) {
			leads, err = pgx.CollectRows(rows, pgx.RowToStructByName[lead])
			return err
		})
		b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE`+wanted+` ORDER BY x.id LIMIT @limit`, args).Query(all(&people))
		b.Queue(`SELECT `+memberColumns+` FROM members WHERE id IN (SELECT x.member_id FROM memberships x WHERE`+wanted+` ORDER BY x.id LIMIT @limit)`, args).Query(all(&members))
		audit.Queue(ctx, b, req.GetGroup())
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		if people, next, err = page.Cut(people, size, func(r *membershipRow) uuid.UUID { return r.ID }, query...); err != nil {
			return err
		}
		var shown []string
		for _, m := range members {
			if !slices.ContainsFunc(people, func(r *membershipRow) bool { return r.MemberID == m.ID }) {
				continue // of the next page
			}
			c, err := s.sharedContact(m)
			if err != nil {
				return err
			}
			if c != (contact{}) {
				contacts[m.ID], shown = c, append(shown, m.name())
			}
		}
		return audit.InsertEach(ctx, tx, shown)
	}); err != nil {
		return nil, err
	}
	resp := &membershipv1.ListRosterResponse{NextPageToken: next}
	for _, l := range leads {
		resp.Facilitators = append(resp.Facilitators, &groupsv1.Group_FacilitatorRole{Facilitator: aip.Name("facilitators", l.Facilitator), Role: l.Role})
	}
	for _, r := range people {
		e := &membershipv1.ListRosterResponse_Entry{
			Membership: r.name(), Alias: r.Alias, Role: membershipv1.Membership_Role(r.Role), State: r.State, ActivateTime: timestamp(r.ActivateTime),
			Email: contacts[r.MemberID].email, Phone: contacts[r.MemberID].phone,
		}
		resp.Entries = append(resp.Entries, e)
	}
	return resp, nil
}

// contact is how a member is reached.
type contact struct{ email, phone string }

// sharedContact returns how a member may be reached by the people of her groups: not at all unless she has consented.
func (s *server) sharedContact(r *memberRow) (contact, error) {
	if len(r.DataKey) == 0 || r.DoNotContact {
		return contact{}, nil
	}
	m, err := r.toProto()
	if err != nil || standing(m, membershipv1.Member_SHARE_CONTACT) == nil {
		return contact{}, err
	}
	if m, err = r.toFullProto(s.keys); err != nil {
		return contact{}, fmt.Errorf("contact of a member: %w", err)
	}
	return contact{m.GetEmail(), m.GetPhone()}, nil
}
