package scheduling

import (
	"context"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

// subscription follows which groups go on and which do not.
func (s *server) subscription() events.Subscription {
	handlers := make(map[string]events.Handler)
	for _, what := range []string{"published", "paused", "archived", "deleted", "undeleted"} {
		handlers["care.cairn.groups.group."+what+".v1"] = s.groupChanged
	}
	return events.Subscription{Name: "scheduling-groups", Source: "groups", Handlers: handlers}
}

// groupChanged cancels the coming sessions of a group that was archived or deleted, and
// brings them back when it was brought back.
func (s *server) groupChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var group groupsv1.GroupChanged
	if err := e.Decode(&group); err != nil {
		return nil, err
	}
	id, err := aip.ParseName("group", "groups", group.GetGroup())
	if err != nil {
		return nil, events.Poison(err)
	}
	org, err := aip.ParseName("organization", "organizations", group.GetOrganization())
	if err != nil {
		return nil, events.Poison(err)
	}
	closed := group.GetDeleted() || group.GetState() == groupsv1.Group_ARCHIVED
	return func(ctx context.Context, tx pgx.Tx) error {
		calendar, err := lockCalendar(ctx, tx, id, org)
		if err != nil || calendar.GroupRevision >= e.Revision {
			return err
		}
		if err := markGroup(ctx, tx, id, closed, e.Revision); err != nil {
			return err
		}
		list, err := seriesOfGroup(ctx, tx, id)
		if err != nil {
			return err
		}
		now := s.clock.Now()
		for _, series := range list {
			if series.Closed == closed {
				continue
			}
			series.Closed = closed
			series.Revision++
			if err := reconcile(ctx, tx, &series, now, aim{lenient: true, reason: closedReason}); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
