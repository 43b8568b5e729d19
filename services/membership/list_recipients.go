package membership

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

const (
	recipients     = 200 // of a page, unless the caller says otherwise
	mostRecipients = 500
)

// recipientRow is a member with the membership by which she was asked for.
type recipientRow struct {
	memberRow
	MembershipID uuid.UUID
}

// ListRecipients implements RecipientsService.
func (s *server) ListRecipients(ctx context.Context, req *membershipv1.ListRecipientsRequest) (*membershipv1.ListRecipientsResponse, error) {
	tenant := auth.TenantFrom(ctx)
	size := min(int(req.GetPageSize()), mostRecipients)
	if size == 0 {
		size = recipients
	}
	where, args, err := asked(req)
	if err != nil {
		return nil, err
	}
	args["all"], args["org"], args["limit"] = tenant.All, tenant.Org, size+1
	query := []any{"ListRecipients", tenant, req.GetGroup(), req.GetMemberships(), req.GetKind()}
	args["after"], _, err = page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	var rows []*recipientRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT x.membership_id, `+memberColumns+` FROM members JOIN (
			SELECT id AS membership_id, member_id FROM memberships
			WHERE (@all OR org_id = @org) AND `+where+` AND id > @after ORDER BY id LIMIT @limit) AS x ON x.member_id = members.id
		ORDER BY x.membership_id`, args).Query(all(&rows))
	audit.Queue(ctx, b, "members/-")
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list recipients: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *recipientRow) uuid.UUID { return r.MembershipID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &membershipv1.ListRecipientsResponse{NextPageToken: next}
	for _, r := range rows {
		one, err := s.recipient(r, req.GetKind())
		if err != nil { // one record that cannot be read must not silence the group
			s.log.ErrorContext(ctx, "a member cannot be written to", "member", r.name(), "err", err)
			continue
		}
		if one != nil {
			resp.Recipients = append(resp.Recipients, one)
		}
	}
	return resp, nil
}

// asked is the condition on memberships that a request says.
func asked(req *membershipv1.ListRecipientsRequest) (string, pgx.NamedArgs, error) {
	if (req.GetGroup() == "") == (len(req.GetMemberships()) == 0) {
		return "", nil, fault.Invalid(fault.Field("group", "give either a group or memberships"))
	}
	if req.GetGroup() != "" {
		id, err := aip.ParseName("group", "groups", req.GetGroup())
		return `group_id = @group AND state = 4`, pgx.NamedArgs{"group": id}, err
	}
	ids := make([]uuid.UUID, len(req.GetMemberships()))
	for i, name := range req.GetMemberships() {
		id, err := aip.ParseName(fmt.Sprintf("memberships[%d]", i), "memberships", name)
		if err != nil {
			return "", nil, err
		}
		ids[i] = id
	}
	return `id = ANY(@memberships)`, pgx.NamedArgs{"memberships": ids}, nil
}

// recipient is what a writer needs to know of a member, nil if she may not be written to for this.
func (s *server) recipient(r *recipientRow, kind membershipv1.Member_MessageKind) (*membershipv1.ListRecipientsResponse_Recipient, error) {
	out := &membershipv1.ListRecipientsResponse_Recipient{Member: r.name(), Membership: aip.Name("memberships", r.MembershipID), Alias: r.Alias}
	if kind == membershipv1.Member_MESSAGE_KIND_UNSPECIFIED {
		return out, nil
	}
	if r.DoNotContact || len(r.DataKey) == 0 {
		return nil, nil
	}
	m, err := r.toFullProto(s.keys)
	if err != nil {
		return nil, err
	}
	if m.GetEmail() == "" || standing(m, membershipv1.Member_RECEIVE_MESSAGES) == nil || slices.Contains(m.GetMutedMessages(), kind) {
		return nil, nil
	}
	out.Email, out.Languages, out.TimeZone, out.QuietHours = m.GetEmail(), m.GetLanguages(), m.GetTimeZone(), m.GetQuietHours()
	out.StopToken, err = s.stopToken(r.ID, kind)
	return out, err
}
