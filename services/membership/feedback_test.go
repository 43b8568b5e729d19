package membership

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

// willing makes a person take part who lets counts include her.
func (f *fixture) willing(g *told) *membershipv1.Membership {
	f.t.Helper()
	person := survivor("Wren", "breast", 1970)
	person.Consents = []*membershipv1.Member_Consent{{Kind: membershipv1.Member_AGGREGATE_USE, Version: "1"}}
	return f.joinAs(g, person)
}

// held is a session of the group that has begun, as scheduling tells it.
func (f *fixture) held(g *told) *schedulingv1.Session {
	return &schedulingv1.Session{
		Name: aip.Name("sessions", aip.NewID()), Group: g.GetGroup(), State: schedulingv1.Session_SCHEDULED,
		StartTime: timestamppb.New(f.clock.Now().Add(-time.Hour)), EndTime: timestamppb.New(f.clock.Now().Add(time.Minute)),
	}
}

// after is what a member says after a session.
func after(m *membershipv1.Membership, session *schedulingv1.Session, helped, safe int32, distress *int32) *membershipv1.Feedback {
	return &membershipv1.Feedback{
		Membership: m.GetName(), Occasion: membershipv1.Feedback_SESSION, Session: session.GetName(), Helped: helped, FeltSafe: safe, Distress: distress,
	}
}

func (f *fixture) summaryOf(ctx context.Context, g *told) *membershipv1.FeedbackSummary {
	f.t.Helper()
	got, err := f.GetFeedbackSummary(ctx, &membershipv1.GetFeedbackSummaryRequest{Name: g.GetGroup()})
	if err != nil {
		f.t.Fatalf("GetFeedbackSummary: %v", err)
	}
	return got
}

func TestFeedbackIsHersAlone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	m, other := f.willing(g), f.willing(g)
	session := f.held(g)
	said := after(m, session, 4, 5, proto.Int32(3))
	said.Comment = "canary comment"
	got, err := f.say(f.herself(m), said, session)
	if err != nil || got.GetGroup() != g.GetGroup() || got.GetComment() != said.GetComment() || got.GetHelped() != 4 || got.GetDistress() != 3 || got.GetSession() != said.GetSession() {
		t.Fatalf("answered %v, %v", got, err)
	}
	hers, err := f.ListFeedback(f.herself(m), &membershipv1.ListFeedbackRequest{})
	if err != nil || len(hers.GetFeedback()) != 1 || !proto.Equal(hers.GetFeedback()[0], got) {
		t.Errorf("she lists %v, %v; want what she said", hers, err)
	}
	for who, ctx := range map[string]context.Context{
		"another member": f.herself(other), "a coordinator": f.ctx(), "who leads the group": f.facilitates(g, leading), "the system": f.system(),
	} {
		if list, err := f.ListFeedback(ctx, &membershipv1.ListFeedbackRequest{}); err != nil || len(list.GetFeedback()) != 0 {
			t.Errorf("%s lists %v, %v; want nothing", who, list, err)
		}
		if trend, err := f.GetDistressTrend(ctx, &membershipv1.GetDistressTrendRequest{Name: m.GetMember()}); reasonOf(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s reads her trend: %v, %v; want NOT_FOUND", who, trend, err)
		}
	}
	if _, err := f.say(f.herself(other), after(m, f.held(g), 1, 1, nil), f.held(g)); reasonOf(err) != "NotFound NOT_FOUND" {
		t.Errorf("another speaks for her: %v, want NOT_FOUND", err)
	}
	if dump := f.dump(); bytes.Contains(dump, []byte("canary")) || !bytes.Contains(dump, []byte(strings.TrimPrefix(got.GetName(), "feedback/"))) {
		t.Error("the dump shows the comment, or does not have the row")
	}
}

func TestFeedbackRefusals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	m, asked := f.willing(g), f.requestPlace(g)
	session := f.held(g)
	later := f.held(g)
	later.StartTime = timestamppb.New(f.clock.Now().Add(time.Minute))
	cancelled := f.held(g)
	cancelled.State = schedulingv1.Session_CANCELLED
	elsewhere := f.held(f.newGroup(0, false))
	before := f.held(g)
	before.EndTime = timestamppb.New(f.clock.Now().Add(-time.Minute))
	left := f.willing(g)
	if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: left.GetName(), Reason: membershipv1.Membership_MOVED_ON}); err != nil {
		t.Fatal(err)
	}
	since := f.held(g)
	since.StartTime = timestamppb.New(f.clock.Now())
	if _, err := f.say(f.ctx(), after(m, session, 3, 3, nil), session); err != nil {
		t.Fatal(err)
	}
	leaving := func(name string) *membershipv1.Feedback {
		return &membershipv1.Feedback{Membership: name, Occasion: membershipv1.Feedback_LEAVING, Helped: 1, FeltSafe: 1}
	}
	about := leaving(m.GetName())
	about.Session = session.GetName()
	support := leaving(m.GetName())
	support.Occasion, support.PeerMatch = membershipv1.Feedback_PEER_SUPPORT, aip.Name("peerMatches", aip.NewID())
	for _, tc := range []struct {
		said    *membershipv1.Feedback
		session *schedulingv1.Session
		want    string
	}{
		{after(m, session, 4, 4, nil), session, "FailedPrecondition ALREADY_GIVEN"},
		{after(asked, session, 4, 4, nil), session, "FailedPrecondition NEVER_TOOK_PART"},
		{after(m, later, 4, 4, nil), later, "FailedPrecondition NOT_HELD"},
		{after(m, cancelled, 4, 4, nil), cancelled, "FailedPrecondition NOT_HELD"},
		{after(m, before, 4, 4, nil), before, "FailedPrecondition NEVER_TOOK_PART"},
		{after(left, since, 4, 4, nil), since, "FailedPrecondition NEVER_TOOK_PART"},
		{after(m, elsewhere, 4, 4, nil), elsewhere, "NotFound NOT_FOUND"},
		{after(m, nil, 4, 4, nil), nil, "InvalidArgument INVALID_FIELD"},
		{leaving(m.GetName()), nil, "FailedPrecondition STILL_A_MEMBER"},
		{about, nil, "InvalidArgument INVALID_FIELD"},
		{support, nil, "NotFound NOT_FOUND"},
		{leaving(aip.Name("memberships", aip.NewID())), nil, "NotFound NOT_FOUND"},
	} {
		if _, err := f.say(f.ctx(), tc.said, tc.session); reasonOf(err) != tc.want {
			t.Errorf("%v: %v, want %s", tc.said, err, tc.want)
		}
	}
	if _, err := f.say(f.as(aip.NewID()), after(m, session, 4, 4, nil), session); reasonOf(err) != "NotFound NOT_FOUND" {
		t.Errorf("another tenant: %v, want NOT_FOUND", err)
	}
}

func TestFeedbackOfPeerSupport(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	supporter, mentee := f.supporterOf(g, survivor("Heron", "breast", 1968), 0), f.willing(g)
	m := f.match(f.herself(mentee), mentee, &membershipv1.Membership{})
	of := func(who *membershipv1.Membership) *membershipv1.Feedback {
		return &membershipv1.Feedback{Membership: who.GetName(), Occasion: membershipv1.Feedback_PEER_SUPPORT, PeerMatch: m.GetName(), Helped: 5, FeltSafe: 5}
	}
	if _, err := f.say(f.herself(mentee), of(mentee), nil); reasonOf(err) != "FailedPrecondition NEVER_TOOK_PART" {
		t.Errorf("before both accepted: %v, want it refused", err)
	}
	if _, err := f.AcceptPeerMatch(f.herself(supporter), &membershipv1.AcceptPeerMatchRequest{Name: m.GetName()}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.EndPeerMatch(f.herself(mentee), &membershipv1.EndPeerMatchRequest{Name: m.GetName(), Reason: membershipv1.PeerMatch_GOALS_MET}); err != nil {
		t.Fatal(err)
	}
	for _, who := range []*membershipv1.Membership{mentee, supporter} {
		if got, err := f.say(f.herself(who), of(who), nil); err != nil || got.GetPeerMatch() != m.GetName() {
			t.Errorf("%s says %v, %v", who.GetAlias(), got, err)
		}
	}
	if _, err := f.say(f.ctx(), of(f.willing(g)), nil); reasonOf(err) != "NotFound NOT_FOUND" {
		t.Errorf("somebody else on their match: %v, want NOT_FOUND", err)
	}
}

func TestDistressTrend(t *testing.T) {
	t.Parallel()
	const unknown, falling, steady, rising = membershipv1.DistressTrend_DIRECTION_UNSPECIFIED, membershipv1.DistressTrend_FALLING, membershipv1.DistressTrend_STEADY, membershipv1.DistressTrend_RISING
	for _, tc := range []struct {
		said   []int32
		want   membershipv1.DistressTrend_Direction
		change float64
	}{
		{nil, unknown, 0}, {[]int32{9, 1, 0}, unknown, 0}, {[]int32{8, 8, 5, 4}, falling, -3.5}, {[]int32{4, 4, 9, 4, 4}, steady, 0},
		{[]int32{3, 4, 4, 4}, steady, 0.5}, {[]int32{3, 3, 4, 4}, rising, 1}, {[]int32{0, 0, 10, 10}, rising, 10},
	} {
		points := make([]*membershipv1.DistressTrend_Point, len(tc.said))
		for i, d := range tc.said {
			points[i] = &membershipv1.DistressTrend_Point{Distress: d}
		}
		if got := trend(points); got.GetDirection() != tc.want || got.GetChange() != tc.change {
			t.Errorf("%v: %v by %v, want %v by %v", tc.said, got.GetDirection(), got.GetChange(), tc.want, tc.change)
		}
	}

	f := setup(t)
	g := f.newGroup(0, false)
	m := f.joinActively(g)
	for i, d := range []*int32{proto.Int32(9), proto.Int32(8), nil, proto.Int32(3), proto.Int32(2)} {
		session := f.held(g)
		if _, err := f.say(f.herself(m), after(m, session, 3, 3, d), session); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		f.clock.Advance(7 * 24 * time.Hour)
	}
	got, err := f.GetDistressTrend(f.herself(m), &membershipv1.GetDistressTrendRequest{Name: m.GetMember()})
	if err != nil || len(got.GetPoints()) != 4 || got.GetPoints()[0].GetDistress() != 9 || got.GetDirection() != falling || got.GetChange() != -6 {
		t.Errorf("her trend is %v, %v; want four points, falling by 6", got, err)
	}
}

func TestSummaryIsForThoseWhoLead(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	session := f.held(g)
	for i := range quorum {
		m := f.willing(g)
		if got := f.summaryOf(f.ctx(), g); len(got.GetBlocks())+len(got.GetTotals()) != 0 {
			t.Fatalf("after %d members: %v, want nothing told", i, got)
		}
		if _, err := f.say(f.herself(m), after(m, session, int32(1+i), 4, proto.Int32(int32(i))), session); err != nil {
			t.Fatal(err)
		}
	}
	want := &membershipv1.FeedbackSummary{
		Group: g.GetGroup(),
		Blocks: []*membershipv1.FeedbackSummary_Block{{
			Occasion: membershipv1.Feedback_SESSION, Members: 5, Helped: 3, FeltSafe: 4, Distress: proto.Float64(2), CloseMonth: "2026-03",
		}},
		Totals: []*membershipv1.FeedbackSummary_Total{{Occasion: membershipv1.Feedback_SESSION, Blocks: 1, Helped: 3, FeltSafe: 4, Distress: proto.Float64(2)}},
	}
	for who, ctx := range map[string]context.Context{"a coordinator": f.ctx(), "who leads it": f.facilitates(g, leading)} {
		if d := cmp.Diff(want, f.summaryOf(ctx, g), protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s", who, d)
		}
	}
	for who, ctx := range map[string]context.Context{
		"who leads another": f.facilitates(f.newGroup(0, false), leading), "who advises it": f.facilitates(g, advising),
	} {
		if got, err := f.GetFeedbackSummary(ctx, &membershipv1.GetFeedbackSummaryRequest{Name: g.GetGroup()}); reasonOf(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s: %v, %v; want NOT_FOUND", who, got, err)
		}
	}
}

// TestNobodySpeaksForFour has an organization's own system speak for four members that it has made up: they are not counted with
// the one who speaks for herself, until enough others do.
func TestNobodySpeaksForFour(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	session := f.held(g)
	said := func(ctx context.Context, helped int32) {
		m := f.willing(g)
		if ctx == nil {
			ctx = f.herself(m)
		}
		_, err := f.say(ctx, after(m, session, helped, 5, nil), session)
		f.must(err)
	}
	for range 9 {
		said(auth.WithPrincipal(f.ctx(), auth.Principal{Kind: auth.Client, Organization: aip.Name("organizations", f.org), Scopes: []string{"members.write"}}), 1)
	}
	said(nil, 5)
	if got := f.summaryOf(f.ctx(), g); len(got.GetBlocks()) != 0 {
		t.Fatalf("one member, and nine that may be made up: %v, want nothing told", got)
	}
	for range 2 {
		said(nil, 5)
		said(auth.WithPrincipal(f.ctx(), auth.Principal{Kind: auth.Client, Platform: true, Scopes: []string{"members.write"}}), 5)
	}
	if got := f.summaryOf(f.ctx(), g); len(got.GetBlocks()) != 1 || got.GetBlocks()[0].GetMembers() != 5 || got.GetBlocks()[0].GetHelped() != 5 {
		t.Errorf("five members by themselves or by an app of the platform: %v, want one block of them", got)
	}
}

// crowd is the model of a group's feedback: what waits for a block, by member, and the blocks there are.
type crowd struct {
	waiting map[string][]*membershipv1.Feedback
	blocks  []*membershipv1.FeedbackSummary_Block // oldest first
}

// say takes over what a member said, and closes a block if five wait who still allow it.
func (c *crowd) say(member string, f *membershipv1.Feedback, willing map[string]bool, now time.Time) {
	if !willing[member] {
		return
	}
	c.waiting[member] = append(c.waiting[member], f)
	if len(c.waiting) < 5 {
		return
	}
	for m := range c.waiting { // one who took it back is left out for good
		if !willing[m] {
			delete(c.waiting, m)
		}
	}
	if len(c.waiting) < 5 {
		return
	}
	block := &membershipv1.FeedbackSummary_Block{Occasion: f.GetOccasion(), Members: int32(len(c.waiting)), CloseMonth: now.Format("2006-01")}
	var distressed int
	var distress float64
	for _, list := range c.waiting {
		var helped, safe, d, n float64
		for _, x := range list {
			helped += float64(x.GetHelped()) / float64(len(list))
			safe += float64(x.GetFeltSafe()) / float64(len(list))
			if x.Distress != nil {
				d, n = d+float64(x.GetDistress()), n+1
			}
		}
		block.Helped += helped / float64(len(c.waiting))
		block.FeltSafe += safe / float64(len(c.waiting))
		if n > 0 {
			distress, distressed = distress+d/n, distressed+1
		}
	}
	if distressed >= 5 {
		block.Distress = proto.Float64(distress / float64(distressed))
	}
	c.blocks = append(c.blocks, block)
	c.waiting = map[string][]*membershipv1.Feedback{}
}

// TestSummariesCannotBeToldApart lets members speak, take their consent back, leave, come again and be erased at random, and
// plays somebody who asks for the summary after every step: it is always what the model says, an answer differs from the one
// before by nothing or by one block of at least five members who had not been counted with these words, and no block ever
// changes or goes away. Whatever is computed from two answers is thus computed from blocks.
func TestSummariesCannotBeToldApart(t *testing.T) {
	t.Parallel()
	f := setup(t)
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	groups := []*told{f.newGroup(0, false), f.newGroup(0, false)}
	crowds := map[*told]map[membershipv1.Feedback_Occasion]*crowd{}
	people := map[*told][]*membershipv1.Membership{}
	willing := map[string]bool{}
	seen := map[*told]*membershipv1.FeedbackSummary{}
	for _, g := range groups {
		crowds[g] = map[membershipv1.Feedback_Occasion]*crowd{
			membershipv1.Feedback_SESSION: {waiting: map[string][]*membershipv1.Feedback{}}, membershipv1.Feedback_LEAVING: {waiting: map[string][]*membershipv1.Feedback{}},
		}
		for range 8 {
			m := f.willing(g)
			people[g], willing[m.GetMember()] = append(people[g], m), true
		}
		seen[g] = f.summaryOf(f.ctx(), g)
	}
	for step := range 220 {
		g := groups[r.IntN(len(groups))]
		i := r.IntN(len(people[g]))
		m := people[g][i]
		what := ""
		speak := func(said *membershipv1.Feedback, session *schedulingv1.Session) {
			said.Helped, said.FeltSafe = int32(1+r.IntN(5)), int32(1+r.IntN(5))
			if r.IntN(3) > 0 {
				said.Distress = proto.Int32(int32(r.IntN(11)))
			}
			if _, err := f.say(f.herself(m), said, session); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			crowds[g][said.GetOccasion()].say(m.GetMember(), said, willing, f.clock.Now())
		}
		switch r.IntN(12) {
		case 0:
			what = "takes her consent back, or gives it again"
			if willing[m.GetMember()] {
				_, err := f.WithdrawConsent(f.ctx(), &membershipv1.WithdrawConsentRequest{Name: m.GetMember(), Kind: membershipv1.Member_AGGREGATE_USE})
				f.must(err)
			} else {
				_, err := f.GrantConsent(f.ctx(), &membershipv1.GrantConsentRequest{Name: m.GetMember(), Kind: membershipv1.Member_AGGREGATE_USE, Version: "2"})
				f.must(err)
			}
			willing[m.GetMember()] = !willing[m.GetMember()]
		case 1:
			what = "is erased"
			member, err := aip.ParseName("member", "members", m.GetMember())
			f.must(err)
			b := f.db.Batch(f.system())
			b.Queue(`DELETE FROM feedback WHERE member_id = @member`, pgx.NamedArgs{"member": member}) // as the erasure does
			f.must(f.db.Send(f.system(), b))
			for _, c := range crowds[g] {
				delete(c.waiting, m.GetMember())
			}
			people[g][i] = f.willing(g)
			willing[people[g][i].GetMember()] = true
		case 2, 3:
			what = "leaves"
			_, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: membershipv1.Membership_MOVED_ON})
			f.must(err)
			speak(&membershipv1.Feedback{Membership: m.GetName(), Occasion: membershipv1.Feedback_LEAVING}, nil)
			people[g][i] = f.rejoin(g, m)
		default:
			what = "speaks"
			session := f.held(g)
			speak(&membershipv1.Feedback{Membership: m.GetName(), Occasion: membershipv1.Feedback_SESSION, Session: session.GetName()}, session)
		}
		f.clock.Advance(24 * time.Hour)
		for _, g := range groups {
			now := f.summaryOf(f.ctx(), g)
			if fresh, err := newBlocks(seen[g], now); err != nil || fresh > 1 {
				t.Fatalf("seed %d, step %d, after a member %s: %d new blocks, %v", seed, step, what, fresh, err)
			}
			if err := crowdsSay(crowds[g], now); err != nil {
				t.Fatalf("seed %d, step %d, after a member %s: %v", seed, step, what, err)
			}
			seen[g] = now
		}
	}
	if n := len(seen[groups[0]].GetBlocks()) + len(seen[groups[1]].GetBlocks()); n < 4 {
		t.Errorf("seed %d: %d blocks only: too little was said", seed, n)
	}
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// rejoin makes somebody take part again who left.
func (f *fixture) rejoin(g *told, m *membershipv1.Membership) *membershipv1.Membership {
	f.t.Helper()
	again, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: m.GetMember()})
	f.must(err)
	_, err = f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: again.GetName()})
	f.must(err)
	in, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: again.GetName(), Version: g.GetGuidelinesVersion()})
	f.must(err)
	return in
}

// newBlocks returns how many blocks the later summary adds to the earlier one, and what else it changes.
func newBlocks(before, now *membershipv1.FeedbackSummary) (int, error) {
	fresh := len(now.GetBlocks()) - len(before.GetBlocks())
	if fresh < 0 {
		return fresh, fmt.Errorf("blocks went away")
	}
	if d := cmp.Diff(before.GetBlocks(), now.GetBlocks()[fresh:], protocmp.Transform(), cmpopts.EquateEmpty()); d != "" {
		return fresh, fmt.Errorf("older blocks changed:\n%s", d)
	}
	for _, b := range now.GetBlocks() {
		if b.GetMembers() < 5 || math.Mod(2*b.GetHelped(), 1) != 0 || math.Mod(2*b.GetFeltSafe(), 1) != 0 || math.Mod(2*b.GetDistress(), 1) != 0 {
			return fresh, fmt.Errorf("a block tells too much: %v", b)
		}
	}
	// Totals tell nothing that the blocks do not.
	if d := cmp.Diff(totalsOf(now.GetBlocks()), now.GetTotals(), protocmp.Transform(), cmpopts.EquateEmpty()); d != "" {
		return fresh, fmt.Errorf("the totals are not those of the blocks:\n%s", d)
	}
	return fresh, nil
}

// totalsOf sums blocks up, as anybody can who has been told them all.
func totalsOf(blocks []*membershipv1.FeedbackSummary_Block) []*membershipv1.FeedbackSummary_Total {
	var totals []*membershipv1.FeedbackSummary_Total
	for occasion := range membershipv1.Feedback_Occasion(len(membershipv1.Feedback_Occasion_name)) {
		t := &membershipv1.FeedbackSummary_Total{Occasion: occasion}
		var members, helped, safe, asked, distress float64
		for _, b := range blocks {
			if b.GetOccasion() != occasion {
				continue
			}
			n := float64(b.GetMembers())
			t.Blocks, members, helped, safe = t.GetBlocks()+1, members+n, helped+n*b.GetHelped(), safe+n*b.GetFeltSafe()
			if b.Distress != nil {
				asked, distress = asked+n, distress+n*b.GetDistress()
			}
		}
		if members == 0 {
			continue
		}
		t.Helped, t.FeltSafe = tenths(helped/members), tenths(safe/members)
		if asked > 0 {
			v := tenths(distress / asked)
			t.Distress = &v
		}
		totals = append(totals, t)
	}
	return totals
}

// crowdsSay compares a summary with the model.
func crowdsSay(crowds map[membershipv1.Feedback_Occasion]*crowd, got *membershipv1.FeedbackSummary) error {
	told := map[membershipv1.Feedback_Occasion][]*membershipv1.FeedbackSummary_Block{}
	for _, b := range slices.Backward(got.GetBlocks()) {
		told[b.GetOccasion()] = append(told[b.GetOccasion()], b)
	}
	for occasion, c := range crowds {
		if len(told[occasion]) != len(c.blocks) {
			return fmt.Errorf("%v: %d blocks, want %d", occasion, len(told[occasion]), len(c.blocks))
		}
		for i, want := range c.blocks {
			b := told[occasion][i]
			// Either half is right where the mean lies between two.
			near := func(got, mean float64) bool { return math.Abs(got-mean) <= 0.25+1e-9 }
			if b.GetMembers() != want.GetMembers() || b.GetCloseMonth() != want.GetCloseMonth() || !near(b.GetHelped(), want.GetHelped()) ||
				!near(b.GetFeltSafe(), want.GetFeltSafe()) || (b.Distress == nil) != (want.Distress == nil) || !near(b.GetDistress(), want.GetDistress()) {
				return fmt.Errorf("%v: block %d is %v, want about %v", occasion, i, b, want)
			}
		}
	}
	return nil
}

// TestManySpeakAtOnce has thirty members speak at the same time: everybody is counted once, in blocks of at least five.
func TestManySpeakAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	session := f.held(g)
	members := make([]*membershipv1.Membership, 30)
	for i := range members {
		members[i] = f.willing(g)
	}
	var crowd sync.WaitGroup
	for _, m := range members {
		crowd.Go(func() {
			if _, err := f.say(f.herself(m), after(m, session, 4, 4, nil), session); err != nil {
				t.Error(err)
			}
		})
	}
	crowd.Wait()
	counted := int32(0)
	for _, b := range f.summaryOf(f.ctx(), g).GetBlocks() {
		if b.GetMembers() != 5 || b.GetHelped() != 4 || b.Distress != nil {
			t.Errorf("block %v", b)
		}
		counted += b.GetMembers()
	}
	if counted != 30 {
		t.Errorf("%d members counted, want 30", counted)
	}
}

// TestFeedbackTablesAreApart asks the new tables without any predicate.
func TestFeedbackTablesAreApart(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	session := f.held(g)
	for range quorum {
		m := f.willing(g)
		if _, err := f.say(f.herself(m), after(m, session, 4, 4, nil), session); err != nil {
			t.Fatal(err)
		}
	}
	f.match(f.ctx(), f.joinActively(g), f.supporterOf(g, survivor("Heron", "breast", 1968), 0))
	for table, rows := range map[string]int{"feedback": quorum, "feedback_blocks": 1, "peer_matches": 1} {
		for _, tc := range []struct {
			tenant auth.Tenant
			want   int
		}{{auth.Tenant{Org: f.org}, rows}, {auth.Tenant{Org: uuid.New()}, 0}, {auth.Tenant{}, 0}, {auth.Tenant{All: true}, rows}} {
			var n int
			ctx := auth.WithTenant(t.Context(), tc.tenant)
			b := f.db.Batch(ctx)
			b.Queue(`SELECT count(*) FROM ` + table).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
			if err := f.db.Send(ctx, b); err != nil {
				t.Fatal(err)
			}
			if n != tc.want {
				t.Errorf("%s: tenant %v sees %d rows, want %d", table, tc.tenant, n, tc.want)
			}
		}
	}
}

// A group of many years shows its newest blocks, and counts them all.
func TestSummaryOfManyBlocks(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	b := f.db.Batch(f.system())
	for i := range maxBlocks + 50 {
		block := &blockRow{ID: aip.NewID(), OrgID: f.org, GroupID: f.seatsOf(g).GroupID, Occasion: 2, Members: 5, Helped: 2, FeltSafe: 4, CloseMonth: f.clock.Now()}
		if i < 50 {
			v := 3.5
			block.Helped, block.Distress, block.Members = 5, &v, 10
		}
		insertBlock(b, block)
	}
	if err := f.db.Send(f.system(), b); err != nil {
		t.Fatal(err)
	}
	got := f.summaryOf(f.ctx(), g)
	want := &membershipv1.FeedbackSummary_Total{Occasion: membershipv1.Feedback_LEAVING, Blocks: maxBlocks + 50, Helped: 3, FeltSafe: 4, Distress: proto.Float64(3.5)}
	if len(got.GetBlocks()) != maxBlocks || got.GetBlocks()[maxBlocks-1].GetHelped() != 2 || len(got.GetTotals()) != 1 || !proto.Equal(got.GetTotals()[0], want) {
		t.Errorf("%d blocks, totals %v; want %d and %v", len(got.GetBlocks()), got.GetTotals(), maxBlocks, want)
	}
}

// toldOf returns what the other services are told of a group's feedback, with its revisions.
func (f *fixture) toldOf(g *told) (all []*membershipv1.FeedbackChanged, revisions []int64) {
	f.t.Helper()
	b := f.db.Batch(f.system())
	b.Queue(`SELECT revision, data FROM outbox WHERE type = $1 AND subject = $2 ORDER BY id`, feedbackEvent, g.GetGroup()).Query(func(rows pgx.Rows) error {
		var revision int64
		var data string
		_, err := pgx.ForEachRow(rows, []any{&revision, &data}, func() error {
			m := new(membershipv1.FeedbackChanged)
			all, revisions = append(all, m), append(revisions, revision)
			return protojson.Unmarshal([]byte(data), m)
		})
		return err
	})
	f.must(f.db.Send(f.system(), b))
	return all, revisions
}

// The other services are told what five members say together, and nothing of four; each time, of all blocks.
func TestFeedbackIsTold(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	session := f.held(g)
	members := make([]*membershipv1.Membership, quorum)
	for i := range members {
		if all, _ := f.toldOf(g); len(all) > 0 {
			t.Fatalf("after %d members %v is told", i, all)
		}
		members[i] = f.willing(g)
		_, err := f.say(f.herself(members[i]), after(members[i], session, int32(1+i), 4, nil), session)
		f.must(err)
	}
	for _, m := range members {
		_, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: membershipv1.Membership_MOVED_ON})
		f.must(err)
		_, err = f.say(f.herself(m), &membershipv1.Feedback{Membership: m.GetName(), Occasion: membershipv1.Feedback_LEAVING, Helped: 4, FeltSafe: 4}, nil)
		f.must(err)
	}
	all, revisions := f.toldOf(g)
	want := []*membershipv1.FeedbackChanged{{Group: g.GetGroup(), Responses: 5, Helped: 3}, {Group: g.GetGroup(), Responses: 10, Helped: 3.5}}
	if d := cmp.Diff(want, all, protocmp.Transform()); d != "" || !slices.Equal(revisions, []int64{1, 2}) {
		t.Errorf("told with revisions %v (-want +got):\n%s", revisions, d)
	}
}

// Blocks of two occasions that are closed at once are told one after the other: what is told last counts both.
func TestFeedbackOfTwoOccasionsAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	group := f.seatsOf(g).GroupID
	closing := func(occasion int32, helped float64, then func()) error {
		return f.db.Tx(f.ctx(), func(tx pgx.Tx) error {
			b := new(pgx.Batch)
			insertBlock(b, &blockRow{ID: aip.NewID(), OrgID: f.org, GroupID: group, Occasion: occasion, Members: 5, Helped: helped, FeltSafe: 4, CloseMonth: f.clock.Now()})
			if err := send(f.ctx(), tx, b); err != nil {
				return err
			}
			err := tellFeedback(f.ctx(), tx, group)
			then()
			return err
		})
	}
	second := make(chan error, 1)
	f.must(closing(1, 2, func() {
		go func() { second <- closing(2, 4, func() {}) }()
		f.waitsForLock(second)
	}))
	f.must(<-second)
	all, revisions := f.toldOf(g)
	if !slices.Equal(revisions, []int64{1, 2}) {
		t.Fatalf("told with revisions %v, want 1 and 2", revisions)
	}
	if last := all[1]; last.GetResponses() != 10 || last.GetHelped() != 3 {
		t.Errorf("told last is %v, want what both blocks say", last)
	}
}
