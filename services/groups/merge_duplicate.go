package groups

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
	dup "cairn.care/services/groups/duplicate"
)

// MergeDuplicate makes two groups one.
func (s *duplicateServer) MergeDuplicate(ctx context.Context, req *groupsv1.MergeDuplicateRequest) (answer *groupsv1.Duplicate, err error) {
	id, err := aip.ParseName("name", "duplicates", req.GetName())
	if err != nil {
		return nil, err
	}
	survivor, err := aip.ParseName("survivor", "groups", req.GetSurvivor())
	if err != nil {
		return nil, err
	}
	for i, path := range req.GetTakenFields() {
		if !dup.Takeable(path) {
			return nil, fault.Invalid(fault.Field(fmt.Sprintf("taken_fields[%d]", i), "%q cannot be taken: name a field such as title, summary, venue, contact.phone or regular_times", path))
		}
	}
	t := insider(ctx)
	// The rows of both organizations are written; what the caller may do is checked against its own tenant.
	err = s.db.Tx(auth.WithTenant(ctx, auth.Tenant{All: true}), func(tx pgx.Tx) error {
		p, err := selectPair(ctx, tx, t, id, "")
		if err != nil {
			return err
		}
		if err := p.decidable(t); err != nil {
			return err
		}
		if survivor != p.FirstID && survivor != p.SecondID {
			return fault.Invalid(fault.Field("survivor", "must be one of the two groups of the pair, %s or %s", aip.Name("groups", p.FirstID), aip.Name("groups", p.SecondID)))
		}
		if p, err = s.merge(ctx, tx, t, id, survivor, req, actor(ctx)); err != nil {
			return err
		}
		if answer, err = s.toProto(ctx, tx, t, p); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, answer)
	})
	return answer, err
}

// merge locks a pair with its groups, in this order as everybody does, and makes them one.
func (s *duplicateServer) merge(ctx context.Context, tx pgx.Tx, t auth.Tenant, id, survivor uuid.UUID, req *groupsv1.MergeDuplicateRequest, by string) (*pairRow, error) {
	p, err := selectPair(ctx, tx, t, id, "")
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		SELECT g.id, a.taken, a.waitlist_length
		FROM groups g
		JOIN availability a ON a.group_id = g.id
		WHERE g.id IN (@first, @second) ORDER BY g.id FOR UPDATE OF g`, pgx.NamedArgs{"first": p.FirstID, "second": p.SecondID})
	if err != nil {
		return nil, fmt.Errorf("lock groups of pair: %w", err)
	}
	members := map[uuid.UUID]bool{}
	if _, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		var group uuid.UUID
		var taken, waiting int32
		err = row.Scan(&group, &taken, &waiting)
		members[group] = taken > 0 || waiting > 0
		return struct{}{}, err
	}); err != nil {
		return nil, fmt.Errorf("lock groups of pair: %w", err)
	}
	if p, err = selectPair(ctx, tx, t, id, "FOR UPDATE OF d"); err != nil {
		return nil, err
	}
	if err := aip.CheckETag(req.GetEtag(), p.Revision); err != nil {
		return nil, err
	}
	now := s.clock.Now()
	m := &merges{now: now, nodes: map[uuid.UUID]*merged{}}
	if err := m.load(ctx, tx, []uuid.UUID{p.FirstID, p.SecondID}); err != nil {
		return nil, err
	}
	other := p.other(survivor)
	if broken := m.unmergeable(p, survivor, members[other]); len(broken) > 0 {
		return nil, fault.Preconditions("NOT_MERGEABLE", broken...)
	}
	m.join(other, survivor, req.GetTakenFields())
	b := new(pgx.Batch)
	if _, err := m.queue(ctx, b, nil); err != nil {
		return nil, err
	}
	p.Survivor, p.TakenFields = &survivor, req.GetTakenFields()
	p.queueDecide(b, groupsv1.Duplicate_MERGED, by, now)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("merge groups: %w", err)
	}
	return p, nil
}

// unmergeable returns a violation for each rule that keeps the pair from being merged, with what to do.
func (m *merges) unmergeable(p *pairRow, survivor uuid.UUID, members bool) []*errdetails.PreconditionFailure_Violation {
	var broken []*errdetails.PreconditionFailure_Violation
	refuse := func(reason string, group uuid.UUID, format string, a ...any) {
		broken = append(broken, &errdetails.PreconditionFailure_Violation{Type: reason, Subject: aip.Name("groups", group), Description: fmt.Sprintf(format, a...)})
	}
	// How open a group is to those who look for one.
	open := func(k *groupKey) int {
		switch groupsv1.Group_State(k.State) {
		case groupsv1.Group_PUBLISHED:
			return 2
		case groupsv1.Group_PAUSED:
			return 1
		}
		return 0
	}
	other := p.other(survivor)
	for _, id := range []uuid.UUID{survivor, other} {
		switch k := &m.nodes[id].key; {
		case k.MergedInto != nil:
			refuse("GROUP_MERGED", id, "the group was merged into %s already: split those two first, or merge with that one", aip.Name("groups", *k.MergedInto))
		case k.DeleteTime != nil:
			refuse("GROUP_DELETED", id, "the group is deleted: bring it back with :undelete first")
		case k.State == int32(groupsv1.Group_ARCHIVED):
			refuse("GROUP_STATE", id, "the group has ended for good")
		}
	}
	if open(&m.nodes[survivor].key) < open(&m.nodes[other].key) {
		refuse("SURVIVOR_NOT_OPEN", survivor, "people find the other group and would not find this one: publish it first, or let the other survive")
	}
	if members {
		refuse("GROUP_HAS_MEMBERS", other, "the group has members or people who wait: let it survive, or move them first")
	}
	if groupsv1.Duplicate_State(p.State) == groupsv1.Duplicate_MERGED {
		broken = append(broken, &errdetails.PreconditionFailure_Violation{Type: "PAIR_MERGED", Subject: aip.Name("duplicates", p.ID), Description: "the groups are one already"})
	}
	return broken
}
