package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// AcknowledgeGuidelines implements MembershipService.
func (s *server) AcknowledgeGuidelines(ctx context.Context, req *membershipv1.AcknowledgeGuidelinesRequest) (*membershipv1.Membership, error) {
	current, err := s.guidelinesOf(ctx, req.GetName(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(),
		decide: func(r *membershipRow, _ *groupRow) (action, error) {
			does := reaffirm
			if r.State == approved {
				does = acknowledge
			}
			if _, ok := next(r.State, does); !ok {
				return "", illegal(r, acknowledge)
			}
			if req.GetVersion() != current {
				return "", fault.Precondition("GUIDELINES_VERSION", aip.Name("groups", r.GroupID),
					"the group's guidelines are at version %d, not %d: read them again and acknowledge that version", current, req.GetVersion())
			}
			r.GuidelinesVersion = current
			return does, nil
		},
	})
}

// guidelinesOf returns the current version of the guidelines of a membership's group. The groups service is asked only if
// the version offered is not the one known here: it may be newer than the last event.
func (s *server) guidelinesOf(ctx context.Context, membership string, offered int32) (int32, error) {
	id, err := aip.ParseName("name", "memberships", membership)
	if err != nil {
		return 0, err
	}
	type known struct {
		GroupID           uuid.UUID
		GuidelinesVersion int32
	}
	var k *known
	tenant := auth.TenantFrom(ctx)
	b := s.db.Batch(ctx)
	b.Queue(`SELECT g.group_id, g.guidelines_version FROM memberships x JOIN group_seats g USING (group_id)
		WHERE x.id = @id AND (@all OR x.org_id = @org)`,
		pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}).Query(atMostOne(&k))
	if err := s.db.Send(ctx, b); err != nil {
		return 0, fmt.Errorf("find group: %w", err)
	}
	if k == nil {
		return 0, fault.NotFound(membership)
	}
	if k.GuidelinesVersion == offered {
		return offered, nil
	}
	g, err := s.groupNow(ctx, k.GroupID)
	if err != nil {
		return 0, err
	}
	return g.GuidelinesVersion, nil
}
