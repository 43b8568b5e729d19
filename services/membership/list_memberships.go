package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/page"
)

func membershipFields() aip.Fields {
	return aip.Fields{
		"organization": aip.Ref("x.org_id", "organizations"),
		"referral":     aip.Ref("x.referral_id", "referrals"),
		"state":        aip.Enum("x.state", membershipv1.Membership_State_value),
		"role":         aip.Enum("x.role", membershipv1.Membership_Role_value),
		"end_reason":   aip.Enum("x.end_reason", membershipv1.Membership_EndReason_value),
		"create_time":  aip.Instant("x.create_time"),
		"update_time":  aip.Instant("x.update_time"),
	}
}

// ListMemberships implements MembershipService.
func (s *server) ListMemberships(ctx context.Context, req *membershipv1.ListMembershipsRequest) (*membershipv1.ListMembershipsResponse, error) {
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	query := []any{"ListMemberships", args["org"], args["all"], args["self"], args["self_member"], args["self_lead"], req.GetGroup(), req.GetMember(), req.GetFilter()}
	size := page.Size(req.GetPageSize())
	args["limit"] = size + 1
	where, err := aip.Filter(req.GetFilter(), membershipFields(), args)
	if err != nil {
		return nil, err
	}
	for _, by := range []struct{ field, collection, column, name string }{
		{"group", "groups", "x.group_id", req.GetGroup()},
		{"member", "members", "x.member_id", req.GetMember()},
	} {
		if by.name == "" {
			continue
		}
		if args[by.field], err = aip.ParseName(by.field, by.collection, by.name); err != nil {
			return nil, err
		}
		where += " AND " + by.column + " = @" + by.field
	}
	after, ok, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if ok {
		args["after"] = after
		where += " AND x.id < @after"
	}
	var rows []*membershipRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE `+hers+` AND `+where+
		` ORDER BY x.id DESC LIMIT @limit`, args).Query(all(&rows))
	audit.Queue(ctx, b, "memberships/-")
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list memberships: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *membershipRow) uuid.UUID { return r.ID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &membershipv1.ListMembershipsResponse{NextPageToken: next}
	for _, r := range rows {
		resp.Memberships = append(resp.Memberships, r.toProto())
	}
	return resp, nil
}
