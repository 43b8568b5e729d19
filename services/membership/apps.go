package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/changefeed"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// apps implements GroupAppsService with the rest of the server.
type apps struct {
	membershipv1.UnimplementedGroupAppsServiceServer

	pulse     *changefeed.Pulse
	publicURL string
}

// startApps registers what the apps of members, facilitators and coordinators call.
func (s *server) startApps(ctx context.Context, h *chassis.Host) error {
	s.pulse = changefeed.NewPulse(h.DB, service, h.Log, newsTables...)
	s.publicURL = h.Config.PublicURL
	membershipv1.RegisterGroupAppsServiceServer(h, s)
	h.Subscribe(s.calendarSubscription())
	h.Periodic = append(h.Periodic, s.addAnnouncementJobs(h.Workers)...)
	return s.openNews(ctx, h.DB, h.Log)
}

// person is whose groups are asked for: a member, a facilitator, or somebody who is both.
type person struct{ member, facilitator uuid.UUID }

// personOf returns whose groups the caller asks for. Whoever calls for herself gets her own, anybody else's are not found.
func personOf(ctx context.Context, name string) (person, error) {
	var p person
	self, only := auth.SelfFrom(ctx)
	if only && name != "" && name != self.Member && name != self.Facilitator {
		return p, fault.NotFound(name)
	}
	if !only && name == "" {
		return p, fault.Invalid(fault.Field("person", "is needed: members/{uuid} or facilitators/{uuid}, whose groups they are"))
	}
	names := []string{name}
	if name == "" {
		names = []string{self.Member, self.Facilitator}
	}
	for _, n := range names {
		if n == "" {
			continue
		}
		var err error
		if p.member, err = aip.ParseName("person", "members", n); err == nil {
			continue
		}
		if p.facilitator, err = aip.ParseName("person", "facilitators", n); err != nil {
			return p, err
		}
	}
	return p, nil
}

// name returns whose record her groups are part of.
func (p person) name() string {
	if p.member != uuid.Nil {
		return aip.Name("members", p.member)
	}
	return aip.Name("facilitators", p.facilitator)
}

// args returns the arguments of queries of a person's groups, within the caller's tenant.
func (p person) args(ctx context.Context) pgx.NamedArgs {
	tenant := auth.TenantFrom(ctx)
	return pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "member": p.member, "lead": p.facilitator}
}

// queueKnown has the batch end with pgx.ErrNoRows for a member whom the tenant does not have. Of facilitators nothing is known here
// but what they lead.
func (p person) queueKnown(b *pgx.Batch, args pgx.NamedArgs) {
	if p.member != uuid.Nil && p.facilitator == uuid.Nil {
		b.Queue(`SELECT id FROM members WHERE id = @member AND (@all OR org_id = @org) AND erase_time IS NULL`, args).
			QueryRow(func(row pgx.Row) error { return row.Scan(new(uuid.UUID)) })
	}
}

// orNotFound is the answer to a batch of queueKnown that ended so.
func (p person) orNotFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.NotFound(p.name())
	}
	return err
}

// footing is how the caller stands to a group.
type footing struct {
	Leads      bool      // leads it, or calls for the organization that owns it
	Membership uuid.UUID // by which she is active in it or on leave; Nil: by none
	Role       int32     // of that membership
}

// inside tells whether she sees what the group says among itself.
func (f footing) inside() bool { return f.Leads || f.Membership != uuid.Nil }

// speaks tells whether she may speak for the group to its members.
func (f footing) speaks() bool {
	return f.Leads || membershipv1.Membership_Role(f.Role) == membershipv1.Membership_CO_FACILITATOR
}

// footingIn returns how the caller stands to a group; to one that is deleted, nobody does. q is the service's transaction.
func footingIn(ctx context.Context, q pg.Querier, group uuid.UUID) (footing, error) {
	args, err := bounds(ctx)
	if err != nil {
		return footing{}, err
	}
	args["group"] = group
	rows, err := q.Query(ctx, `SELECT NOT @self OR g.group_id IN (`+ledGroups+`) AS leads,
			coalesce(x.id, '00000000-0000-0000-0000-000000000000') AS membership, coalesce(x.role, 0) AS role
		FROM group_seats g
		LEFT JOIN memberships x ON x.group_id = g.group_id AND x.member_id = @self_member AND x.state IN (4, 5)
		WHERE g.group_id = @group AND NOT g.deleted AND (@all OR g.org_id = @org)`, args)
	if err != nil {
		return footing{}, fmt.Errorf("find how the caller stands to the group: %w", err)
	}
	f, err := pgx.CollectRows(rows, pgx.RowToStructByName[footing])
	if err != nil || len(f) == 0 {
		return footing{}, err
	}
	return f[0], nil
}

// known makes sure that a group is known that nobody has asked to join yet, where the caller may act for all groups of the tenant.
func (s *server) known(ctx context.Context, group uuid.UUID) error {
	if _, self := auth.SelfFrom(ctx); self {
		return nil // she is in it, or it is not hers
	}
	_, err := s.groupNow(ctx, group)
	return err
}
