package referral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// ListReferralEvents implements ReferralService.
func (s *server) ListReferralEvents(ctx context.Context, req *referralv1.ListReferralEventsRequest) (*referralv1.ListReferralEventsResponse, error) {
	id, err := aip.ParseName("parent", "referrals", req.GetParent())
	if err != nil {
		return nil, err
	}
	after, _, err := page.Decode[int64](req.GetPageToken(), "ListReferralEvents", id)
	if err != nil {
		return nil, err
	}
	tenant, size := auth.TenantFrom(ctx), page.Size(req.GetPageSize())
	var found []*row
	var rows []*eventRow
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	b := s.db.Batch(ctx)
	b.Queue(selectReferral, args).Query(collect(&found))
	b.Queue(`SELECT `+eventColumns+` FROM referral_events WHERE referral_id = @id AND number > @after ORDER BY number LIMIT @n`,
		pgx.NamedArgs{"id": id, "after": after, "n": size + 1}).Query(collect(&rows))
	audit.QueueIf(ctx, b, req.GetParent(), selectReferral, args)
	s.disclose(ctx, b, selectReferral, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list referral events: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetParent())
	}
	r := found[0]
	rows, next, err := page.Cut(rows, size, func(e *eventRow) int64 { return e.Number }, "ListReferralEvents", id)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListReferralEventsResponse{NextPageToken: next}
	for _, e := range rows {
		note, err := s.shownNote(tenant, r, e)
		if err != nil {
			return nil, err
		}
		m := &referralv1.ReferralEvent{
			Name: fmt.Sprintf("%s/events/%d", r.name(), e.Number), CreateTime: timestamppb.New(e.CreateTime), Action: e.Action,
			Party: e.Party, Actor: e.Actor, Organization: optionalName("organizations", e.ActorOrgID), FromState: e.FromState,
			ToState: e.ToState, Note: note, Session: optionalName("sessions", e.SessionID),
		}
		if e.anothers(tenant, r) {
			m.Actor, m.Organization = "", ""
		}
		resp.ReferralEvents = append(resp.ReferralEvents, m)
	}
	return resp, nil
}

// shownNote returns the note of a step as the tenant is shown it. An owner reads its own and those of the referrer, which it reads no
// more once the consent has ended; never those of an owner before.
func (s *server) shownNote(t auth.Tenant, r *row, e *eventRow) (string, error) {
	if viewFor(t, r) == whole {
		return s.openNote(r, e)
	}
	c, err := r.consent()
	if err != nil {
		return "", err
	}
	own := !t.All && e.ActorOrgID != nil && *e.ActorOrgID == t.Org
	if e.anothers(t, r) || consentEnded(c, s.clock.Now()) && !own {
		return "", nil
	}
	return s.openNote(r, e)
}

// anothers tells whether a step was taken by an owner before the tenant, of whom only the referrer knows.
func (e *eventRow) anothers(t auth.Tenant, r *row) bool {
	return viewFor(t, r) != whole && !t.All && e.ActorOrgID != nil && *e.ActorOrgID != t.Org && *e.ActorOrgID != r.OrgID
}
