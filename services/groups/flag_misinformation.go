package groups

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// maxFlags is how many flags a resource keeps between two reviews; the first say enough.
const maxFlags = 20

// FlagMisinformation hides a resource that the caller sees, its own or another's, until its owner has it reviewed.
func (s *server) FlagMisinformation(ctx context.Context, req *groupsv1.FlagMisinformationRequest) (*groupsv1.Resource, error) {
	id, err := aip.ParseName("name", "resources", req.GetName())
	if err != nil {
		return nil, err
	}
	c := &checker{}
	c.plainText("reason", req.GetReason())
	if err := c.err(); err != nil {
		return nil, err
	}
	caller, t := auth.PrincipalFrom(ctx), insider(ctx)
	flag := &groupsv1.Resource_Flag{
		Reason: req.GetReason(), FlaggedBy: caller.Subject, Organization: caller.Organization, FlagTime: timestamppb.New(s.clock.Now()),
	}
	var m *groupsv1.Resource
	ctx = auth.System(ctx, "groups") // another organization's row is changed; who sees it is checked below
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lockVisibleResource(ctx, tx, id, t)
		if err != nil {
			return err
		}
		if m, err = s.applyToResource(ctx, tx, &r, func(r *resourceRow, m *groupsv1.Resource) (string, error) {
			if err := r.live(); err != nil {
				return "", err
			}
			if len(m.GetFlags()) < maxFlags {
				m.Flags = append(m.Flags, flag)
			}
			r.State = int32(groupsv1.Resource_FLAGGED)
			return "flagged", nil
		}); err != nil {
			return err
		}
		if !t.All && r.OrgID != t.Org {
			m.Flags = nil
		}
		return idem.SaveTx(ctx, tx, m)
	})
	if err != nil {
		return nil, fmt.Errorf("flag resource: %w", err)
	}
	return m, nil
}

// lockVisibleResource is lockResource for whatever the tenant sees.
func lockVisibleResource(ctx context.Context, tx pgx.Tx, id uuid.UUID, t auth.Tenant) (r resourceRow, err error) {
	err = r.scan(tx.QueryRow(ctx, `SELECT `+resourceColumns+` FROM resources r WHERE r.id = @id AND `+visibleResource+` FOR UPDATE`,
		pgx.NamedArgs{"id": id, "org": t.Org, "all": t.All}))
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fault.NotFound(aip.Name("resources", id))
	}
	if err != nil {
		return r, fmt.Errorf("lock resource: %w", err)
	}
	return r, nil
}
