package scheduling

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

// together is how many groups of a bulk change are planned in one transaction: a long one would hold up who reads changes
// by transaction in the same cluster.
const together = 100

// subscription follows when groups meet by their listing, and which go on and which do not.
func (s *server) subscription() events.Subscription {
	handlers := map[string]events.Handler{"care.cairn.groups.group.synced.v1": s.groupsSynced}
	for _, what := range []string{"created", "updated", "published", "paused", "archived", "deleted", "undeleted", "merged", "split"} {
		handlers["care.cairn.groups.group."+what+".v1"] = s.groupChanged
	}
	return events.Subscription{Name: "scheduling-groups", Source: "groups", Handlers: handlers}
}

// groupChanged plans what the group's listing says, cancels the coming sessions of a group that was archived or deleted, and
// brings them back when it was brought back.
func (s *server) groupChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var group groupsv1.GroupChanged
	if err := e.Decode(&group); err != nil {
		return nil, events.Poison(err)
	}
	l, err := listingOf(&group, e.Revision)
	if err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error { return takeListings(ctx, tx, []listing{l}, s.clock.Now()) }, nil
}

// groupsSynced does the same for many groups, some at a time. What is done of an event that is applied again is seen by the
// groups' revisions.
func (s *server) groupsSynced(ctx context.Context, e *events.Received) (events.Write, error) {
	var synced groupsv1.GroupsSynced
	if err := e.Decode(&synced); err != nil {
		return nil, events.Poison(err)
	}
	for names := range slices.Chunk(synced.GetGroups(), together) {
		resp, err := s.groups.BatchGetGroups(ctx, &groupsv1.BatchGetGroupsRequest{Names: names})
		if err != nil {
			return nil, fmt.Errorf("get groups: %w", err)
		}
		list := make([]listing, len(resp.GetGroups()))
		for i, g := range resp.GetGroups() {
			if list[i], err = listingNow(g); err != nil {
				return nil, err
			}
		}
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error { return takeListings(ctx, tx, list, s.clock.Now()) }); err != nil {
			return nil, err
		}
	}
	return func(context.Context, pgx.Tx) error { return nil }, nil
}

// listingNow reads what a group says.
func listingNow(g *groupsv1.Group) (listing, error) {
	revision, err := aip.Revision(g.GetEtag())
	if err != nil {
		return listing{}, fmt.Errorf("%s: %w", g.GetName(), err)
	}
	return listingOf(&groupsv1.GroupChanged{
		Group: g.GetName(), Organization: g.GetOrganization(), State: g.GetState(), Deleted: g.GetDeleteTime() != nil || g.GetMergedInto() != "",
		Format: g.GetFormat(), TimeZone: g.GetTimeZone(), RegularTimes: g.GetRegularTimes(),
	}, revision)
}
