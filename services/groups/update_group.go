package groups

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// mutable are the fields of a group that its owner may change.
func mutable() []string {
	return []string{
		"title", "summary", "description", "languages", "kind", "facilitation", "format", "venue", "online", "accessibility",
		"cancer_types", "phases", "side_effects", "audiences", "demographics", "demographic_note", "age_limits", "intake", "structure",
		"activities", "capacity", "joining", "cost", "confidentiality", "guidelines", "facilitators", "contact", "time_zone", "regular_times", "external_id",
		"source_system", "extensions", "reminders",
	}
}

// UpdateGroup changes a group. A change that changes nothing leaves revision and etag as they are.
func (s *server) UpdateGroup(ctx context.Context, req *groupsv1.UpdateGroupRequest) (*groupsv1.Group, error) {
	id, err := aip.ParseName("group.name", "groups", req.GetGroup().GetName())
	if err != nil {
		return nil, err
	}
	return s.change(ctx, id, req.GetGroup().GetEtag(), update, func(ctx context.Context, tx pgx.Tx, r *groupRow, g *groupsv1.Group) (string, error) {
		before := written(g)
		if _, err := aip.Masked(req.GetUpdateMask(), g, proto.CloneOf(req.GetGroup()), mutable()...); err != nil {
			return "", err
		}
		if err := checkGroup(g); err != nil {
			return "", err
		}
		setGuidelines(g, before)
		if proto.Equal(before, written(g)) {
			return "", nil
		}
		return "updated", s.stillPublishable(ctx, tx, r, g)
	})
}

// stillPublishable checks the facilitators of a changed group, and its fitness to be public if it is published.
func (s *server) stillPublishable(ctx context.Context, tx pgx.Tx, r *groupRow, g *groupsv1.Group) error {
	leads, err := leadsOf(ctx, tx, r.OrgID, g.GetFacilitators(), s.clock.Now())
	if err != nil || r.State != int32(groupsv1.Group_PUBLISHED) {
		return err
	}
	if broken := publishable(g, leads, r.Listed); len(broken) > 0 {
		return fault.Preconditions("NOT_PUBLISHABLE", broken...)
	}
	return nil
}

// apply changes a locked group's message and returns what happened ("updated", "published", …), or "" if nothing did.
type apply func(ctx context.Context, tx pgx.Tx, r *groupRow, g *groupsv1.Group) (event string, err error)

// change does the verb to the group: locks it, checks etag and state, applies, writes, tells.
func (s *server) change(ctx context.Context, id [16]byte, etag string, v verb, do apply) (*groupsv1.Group, error) {
	var answer *groupsv1.Group
	scope := ctx
	if v == remove || v == archive { // sets free what was merged into it, of other organizations too; lockGroup asks whose it is
		scope = auth.WithTenant(ctx, auth.Tenant{All: true})
	}
	err := s.db.Tx(scope, func(tx pgx.Tx) error {
		r, err := lockGroup(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.MergedInto != nil {
			return fault.Precondition("GROUP_MERGED", aip.Name("groups", id),
				"the group was merged into %s: %s that one, or split the two with duplicates/*:split", aip.Name("groups", *r.MergedInto), v)
		}
		to, err := r.standing().next(v, aip.Name("groups", id))
		if err != nil {
			return err
		}
		if err := aip.CheckETag(etag, r.Revision); err != nil {
			return err
		}
		answer, err = s.write(ctx, tx, &r, to, do)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s group: %w", v, err)
	}
	return answer, nil
}

// write applies a change to a locked group and moves it to where the change leads.
func (s *server) write(ctx context.Context, tx pgx.Tx, r *groupRow, to standing, do apply) (*groupsv1.Group, error) {
	now := s.clock.Now()
	g, err := r.toProto(now)
	if err != nil {
		return nil, err
	}
	before := proto.CloneOf(g)
	event, err := do(ctx, tx, r, g)
	if err != nil {
		return nil, err
	}
	b := new(pgx.Batch)
	if g, err = s.changeMerged(ctx, tx, b, r, before, g, event); err != nil {
		return nil, err
	}
	if event != "" {
		r.State, r.Revision, r.UpdateTime = int32(to.state), r.Revision+1, now
		switch {
		case !to.deleted:
			r.DeleteTime = nil
		case r.DeleteTime == nil:
			r.DeleteTime = &now
		}
		if to.state != groupsv1.Group_PAUSED {
			r.PauseReason = 0
		}
		r.into(g)
		if err := queueUpdateGroup(b, &r.groupKey, g); err != nil {
			return nil, err
		}
		if err := queueChange(ctx, b, &r.groupKey, before, g, event); err != nil {
			return nil, err
		}
		b.Queue(`SELECT open_seats FROM availability WHERE group_id = $1`, r.ID).QueryRow(func(row pgx.Row) error {
			return row.Scan(&r.OpenSeats)
		})
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, groupError(err, g)
	}
	g.Availability.OpenSeats = r.OpenSeats
	if r.TimeZone == "" {
		g.Availability.TimeZone = g.GetTimeZone()
	}
	return g, idem.SaveTx(ctx, tx, g)
}
