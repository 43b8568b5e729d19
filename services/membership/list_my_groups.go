package membership

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// myGroupRow is a group as a person stands to it.
type myGroupRow struct {
	GroupID           uuid.UUID
	Title             string
	GuidelinesVersion int32
	People            int32
	AnnounceTime      *time.Time
	LeadRole          int32
	MembershipID      *uuid.UUID
}

// ListMyGroups implements GroupAppsService.
func (s *server) ListMyGroups(ctx context.Context, req *membershipv1.ListMyGroupsRequest) (*membershipv1.ListMyGroupsResponse, error) {
	p, err := personOf(ctx, req.GetPerson())
	if err != nil {
		return nil, err
	}
	args, size := p.args(ctx), page.Size(req.GetPageSize())
	query := []any{"ListMyGroups", args["org"], args["all"], p.member, p.facilitator}
	after, _, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	args["after"], args["limit"], args["now"] = after, size+1, s.clock.Now()
	var rows []*myGroupRow
	var held []*membershipRow
	b := s.db.Batch(ctx)
	p.queueKnown(b, args)
	b.Queue(`WITH mine AS (
			SELECT x.group_id, x.id AS membership_id, NULL::integer AS lead_role FROM memberships x
			WHERE x.member_id = @member AND x.state NOT IN (6, 7)
			UNION ALL
			SELECT l.group_id, NULL, l.role FROM group_leads l WHERE l.facilitator_id = @lead
		), wanted AS (
			SELECT group_id, max(membership_id::text)::uuid AS membership_id, coalesce(min(lead_role), 0) AS lead_role FROM mine GROUP BY group_id
		)
		SELECT g.group_id, g.title, g.guidelines_version, w.lead_role, w.membership_id,
			(SELECT count(*) FROM memberships x WHERE x.group_id = g.group_id AND x.state IN (4, 5))::integer AS people,
			(SELECT max(a.create_time) FROM announcements a
			 WHERE a.group_id = g.group_id AND a.delete_time IS NULL AND (a.expire_time IS NULL OR a.expire_time > @now)) AS announce_time
		FROM wanted w JOIN group_seats g USING (group_id)
		WHERE NOT g.archived AND NOT g.deleted AND (@all OR g.org_id = @org) AND g.group_id > @after ORDER BY g.group_id LIMIT @limit`, args).Query(all(&rows))
	b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE x.member_id = @member AND x.state NOT IN (6, 7) AND (@all OR x.org_id = @org)`, args).Query(all(&held))
	audit.Queue(ctx, b, p.name())
	if err := p.orNotFound(s.db.Send(ctx, b)); err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(r *myGroupRow) uuid.UUID { return r.GroupID }, query...)
	if err != nil {
		return nil, err
	}
	coming, err := s.nextSessions(ctx, rows)
	if err != nil {
		return nil, err
	}
	resp := &membershipv1.ListMyGroupsResponse{NextPageToken: next}
	for _, r := range rows {
		g := &membershipv1.MyGroup{
			Group: aip.Name("groups", r.GroupID), Title: r.Title, GuidelinesVersion: r.GuidelinesVersion, People: r.People,
			LeadRole: groupsv1.Group_FacilitatorRole_Role(r.LeadRole), AnnounceTime: timestamp(r.AnnounceTime),
			NextSessionTime: coming[aip.Name("groups", r.GroupID)],
		}
		if r.MembershipID != nil {
			if i := slices.IndexFunc(held, func(m *membershipRow) bool { return m.ID == *r.MembershipID }); i >= 0 {
				g.Membership = held[i].toProto()
			}
		}
		if !sees(g) {
			g.People, g.AnnounceTime = 0, nil
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
}

// sees tells whether she is in the group already, or leads it: what it does among itself is not for who only asks to join.
func sees(g *membershipv1.MyGroup) bool {
	s := g.GetMembership().GetState()
	return g.GetLeadRole() != 0 || s == active || s == onLeave
}

// nextSessions returns when groups meet next, as the directory knows it. While that is out of reach, or one of them has just
// been deleted, nothing is known.
func (s *server) nextSessions(ctx context.Context, rows []*myGroupRow) (map[string]*timestamppb.Timestamp, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = aip.Name("groups", r.GroupID)
	}
	resp, err := s.groups.BatchGetGroups(auth.System(ctx, service), &groupsv1.BatchGetGroupsRequest{Names: names})
	switch status.Code(err) {
	case codes.OK:
	case codes.Unavailable, codes.NotFound:
		return nil, nil
	default:
		return nil, fmt.Errorf("ask for groups: %w", err)
	}
	now := s.clock.Now()
	next := make(map[string]*timestamppb.Timestamp, len(names))
	for _, g := range resp.GetGroups() {
		for _, t := range g.GetAvailability().GetNextSessions() {
			if t.AsTime().After(now) {
				next[g.GetName()] = t
				break
			}
		}
	}
	return next, nil
}
