package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/demo"
)

// The crowd and what it wants.
const (
	crowd = 1000
	seats = 10
)

// joiners are the people who want into a group.
type joiners struct {
	b       *bench
	groups  groupsv1.GroupsServiceClient
	members membershipv1.MembershipServiceClient
	names   []string
}

// benchJoin measures how fast a crowd's requests for a few seats are decided, and that no seat is
// given twice.
func benchJoin(ctx context.Context, b *bench) error {
	groupsConn, err := b.demo.Conn(ctx, demo.Nonprofit, "groups")
	if err != nil {
		return err
	}
	defer groupsConn.Close() //nolint:errcheck // nothing is under way
	membersConn, err := b.demo.Conn(ctx, demo.Nonprofit, "membership")
	if err != nil {
		return err
	}
	defer membersConn.Close() //nolint:errcheck // nothing is under way
	j := &joiners{b: b, groups: groupsv1.NewGroupsServiceClient(groupsConn), members: membershipv1.NewMembershipServiceClient(membersConn), names: make([]string, crowd)}
	err = each(ctx, clients, func(ctx context.Context, i int) error {
		m, err := j.members.CreateMember(ctx, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
			Alias: fmt.Sprintf("Golondrina %d", i), Role: membershipv1.Member_SURVIVOR, BirthYear: 1964, Languages: []string{"es"},
		}})
		j.names[i] = m.GetName()
		return err
	})
	if err != nil {
		return fmt.Errorf("create members: %w", err)
	}
	decided := map[bool][]float64{}
	for round := range b.rounds {
		for _, waitlist := range []bool{true, false} {
			took, err := j.round(ctx, waitlist)
			if err != nil {
				return err
			}
			perSecond := crowd / took.Seconds()
			decided[waitlist] = append(decided[waitlist], perSecond)
			fmt.Fprintf(os.Stderr, "  round %d, waitlist %t: %s\n", round+1, waitlist, rate(perSecond))
		}
	}
	for _, waitlist := range []bool{true, false} {
		what := "each of the others put on the waitlist, in order"
		if !waitlist {
			what = "no waitlist, the others refused"
		}
		perSecond := median(decided[waitlist])
		b.table.add(row{
			what: fmt.Sprintf("joining: %s requests at once for %d seats, %s", thousands(crowd), seats, what),
			ours: fmt.Sprintf("exactly %d seated; %s decided", seats, rate(perSecond)), goal: "exact, ≥ 1,000/s", met: perSecond >= 1000,
		})
	}
	return nil
}

// each calls fn for everybody, some at a time.
func each(ctx context.Context, atOnce int, fn func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range crowd {
		g.Go(func() error { return fn(ctx, i) })
	}
	return g.Wait()
}

// round opens a group, has everybody ask for it, and times how long it takes to decide.
func (j *joiners) round(ctx context.Context, waitlist bool) (time.Duration, error) {
	group, err := j.groups.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
		Title: "Ten seats", Summary: "Everybody wants in.", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_ONLINE,
		Languages: []string{"es"}, CancerTypes: []string{"any"}, TimeZone: "America/Chicago",
		Online: &groupsv1.Group_Online{Platform: "Zoom"}, ExternalId: uuid.NewString(), SourceSystem: "bench",
		Capacity: &groupsv1.Group_Capacity{Seats: seats, Waitlist: waitlist},
	}})
	if err != nil {
		return 0, fmt.Errorf("create group: %w", err)
	}
	if group, err = j.groups.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: group.GetName()}); err != nil {
		return 0, fmt.Errorf("publish group: %w", err)
	}
	asked := make([]string, crowd)
	err = each(ctx, clients, func(ctx context.Context, i int) error {
		m, err := j.members.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{Group: group.GetName(), Member: j.names[i]})
		if err == nil && m.GetState() != membershipv1.Membership_REQUESTED {
			err = fmt.Errorf("a request is %s", m.GetState())
		}
		asked[i] = m.GetName()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ask for a seat: %w", err)
	}
	if _, _, err := j.b.drain(ctx); err != nil {
		return 0, err
	}
	states := make([]membershipv1.Membership_State, crowd)
	start := time.Now()
	err = each(ctx, crowd, func(ctx context.Context, i int) error {
		m, err := j.members.ApproveMembership(ctx, &membershipv1.ApproveMembershipRequest{Name: asked[i]})
		if full(err) && !waitlist {
			return nil
		}
		states[i] = m.GetState()
		return err
	})
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("decide: %w", err)
	}
	counts := map[membershipv1.Membership_State]int{}
	for _, s := range states {
		counts[s]++
	}
	rest := membershipv1.Membership_WAITLISTED
	if !waitlist {
		rest = membershipv1.Membership_STATE_UNSPECIFIED
	}
	if counts[membershipv1.Membership_APPROVED_PENDING_GUIDELINES] != seats || counts[rest] != crowd-seats {
		return 0, fmt.Errorf("of %d requests for %d seats the states are %v", crowd, seats, counts)
	}
	return took, j.seated(ctx, group.GetName())
}

// seated asks the service how many have a seat.
func (j *joiners) seated(ctx context.Context, group string) error {
	list, err := j.members.ListMemberships(ctx, &membershipv1.ListMembershipsRequest{Group: group, Filter: "state = APPROVED_PENDING_GUIDELINES", PageSize: 200})
	if err != nil {
		return fmt.Errorf("list memberships: %w", err)
	}
	if len(list.GetMemberships()) != seats {
		return fmt.Errorf("%d members have one of %d seats", len(list.GetMemberships()), seats)
	}
	_, _, err = j.b.drain(ctx)
	return err
}

// full tells whether a request was refused because the group is full.
func full(err error) bool {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == "GROUP_FULL" {
			return true
		}
	}
	return false
}
