package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/demo"
)

const (
	kills     = 20
	fewSeats  = 7
	callers   = 3
	nonprofit = "organizations/0192d7a5-1000-7000-8000-000000000001"
)

// TestSIGKILL kills Cairn twenty times at random moments under load. Callers repeat what was
// not acknowledged, with the same request_id, as the API tells them to. Afterwards every
// acknowledged write is there once, every event has arrived, and no seat is oversold.
func TestSIGKILL(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	d.start(t)
	d.prepare(t)

	loadCtx, stopLoad := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range callers {
		load.Go(func() { d.refer(loadCtx, t) })
		load.Go(func() { d.join(loadCtx, t) })
	}
	for i := range kills {
		d.waitForWork(t, i, 5+rand.IntN(60))
		d.cairn.kill(t)
		d.start(t)
	}
	d.waitForWork(t, kills, 10)
	stopLoad()
	load.Wait()
	d.check(t)
}

// drill is a Cairn under load and what its callers were told.
type drill struct {
	dir    string
	http   string
	grpc   string
	server demo.Server
	cairn  *program

	roomy, tight string // groups

	mu       sync.Mutex
	accepted map[string]string // placer number to the referral that was acknowledged as accepted
	joined   map[string]string // member to acknowledged membership
	work     chan struct{}     // one for every acknowledged operation
	conns    map[string]*grpc.ClientConn
	spent    []*grpc.ClientConn
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	d := &drill{
		dir: shortDir(t), http: freeAddr(t), grpc: freeAddr(t),
		accepted: map[string]string{}, joined: map[string]string{}, work: make(chan struct{}, 1_000_000),
		conns: map[string]*grpc.ClientConn{},
	}
	t.Cleanup(func() {
		for _, c := range append(slices.Collect(maps.Values(d.conns)), d.spent...) {
			if c == nil {
				continue
			}
			if err := c.Close(); err != nil && status.Code(err) != codes.Canceled { // spent twice
				t.Error(err)
			}
		}
	})
	d.server = demo.Server{HTTP: "http://" + d.http, GRPC: func(string) string { return d.grpc }, Dir: d.dir + "/demo"}
	return d
}

func (d *drill) start(t *testing.T) {
	t.Helper()
	bootstrap, err := demo.EnsureClients(d.dir + "/demo")
	if err != nil {
		t.Fatal(err)
	}
	d.cairn = run(t, "cairn", "--data-dir", d.dir+"/data", "--http", d.http, "--grpc", d.grpc, "--bootstrap-file", bootstrap, "--log-level", "warn")
	d.cairn.ready(t, http.DefaultClient, d.server.HTTP)
}

// waitForWork waits until n more operations have been acknowledged.
func (d *drill) waitForWork(t *testing.T, round, n int) {
	t.Helper()
	timeout := time.After(time.Minute)
	for range n {
		select {
		case <-d.work:
		case <-timeout:
			t.Fatalf("round %d: nothing is acknowledged any more\n%s", round, d.cairn.out)
		}
	}
}

// prepare makes a group with room for all and one with few seats.
func (d *drill) prepare(t *testing.T) {
	t.Helper()
	groups := groupsv1.NewGroupsServiceClient(d.app(t))
	series := schedulingv1.NewSchedulingServiceClient(d.app(t))
	lead, err := groups.CreateFacilitator(t.Context(), &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
		Organization: nonprofit, DisplayName: "Lead",
		LivedExperience: []*groupsv1.Facilitator_LivedExperience{{CancerType: "breast", Role: groupsv1.Facilitator_LivedExperience_SURVIVOR}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	make := func(title string, capacity *groupsv1.Group_Capacity) string {
		g, err := groups.CreateGroup(t.Context(), &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
			Organization: nonprofit, Title: title, Summary: "For the drill.", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED,
			Format: groupsv1.Group_IN_PERSON, Languages: []string{"en"}, CancerTypes: []string{"any"}, TimeZone: "America/Chicago",
			Venue: &groupsv1.Group_Venue{
				Kind: groupsv1.Group_Venue_COMMUNITY_CENTRE, Location: &latlng.LatLng{Latitude: 29.7, Longitude: -95.3},
				Address: &typev1.PostalAddress{Locality: "Houston", Country: "US"},
			},
			Capacity: capacity, Confidentiality: groupsv1.Group_GUIDELINES_AGREEMENT, Guidelines: &groupsv1.Group_Guidelines{Text: "Kindness."},
			Facilitators: []*groupsv1.Group_FacilitatorRole{{Facilitator: lead.GetName(), Role: groupsv1.Group_FacilitatorRole_LEAD}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := series.CreateSeries(t.Context(), &schedulingv1.CreateSeriesRequest{Series: &schedulingv1.Series{
			Group: g.GetName(), Rrule: "FREQ=WEEKLY", TimeZone: "America/Chicago", Duration: durationpb.New(time.Hour),
			LocalStart: time.Now().AddDate(0, 0, 2).Format("2006-01-02") + "T18:00:00",
		}}); err != nil {
			t.Fatal(err)
		}
		if _, err := groups.PublishGroup(t.Context(), &groupsv1.PublishGroupRequest{Name: g.GetName()}); err != nil {
			t.Fatal(err)
		}
		return g.GetName()
	}
	d.roomy = make("Room for all", &groupsv1.Group_Capacity{})
	d.tight = make("Few seats", &groupsv1.Group_Capacity{Seats: fewSeats, Waitlist: true})
}

func (d *drill) app(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := d.server.App(t.Context(), "cairn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// refer sends referrals and has them accepted, until ctx ends.
func (d *drill) refer(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		placer := uuid.NewString()
		create := &referralv1.CreateReferralRequest{RequestId: uuid.NewString(), Referral: &referralv1.Referral{
			PlacerNumber: placer, RequestedGroup: d.roomy,
			Subject: &referralv1.Referral_Subject{GivenName: "Ann", FamilyName: placer[:8]},
			Needs:   &referralv1.Needs{CancerTypes: []string{"breast"}, Languages: []string{"en"}, Role: referralv1.Needs_SURVIVOR},
			Consent: &referralv1.Referral_Consent{GrantTime: timestamppb.Now(), Share: []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME}},
		}}
		var sent, accepted *referralv1.Referral
		if !d.repeat(ctx, t, "create referral", demo.Hospital, func(ctx context.Context, c grpc.ClientConnInterface) (err error) {
			sent, err = referralv1.NewReferralServiceClient(c).CreateReferral(ctx, create)
			return err
		}) {
			return
		}
		accept := &referralv1.AcceptReferralRequest{Name: sent.GetName(), RequestId: uuid.NewString()}
		if !d.repeat(ctx, t, "accept referral", demo.Nonprofit, func(ctx context.Context, c grpc.ClientConnInterface) (err error) {
			accepted, err = referralv1.NewReferralServiceClient(c).AcceptReferral(ctx, accept)
			return err
		}) {
			return
		}
		agree := &membershipv1.AcknowledgeGuidelinesRequest{Name: accepted.GetMembership(), Version: 1, RequestId: uuid.NewString()}
		if !d.repeat(ctx, t, "acknowledge", demo.App, func(ctx context.Context, c grpc.ClientConnInterface) error {
			_, err := membershipv1.NewMembershipServiceClient(c).AcknowledgeGuidelines(ctx, agree)
			return err
		}) {
			return
		}
		d.mu.Lock()
		d.accepted[placer] = accepted.GetName()
		d.mu.Unlock()
	}
}

// join has new members ask for the group with few seats, until ctx ends.
func (d *drill) join(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		create := &membershipv1.CreateMemberRequest{RequestId: uuid.NewString(), Member: &membershipv1.Member{
			Organization: nonprofit, Alias: "m" + uuid.NewString()[:8], Role: membershipv1.Member_SURVIVOR, Languages: []string{"en"},
		}}
		var member *membershipv1.Member
		var asked *membershipv1.Membership
		if !d.repeat(ctx, t, "create member", demo.App, func(ctx context.Context, c grpc.ClientConnInterface) (err error) {
			member, err = membershipv1.NewMembershipServiceClient(c).CreateMember(ctx, create)
			return err
		}) {
			return
		}
		ask := &membershipv1.CreateMembershipRequest{Group: d.tight, Member: member.GetName(), RequestId: uuid.NewString()}
		if !d.repeat(ctx, t, "ask to join", demo.App, func(ctx context.Context, c grpc.ClientConnInterface) (err error) {
			asked, err = membershipv1.NewMembershipServiceClient(c).CreateMembership(ctx, ask)
			return err
		}) {
			return
		}
		approve := &membershipv1.ApproveMembershipRequest{Name: asked.GetName(), RequestId: uuid.NewString()}
		if !d.repeat(ctx, t, "approve", demo.App, func(ctx context.Context, c grpc.ClientConnInterface) error {
			_, err := membershipv1.NewMembershipServiceClient(c).ApproveMembership(ctx, approve)
			return err
		}) {
			return
		}
		d.mu.Lock()
		d.joined[member.GetName()] = asked.GetName()
		d.mu.Unlock()
	}
}

// repeat calls until the answer is a success, with the same request each time. Once the load
// ends it still sees its operation through. It returns false when the test is over.
func (d *drill) repeat(ctx context.Context, t *testing.T, what, client string, call func(context.Context, grpc.ClientConnInterface) error) bool {
	ctx = context.WithoutCancel(ctx)
	pause := time.NewTicker(40 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(2 * time.Minute); ; <-pause.C {
		err := d.once(ctx, client, call)
		switch code := status.Code(err); {
		case err == nil:
			d.work <- struct{}{}
			return true
		case t.Context().Err() != nil:
			return false
		case code == codes.Unavailable, code == codes.DeadlineExceeded, code == codes.Aborted, code == codes.Unauthenticated, code == codes.Canceled:
		default:
			t.Errorf("%s: %v", what, err)
			return false
		}
		if time.Now().After(end) {
			t.Errorf("%s: gave up: %v", what, err)
			return false
		}
	}
}

// once calls over the client's connection, and drops that after an error.
func (d *drill) once(ctx context.Context, client string, call func(context.Context, grpc.ClientConnInterface) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d.mu.Lock()
	conn := d.conns[client]
	d.mu.Unlock()
	if conn == nil {
		var err error
		if conn, err = d.server.Conn(ctx, client, "cairn"); err != nil {
			return status.Error(codes.Unavailable, err.Error())
		}
	}
	err := call(ctx, conn)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err != nil:
		d.conns[client] = nil
		d.spent = append(d.spent, conn)
	case d.conns[client] == nil:
		d.conns[client] = conn
	case d.conns[client] != conn:
		d.spent = append(d.spent, conn)
	}
	return err
}

// check compares what Cairn has with what it acknowledged.
func (d *drill) check(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	conn := d.app(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.accepted) == 0 || len(d.joined) <= fewSeats {
		t.Fatalf("the load was too small: %d referrals, %d members", len(d.accepted), len(d.joined))
	}

	// Every acknowledged referral is there once, and membership's events have scheduled it.
	hospital, err := d.server.Caller(ctx, demo.Hospital)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "every referral is SCHEDULED", func() error {
		found := map[string]int{}
		token := ""
		for {
			var page referralv1.ListReferralsResponse
			if err := hospital.Call(ctx, "GET", "/v1/referrals?pageSize=200&pageToken="+url.QueryEscape(token), nil, &page); err != nil {
				return err
			}
			for _, r := range page.GetReferrals() {
				found[r.GetPlacerNumber()]++
				name, acknowledged := d.accepted[r.GetPlacerNumber()]
				if acknowledged && (name != r.GetName() || r.GetState() != referralv1.Referral_SCHEDULED) {
					return fmt.Errorf("%s is %s", r.GetName(), r.GetState())
				}
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		for placer := range d.accepted {
			if found[placer] != 1 {
				return fmt.Errorf("referral %s is there %d times", placer, found[placer])
			}
		}
		for placer, n := range found {
			if n != 1 {
				return fmt.Errorf("referral %s is there %d times", placer, n)
			}
		}
		return nil
	})

	// Every acknowledged membership is there once; seats are exactly taken; nobody waits while one is free.
	members := membershipv1.NewMembershipServiceClient(conn)
	seated, waiting, perMember := 0, 0, map[string]int{}
	req := &membershipv1.ListMembershipsRequest{Group: d.tight, PageSize: 200}
	for {
		page, err := members.ListMemberships(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.GetMemberships() {
			perMember[m.GetMember()]++
			switch {
			case m.GetHoldsSeat():
				seated++
			case m.GetState() == membershipv1.Membership_WAITLISTED:
				waiting++
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if seated != fewSeats {
		t.Errorf("%d seats of %d are taken", seated, fewSeats)
	}
	for member := range d.joined {
		if perMember[member] != 1 {
			t.Errorf("%s has %d memberships, want 1", member, perMember[member])
		}
	}

	// The directory has heard of every seat.
	groups := groupsv1.NewGroupsServiceClient(conn)
	eventually(t, "the directory knows seats and waitlist", func() error {
		g, err := groups.GetGroup(ctx, &groupsv1.GetGroupRequest{Name: d.tight})
		if err != nil {
			return err
		}
		if a := g.GetAvailability(); a.GetOpenSeats() != 0 || int(a.GetWaitlistLength()) != waiting {
			return fmt.Errorf("it has %d open seats and %d waiting, want 0 and %d", a.GetOpenSeats(), a.GetWaitlistLength(), waiting)
		}
		return nil
	})
	t.Logf("%d kills, %d referrals, %d members: nothing lost, nothing twice", kills, len(d.accepted), len(d.joined))
	if strings.Contains(d.cairn.out.String(), "set aside") {
		t.Errorf("an event was set aside:\n%s", d.cairn.out)
	}
	if err := d.cairn.stop(t); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := os.Stat(d.dir + "/data"); err != nil {
		t.Error(err)
	}
}

// eventually polls until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Errorf("not so: %s: %v", what, err)
			return
		}
	}
}
