package groups

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/pg"
)

// CreateGroup creates a draft, in one round trip.
func (s *server) CreateGroup(ctx context.Context, req *groupsv1.CreateGroupRequest) (*groupsv1.Group, error) {
	orgID, err := s.orgs.ownerFor(ctx, "group.organization", req.GetGroup().GetOrganization())
	if err != nil {
		return nil, err
	}
	g := written(req.GetGroup())
	if err := checkGroup(g); err != nil {
		return nil, err
	}
	setGuidelines(g, nil)
	now := s.clock.Now()
	k := groupKey{ID: aip.NewID(), OrgID: orgID, Revision: 1, State: int32(groupsv1.Group_DRAFT), CreateTime: now, UpdateTime: now}
	answer := fresh(&k, g)

	b := s.db.Batch(ctx)
	if err := queueInsertGroup(b, &k, g); err != nil {
		return nil, err
	}
	if err := queueChange(ctx, b, &k, nil, g, "created"); err != nil {
		return nil, err
	}
	if err := idem.Save(ctx, b, answer); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, b); err != nil {
		if pg.Constraint(err) == "groups_external_id" {
			answer.Name, err = keyHolder(ctx, s.db, err, "groups", `SELECT id FROM groups
				WHERE org_id = $1 AND source_system = $2 AND external_id = $3 AND delete_time IS NULL`, orgID, g.GetSourceSystem(), g.GetExternalId())
		}
		return nil, fmt.Errorf("insert group: %w", groupError(err, answer))
	}
	return answer, nil
}

// fresh returns a group that nobody has told seats or sessions of yet.
func fresh(k *groupKey, g *groupsv1.Group) *groupsv1.Group {
	out := proto.CloneOf(g)
	k.into(out)
	out.Availability = &groupsv1.Group_Availability{TimeZone: g.GetTimeZone()}
	if seats := g.GetCapacity().GetSeats(); seats > 0 {
		out.Availability.OpenSeats = &seats
	}
	return out
}

// setGuidelines counts the version of the guidelines: up with each change of text or link.
func setGuidelines(g, before *groupsv1.Group) {
	now, old := g.GetGuidelines(), before.GetGuidelines()
	if now.GetText() == "" && now.GetUri() == "" {
		g.Guidelines = nil
		if v := old.GetVersion(); v > 0 { // keeps counting, so that a later text is a new version
			g.Guidelines = &groupsv1.Group_Guidelines{Version: v}
		}
		return
	}
	now.Version = old.GetVersion()
	if now.GetText() != old.GetText() || now.GetUri() != old.GetUri() {
		now.Version++
	}
}

func parseOrganization(field, name string) (uuid.UUID, error) {
	return aip.ParseName(field, "organizations", name)
}
