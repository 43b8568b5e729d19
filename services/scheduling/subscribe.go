package scheduling

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/events"
)

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
	return func(ctx context.Context, tx pgx.Tx) error {
		if err := takeReminders(ctx, tx, &group, e.Revision); err != nil {
			return err
		}
		return takeListings(ctx, tx, []listing{l}, s.clock.Now())
	}, nil
}
