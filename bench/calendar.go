package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/demo"
)

// The calendars that are read.
const (
	calendars  = 50 // groups that meet every week
	weeksAhead = 8
	circle     = 20 // people of each of the first groups, of whom half have a place in each of the next sessions
	circles    = 3
)

// calendarReaders read what groups have planned.
type calendarReaders struct {
	b       *bench
	groups  groupsv1.GroupsServiceClient
	members membershipv1.MembershipServiceClient
	plans   schedulingv1.SchedulingServiceClient
	answers schedulingv1.RsvpServiceClient
	apps    membershipv1.GroupAppsServiceClient
	names   []string
}

// benchCalendar measures how fast the coming sessions of a group are read: as the apps do, with how many people come, and as
// calendar programs do.
func benchCalendar(ctx context.Context, b *bench) error {
	r := &calendarReaders{b: b}
	for service, use := range map[string]func(grpc.ClientConnInterface){
		"groups": func(c grpc.ClientConnInterface) { r.groups = groupsv1.NewGroupsServiceClient(c) },
		"membership": func(c grpc.ClientConnInterface) {
			r.members, r.apps = membershipv1.NewMembershipServiceClient(c), membershipv1.NewGroupAppsServiceClient(c)
		},
		"scheduling": func(c grpc.ClientConnInterface) {
			r.plans, r.answers = schedulingv1.NewSchedulingServiceClient(c), schedulingv1.NewRsvpServiceClient(c)
		},
	} {
		conn, err := b.demo.Conn(ctx, demo.Nonprofit, service)
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // nothing is under way
		use(conn)
	}
	for i := range calendars {
		if err := r.plan(ctx, i < circles); err != nil {
			return err
		}
	}
	if _, _, err := b.drain(ctx); err != nil {
		return err
	}
	browser := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer browser.CloseIdleConnections()
	next := make([]int, clients)
	p, err := b.alternate(ctx, b.from(func(ctx context.Context, client int) error {
		i := (client + next[client]*clients) % calendars
		next[client]++
		return r.list(ctx, i)
	}), b.from(func(ctx context.Context, client int) error {
		return subscribe(ctx, browser, b.demo.HTTP+"/calendars/"+r.names[client%calendars]+".ics")
	}))
	if err != nil {
		return err
	}
	list, calendar, _ := p.medians(sample.perSecond)
	cpu, calendarCPU, _ := p.medians(sample.serverCPU)
	postgres, calendarPostgres, _ := p.medians(sample.postgresCPU)
	b.table.add(row{
		what: fmt.Sprintf("a group's sessions of %d weeks with how many come, ListSessions", weeksAhead), goal: "≥ 1,000/s", met: list >= 1000,
		ours: fmt.Sprintf("%s; CPU: server %s, PostgreSQL %s", rate(list), micros(cpu), micros(postgres)),
	})
	b.table.add(row{
		what: "a group's public calendar, iCalendar by HTTP", goal: "≥ 500/s", met: calendar >= 500,
		ours: fmt.Sprintf("%s; CPU: server %s, PostgreSQL %s", rate(calendar), micros(calendarCPU), micros(calendarPostgres)),
	})
	rosters, err := b.alternate(ctx, b.from(func(ctx context.Context, client int) error {
		return r.roster(ctx, r.names[client%circles])
	}), b.from(func(ctx context.Context, client int) error {
		_, err := r.members.ListMemberships(ctx, &membershipv1.ListMembershipsRequest{Group: r.names[client%circles]})
		return err
	}))
	if err != nil {
		return err
	}
	roster, memberships, ratio := rosters.medians(sample.perSecond)
	b.table.add(row{
		what: fmt.Sprintf("the roster of a group of %d people, ListRoster; beside it ListMemberships of the same", circle), goal: "≥ 1,000/s", met: roster >= 1000,
		ours: rate(roster), yardstick: rate(memberships), ratio: times(ratio),
	})
	return nil
}

// roster reads who is in a group.
func (r *calendarReaders) roster(ctx context.Context, group string) error {
	resp, err := r.apps.ListRoster(ctx, &membershipv1.ListRosterRequest{Group: group})
	if err != nil {
		return err
	}
	if n := len(resp.GetEntries()); n != circle {
		return fmt.Errorf("%s has %d people on its roster, want %d", group, n, circle)
	}
	return nil
}

// plan opens a group that meets every week; to the next sessions of a full one its people have answered.
func (r *calendarReaders) plan(ctx context.Context, full bool) error {
	group, err := r.groups.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
		Title: "Every week", Summary: "It meets every week.", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_ONLINE,
		Languages: []string{"es"}, CancerTypes: []string{"any"}, TimeZone: "America/Chicago", Online: &groupsv1.Group_Online{Platform: "Zoom"},
		ExternalId: uuid.NewString(), SourceSystem: "bench",
	}})
	if err != nil {
		return fmt.Errorf("create group: %w", err)
	}
	if group, err = r.groups.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: group.GetName()}); err != nil {
		return fmt.Errorf("publish group: %w", err)
	}
	r.names = append(r.names, group.GetName())
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		return err
	}
	series, err := r.plans.CreateSeries(ctx, &schedulingv1.CreateSeriesRequest{Series: &schedulingv1.Series{
		Group: group.GetName(), Rrule: "FREQ=WEEKLY", TimeZone: "America/Chicago", LocalStart: time.Now().In(zone).Add(time.Hour).Format("2006-01-02T15:04:05"),
		Duration: durationpb.New(90 * time.Minute), Format: schedulingv1.Series_ONLINE, OnlineSeats: circle / 2,
	}})
	if err != nil {
		return fmt.Errorf("create series: %w", err)
	}
	if !full {
		return nil
	}
	sessions, err := r.plans.ListSessions(ctx, &schedulingv1.ListSessionsRequest{Filter: fmt.Sprintf("series = %q", series.GetName()), PageSize: weeksAhead})
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	for range circle {
		membership, err := r.join(ctx, group.GetName())
		if err != nil {
			return err
		}
		for _, s := range sessions.GetSessions() {
			if _, err := r.answers.SetRsvp(ctx, &schedulingv1.SetRsvpRequest{Session: s.GetName(), Membership: membership, Answer: schedulingv1.Rsvp_YES}); err != nil {
				return fmt.Errorf("answer: %w", err)
			}
		}
	}
	return nil
}

// join makes a new person take part in a group.
func (r *calendarReaders) join(ctx context.Context, group string) (string, error) {
	m, err := r.members.CreateMember(ctx, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{Alias: "Golondrina", Role: membershipv1.Member_SURVIVOR}})
	if err != nil {
		return "", fmt.Errorf("create member: %w", err)
	}
	in, err := r.members.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{Group: group, Member: m.GetName()})
	if err == nil && in.GetState() == membershipv1.Membership_REQUESTED {
		in, err = r.members.ApproveMembership(ctx, &membershipv1.ApproveMembershipRequest{Name: in.GetName()})
	}
	if err == nil && in.GetState() == membershipv1.Membership_APPROVED_PENDING_GUIDELINES {
		in, err = r.members.AcknowledgeGuidelines(ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: in.GetName()})
	}
	if err != nil {
		return "", fmt.Errorf("join: %w", err)
	}
	return in.GetName(), nil
}

// list reads the next sessions of a group.
func (r *calendarReaders) list(ctx context.Context, i int) error {
	now := time.Now()
	resp, err := r.plans.ListSessions(ctx, &schedulingv1.ListSessionsRequest{Filter: fmt.Sprintf("group = %q AND start_time > %q AND start_time < %q",
		r.names[i], now.Format(time.RFC3339), now.AddDate(0, 0, 7*weeksAhead).Format(time.RFC3339))})
	if err != nil {
		return err
	}
	if n := len(resp.GetSessions()); n != weeksAhead {
		return fmt.Errorf("%s has %d sessions, want %d", r.names[i], n, weeksAhead)
	}
	for _, s := range resp.GetSessions() {
		if got := s.GetPlaces().GetConfirmedOnline(); i < circles && got != circle/2 || i >= circles && got != 0 {
			return fmt.Errorf("%s has %d confirmed", s.GetName(), got)
		}
	}
	return nil
}

// subscribe reads a calendar as a calendar program does.
func subscribe(ctx context.Context, browser *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := browser.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it is read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("BEGIN:VEVENT")) {
		return fmt.Errorf("GET %s: %s: %.200s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
