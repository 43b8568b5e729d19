package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

func listFields() aip.Fields {
	return aip.Fields{
		"state":              aip.Enum("r.state", referralv1.Referral_State_value),
		"urgency":            aip.Enum("r.urgency", referralv1.Referral_Urgency_value),
		"awaiting":           aip.Enum("r.awaiting", referralv1.Referral_Party_value),
		"organization":       aip.Ref("r.org_id", "organizations"),
		"owner_organization": aip.Ref("r.owner_org_id", "organizations"),
		"group":              aip.Ref("r.group_id", "groups"),
		"requested_group":    aip.Ref("r.requested_group_id", "groups"),
		"membership":         aip.Ref("r.membership_id", "memberships"),
		"placer_number":      aip.Text("r.placer_number"),
		"placer_system":      aip.Text("r.placer_system"),
		"filler_number":      aip.Text("r.filler_number"),
		"filler_system":      aip.Text("r.filler_system"),
		"author_time":        aip.Instant("r.author_time"),
		"create_time":        aip.Instant("r.create_time"),
		"update_time":        aip.Instant("r.update_time"),
		"send_time":          aip.Instant("r.send_time"),
		"due_time":           aip.Instant("r.due_time"),
		"overdue_time":       aip.Instant("r.overdue_time"),
	}
}

// ListReferrals implements ReferralService.
func (s *server) ListReferrals(ctx context.Context, req *referralv1.ListReferralsRequest) (*referralv1.ListReferralsResponse, error) {
	tenant := auth.TenantFrom(ctx)
	query := []any{"ListReferrals", tenant, req.GetFilter()}
	before, more, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if !more {
		before = uuid.Max
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"org": tenant.Org, "before": before, "n": size + 1}
	condition, err := aip.Filter(req.GetFilter(), listFields(), args)
	if err != nil {
		return nil, err
	}
	var rows []*row
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		if rows, err = collectRows(ctx, tx, listSQL(tenant, condition), args); err != nil {
			return err
		}
		return s.showReferrals(ctx, tx, upTo(size, rows))
	}); err != nil {
		return nil, fmt.Errorf("list referrals: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *row) uuid.UUID { return r.ID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListReferralsResponse{NextPageToken: next}
	for _, r := range rows {
		m, err := s.toShortProto(r, viewFor(tenant, r))
		if err != nil {
			return nil, err
		}
		resp.Referrals = append(resp.Referrals, m)
	}
	return resp, nil
}

// listSQL reads a page newest first. What the tenant refers and what it owns are two walks along two indexes.
func listSQL(t auth.Tenant, condition string) string {
	walk := func(whose string) string {
		return `(SELECT ` + columns + ` FROM referrals r WHERE ` + whose + ` AND r.id < @before AND ` + condition + ` ORDER BY r.id DESC LIMIT @n)`
	}
	if t.All {
		return walk(`true`)
	}
	return `SELECT r.* FROM (` + walk(`r.org_id = @org`) + ` UNION ALL ` +
		walk(`r.owner_org_id = @org AND r.org_id <> @org AND r.send_time IS NOT NULL`) + `) r ORDER BY r.id DESC LIMIT @n`
}
