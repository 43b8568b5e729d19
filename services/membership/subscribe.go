package membership

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

// subscription follows what the groups service tells of its groups.
func (s *server) subscription() events.Subscription {
	handlers := map[string]events.Handler{"care.cairn.groups.group.synced.v1": s.groupsSynced}
	for _, what := range []string{"created", "updated", "published", "paused", "archived", "deleted", "undeleted", "merged", "split"} {
		handlers["care.cairn.groups.group."+what+".v1"] = s.groupChanged
	}
	return events.Subscription{Name: "membership-groups", Source: "groups", Handlers: handlers}
}

// groupChanged keeps the copy of a group current, and its seats with it.
func (s *server) groupChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var changed groupsv1.GroupChanged
	if err := e.Decode(&changed); err != nil {
		return nil, events.Poison(err)
	}
	f, err := factsOf(&changed, e.Revision)
	if err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := s.applyFacts(ctx, tx, f, s.clock.Now())
		return err
	}, nil
}

// syncedAtOnce is how many groups of a bulk change are taken in one transaction.
const syncedAtOnce = 100

// groupsSynced does the same for the groups of a bulk change that have members or somebody who asked: of the many others nothing
// is kept before. What is done of an event that is applied again is seen by the groups' revisions.
func (s *server) groupsSynced(ctx context.Context, e *events.Received) (events.Write, error) {
	var synced groupsv1.GroupsSynced
	if err := e.Decode(&synced); err != nil {
		return nil, events.Poison(err)
	}
	ids := make([]uuid.UUID, len(synced.GetGroups()))
	for i, name := range synced.GetGroups() {
		id, err := aip.ParseName("groups", "groups", name)
		if err != nil {
			return nil, events.Poison(err)
		}
		ids[i] = id
	}
	var known []string
	b := s.db.Batch(ctx)
	b.Queue(`SELECT group_id FROM group_seats WHERE group_id = ANY($1) ORDER BY group_id`, ids).Query(func(rows pgx.Rows) (err error) {
		known, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
			var id uuid.UUID
			err := row.Scan(&id)
			return aip.Name("groups", id), err
		})
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find groups: %w", err)
	}
	for names := range slices.Chunk(known, syncedAtOnce) {
		resp, err := s.groups.BatchGetGroups(ctx, &groupsv1.BatchGetGroupsRequest{Names: names})
		if err != nil {
			return nil, fmt.Errorf("get groups: %w", err)
		}
		list := make([]*groupRow, len(names))
		for i, g := range resp.GetGroups() {
			if list[i], err = facts(g); err != nil {
				return nil, err
			}
		}
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			for _, f := range list {
				if _, err := s.applyFacts(ctx, tx, f, s.clock.Now()); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return func(context.Context, pgx.Tx) error { return nil }, nil
}
