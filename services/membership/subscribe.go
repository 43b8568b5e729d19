package membership

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/events"
)

// subscription follows what the groups service tells of its groups.
func (s *server) subscription() events.Subscription {
	handlers := make(map[string]events.Handler)
	for _, what := range []string{"created", "updated", "published", "paused", "archived", "deleted", "undeleted"} {
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
		_, err := applyFacts(ctx, tx, f, s.clock.Now())
		return err
	}, nil
}
