package groups

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
)

// PublishGroup makes a group public, or opens it again, if it keeps every rule.
func (s *server) PublishGroup(ctx context.Context, req *groupsv1.PublishGroupRequest) (*groupsv1.Group, error) {
	id, err := aip.ParseName("name", "groups", req.GetName())
	if err != nil {
		return nil, err
	}
	return s.change(ctx, id, req.GetEtag(), publish, func(ctx context.Context, tx pgx.Tx, r *groupRow, g *groupsv1.Group) (string, error) {
		leads, err := leadsOf(ctx, tx, r.OrgID, g.GetFacilitators(), s.clock.Now())
		if err != nil {
			return "", err
		}
		if broken := publishable(g, leads, r.Listed); len(broken) > 0 {
			return "", fault.Preconditions("NOT_PUBLISHABLE", broken...)
		}
		// What pauses it from now on is not what the feed had paused.
		if _, err := tx.Exec(ctx, `UPDATE feed_items SET paused = false WHERE group_id = @id AND org_id = @org AND paused`,
			pgx.NamedArgs{"id": r.ID, "org": r.OrgID}); err != nil {
			return "", fmt.Errorf("open for the feeds: %w", err)
		}
		return "published", nil
	})
}
