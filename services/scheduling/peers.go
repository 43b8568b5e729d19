package scheduling

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// atOnce is how many questions one call has under way with its peers.
const atOnce = 8

// group is what a series needs to know of its group.
type group struct {
	id, org  uuid.UUID
	revision int64
	archived bool
	format   int32
	leads    []uuid.UUID
}

// findGroup asks the groups service for a group of the caller's tenant.
func (s *server) findGroup(ctx context.Context, name string) (group, error) {
	g, err := s.groups.GetGroup(auth.System(ctx, service), &groupsv1.GetGroupRequest{Name: name})
	if status.Code(err) == codes.NotFound {
		return group{}, fault.NotFound(name)
	}
	if err != nil {
		return group{}, fmt.Errorf("get group: %w", err)
	}
	id, err := aip.ParseName("series.group", "groups", g.GetName())
	if err != nil {
		return group{}, err
	}
	org, err := aip.ParseName("organization", "organizations", g.GetOrganization())
	if err != nil {
		return group{}, err
	}
	if t := auth.TenantFrom(ctx); g.GetDeleteTime() != nil || !t.All && t.Org != org {
		return group{}, fault.NotFound(name)
	}
	revision, err := aip.Revision(g.GetEtag())
	if err != nil {
		return group{}, fmt.Errorf("get group: %w", err)
	}
	return group{id: id, org: org, revision: revision, archived: g.GetState() == groupsv1.Group_ARCHIVED,
		format: formatOf(g.GetFormat()), leads: leadsOf(g.GetFacilitators())}, nil
}

// listed names the elements of a repeated field.
func listed(field string) func(i int) string {
	return func(i int) string { return fmt.Sprintf("%s[%d]", field, i) }
}

// checkFacilitators refuses facilitators who are not of the organization.
func (s *server) checkFacilitators(ctx context.Context, field func(i int) string, org uuid.UUID, names []string) error {
	return each(ctx, names, func(ctx context.Context, i int, name string) (*fault.Violation, error) {
		f, err := s.groups.GetFacilitator(auth.System(ctx, service), &groupsv1.GetFacilitatorRequest{Name: name})
		if status.Code(err) == codes.NotFound || err == nil && f.GetOrganization() != aip.Name("organizations", org) {
			return fault.Field(field(i), "%s is no facilitator of the group's organization", name), nil
		}
		if err != nil {
			return nil, fmt.Errorf("get facilitator: %w", err)
		}
		return nil, nil
	})
}

// checkMemberships refuses memberships that are not of the session's group. Only of those that are not known here it asks.
func (s *server) checkMemberships(ctx context.Context, r sessionRow, ids []uuid.UUID, names []string) error {
	groups, err := s.groupsOf(ctx, ids)
	if err != nil {
		return err
	}
	return each(ctx, names, func(ctx context.Context, i int, name string) (*fault.Violation, error) {
		group, known := groups[ids[i]]
		if !known {
			m, err := s.members.GetMembership(auth.System(ctx, service), &membershipv1.GetMembershipRequest{Name: name})
			if err != nil && status.Code(err) != codes.NotFound {
				return nil, fmt.Errorf("get membership: %w", err)
			}
			group = m.GetGroup()
		}
		if group != aip.Name("groups", r.GroupID) {
			return fault.Field(fmt.Sprintf("entries[%d].membership", i), "%s is no membership of %s", name, aip.Name("groups", r.GroupID)), nil
		}
		return nil, nil
	})
}

// groupsOf returns the groups of the memberships that are known here.
func (s *server) groupsOf(ctx context.Context, memberships []uuid.UUID) (map[uuid.UUID]string, error) {
	groups := map[uuid.UUID]string{}
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT membership_id, group_id FROM attendees WHERE membership_id = ANY($1)`, some(memberships))
		if err != nil {
			return err
		}
		var id, group uuid.UUID
		_, err = pgx.ForEachRow(rows, []any{&id, &group}, func() error {
			groups[id] = aip.Name("groups", group)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find memberships: %w", err)
	}
	return groups, nil
}

// each asks about every name, several at once, and returns all violations as one error.
func each(ctx context.Context, names []string, ask func(context.Context, int, string) (*fault.Violation, error)) error {
	found := make([]*fault.Violation, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, n := range names {
		g.Go(func() (err error) {
			found[i], err = ask(ctx, i, n)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var bad []*fault.Violation
	for _, v := range found {
		if v != nil {
			bad = append(bad, v)
		}
	}
	if bad != nil {
		return fault.Invalid(bad...)
	}
	return nil
}
