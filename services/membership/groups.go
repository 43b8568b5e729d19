package membership

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// offerDuration is how long a seat is held for the next on the waitlist, unless the group says otherwise.
const offerDuration = 72 * time.Hour

// facts returns what a group says of itself, as a row without the numbers of its seats.
func facts(g *groupsv1.Group) (*groupRow, error) {
	revision, err := aip.Revision(g.GetEtag())
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", g.GetName(), err)
	}
	guidelines := g.GetGuidelines().GetVersion()
	if g.GetGuidelines().GetText() == "" && g.GetGuidelines().GetUri() == "" {
		guidelines = 0 // nothing to read: as events tell it
	}
	return factsOf(&groupsv1.GroupChanged{
		Group: g.GetName(), Organization: g.GetOrganization(), State: g.GetState(), AcceptsIntake: g.GetAcceptsIntake(),
		Seats: g.GetCapacity().GetSeats(), Waitlist: g.GetCapacity().GetWaitlist(),
		GuidelinesVersion: guidelines, Audiences: g.GetAudiences(), AgeLimits: g.GetAgeLimits(),
		Title: g.GetTitle(), Intake: g.GetIntake(), Joining: g.GetJoining(), Facilitators: g.GetFacilitators(),
		Deleted: g.GetDeleteTime() != nil,
	}, revision)
}

// factsOf is facts of a group's event.
func factsOf(g *groupsv1.GroupChanged, revision int64) (*groupRow, error) {
	id, err := aip.ParseName("group", "groups", g.GetGroup())
	if err != nil {
		return nil, err
	}
	org, err := aip.ParseName("organization", "organizations", g.GetOrganization())
	if err != nil {
		return nil, err
	}
	audiences := make([]int32, len(g.GetAudiences()))
	for i, a := range g.GetAudiences() {
		audiences[i] = int32(a)
	}
	leads, err := leadsOf(g.GetFacilitators())
	if err != nil {
		return nil, err
	}
	offer := offerDuration
	if d := g.GetJoining().GetOfferDuration(); d != nil {
		offer = d.AsDuration()
	}
	return &groupRow{
		GroupID: id, OrgID: org, GroupRevision: revision,
		Archived: g.GetState() == groupsv1.Group_ARCHIVED, Deleted: g.GetDeleted(), AcceptsIntake: g.GetAcceptsIntake() && !g.GetDeleted(),
		Capacity: g.GetSeats(), Waitlist: g.GetWaitlist(), GuidelinesVersion: g.GetGuidelinesVersion(), Audiences: audiences,
		MinYears: g.GetAgeLimits().GetMinYears(), MaxYears: g.GetAgeLimits().GetMaxYears(),
		StrictAge: g.GetAgeLimits().GetStrictness() == groupsv1.Group_AgeLimits_STRICT,
		Title:     g.GetTitle(), Automatic: g.GetJoining().GetApproval() == groupsv1.Group_Joining_AUTOMATIC,
		Screening: g.GetIntake() == groupsv1.Group_SCREENING, OfferSeconds: int64(offer / time.Second),
		LeaveFrees: g.GetJoining().GetLeave() == groupsv1.Group_Joining_FREES_SEAT, Leads: leads,
	}, nil
}

// applyFacts brings the copy of a group up to date, if the facts are newer than it: more seats, or taking people again,
// serves the waitlist; fewer seats change nothing for who is in; archiving ends every membership; deleting hides the group from
// its people, who stay in it.
func (s *server) applyFacts(ctx context.Context, tx pgx.Tx, f *groupRow, now time.Time) (*groupRow, error) {
	g, err := findGroup(ctx, tx, f.GroupID, lockToChange)
	fresh := err == nil && g == nil
	if fresh {
		if err = insertGroup(ctx, tx, f.GroupID, f.OrgID); err == nil {
			g, err = findGroup(ctx, tx, f.GroupID, lockToChange)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lock group: %w", err)
	}
	if g == nil {
		return nil, fmt.Errorf("group %s is not visible after it was inserted", f.name())
	}
	if f.GroupRevision <= g.GroupRevision {
		return g, nil
	}
	before := *g
	if fresh { // nobody is in it whom to ask
		g.GuidelinesTold = f.GuidelinesVersion
	}
	g.GroupRevision, g.Archived, g.Deleted, g.AcceptsIntake = f.GroupRevision, f.Archived, f.Deleted, f.AcceptsIntake
	g.Capacity, g.Waitlist, g.GuidelinesVersion = f.Capacity, f.Waitlist, f.GuidelinesVersion
	g.Audiences, g.MinYears, g.MaxYears, g.StrictAge = f.Audiences, f.MinYears, f.MaxYears, f.StrictAge
	g.Title, g.Automatic, g.Screening, g.OfferSeconds, g.LeaveFrees = f.Title, f.Automatic, f.Screening, f.OfferSeconds, f.LeaveFrees

	w := &work{tx: tx, b: new(pgx.Batch), g: g, now: now}
	updateGroup(w.b, g)
	saveLeads(w.b, g, f.Leads)
	if g.Archived && !before.Archived {
		err = closeAll(ctx, tx, w.b, g, now)
	} else {
		err = s.promote(ctx, w)
	}
	if err != nil {
		return nil, err
	}
	w.seatsChanged = g.Taken != before.Taken || g.Waiting != before.Waiting || g.Capacity != before.Capacity || before.GroupRevision == 0
	return g, w.send(ctx)
}

// groupNow returns a group as its service has it now, for callers of the tenant; other tenants' groups are not found. While
// the groups service is out of reach, what it told last serves instead: its events tell the rest as soon as it is back.
func (s *server) groupNow(ctx context.Context, id uuid.UUID) (*groupRow, error) {
	tenant := auth.TenantFrom(ctx)
	name := aip.Name("groups", id)
	var known *groupRow
	b := s.db.Batch(ctx)
	b.Queue(selectGroup+` WHERE group_id = @id AND (@all OR org_id = @org)`,
		pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}).Query(atMostOne(&known))
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find group: %w", err)
	}
	group, err := s.groups.GetGroup(auth.System(ctx, service), &groupsv1.GetGroupRequest{Name: name})
	switch {
	case status.Code(err) == codes.NotFound:
		return nil, fault.NotFound(name)
	case status.Code(err) == codes.Unavailable && known != nil:
		return known, nil
	case err != nil:
		return nil, fmt.Errorf("ask for group: %w", err)
	}
	f, err := facts(group)
	if err != nil {
		return nil, err
	}
	if !tenant.All && f.OrgID != tenant.Org {
		return nil, fault.NotFound(name)
	}
	if known != nil && f.GroupRevision <= known.GroupRevision {
		return known, nil
	}
	var g *groupRow
	err = s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		g, err = s.applyFacts(ctx, tx, f, s.clock.Now())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("update group: %w", err)
	}
	return g, nil
}

// notAccepting returns why a group takes nobody new, nil if it does.
func notAccepting(g *groupRow) error {
	if g.AcceptsIntake {
		return nil
	}
	return fault.Precondition("GROUP_NOT_ACCEPTING", g.name(), "the group takes nobody new: it must be published, and not paused, archived or deleted")
}

func groupFull(g *groupRow) error {
	return fault.Precondition("GROUP_FULL", g.name(), "all %d seats of the group are taken, and it keeps no waitlist", g.Capacity)
}
