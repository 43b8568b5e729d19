package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

func memberFields() aip.Fields {
	return aip.Fields{
		"organization":   aip.Ref("org_id", "organizations"),
		"role":           aip.Enum("role", membershipv1.Member_Role_value),
		"birth_year":     aip.Int("birth_year"),
		"do_not_contact": aip.Bool("do_not_contact"),
		"create_time":    aip.Instant("create_time"),
		"update_time":    aip.Instant("update_time"),
	}
}

// ListMembers implements MembershipService.
func (s *server) ListMembers(ctx context.Context, req *membershipv1.ListMembersRequest) (*membershipv1.ListMembersResponse, error) {
	tenant := auth.TenantFrom(ctx)
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "limit": size + 1}
	where, err := aip.Filter(req.GetFilter(), memberFields(), args)
	if err != nil {
		return nil, err
	}
	query := []any{"ListMembers", tenant, req.GetFilter()}
	after, ok, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if ok {
		args["after"] = after
		where += " AND id < @after"
	}
	var rows []*memberRow
	var next string
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		b := new(pgx.Batch)
		b.Queue(`SELECT `+memberColumns+` FROM members WHERE (@all OR org_id = @org) AND erase_time IS NULL AND `+where+
			` ORDER BY id DESC LIMIT @limit`, args).Query(all(&rows))
		audit.Queue(ctx, b, "members/-")
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		if rows, next, err = page.Cut(rows, size, func(r *memberRow) uuid.UUID { return r.ID }, query...); err != nil {
			return err
		}
		names := make([]string, len(rows))
		for i, r := range rows {
			names[i] = r.name()
		}
		return audit.InsertEach(ctx, tx, names)
	}); err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	resp := &membershipv1.ListMembersResponse{NextPageToken: next}
	for _, r := range rows {
		m, err := r.toProto()
		if err != nil {
			return nil, err
		}
		resp.Members = append(resp.Members, m)
	}
	return resp, nil
}
