package membership

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/mail"
)

// joinAs makes a person take part in the group.
func (f *fixture) joinAs(g *told, person *membershipv1.Member) *membershipv1.Membership {
	f.t.Helper()
	m, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: person})
	if err != nil {
		f.t.Fatalf("CreateMember: %v", err)
	}
	asked, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: m.GetName()})
	if err != nil {
		f.t.Fatalf("CreateMembership: %v", err)
	}
	if _, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: asked.GetName()}); err != nil {
		f.t.Fatalf("ApproveMembership: %v", err)
	}
	in, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: asked.GetName(), Version: g.GetGuidelinesVersion()})
	if err != nil {
		f.t.Fatalf("AcknowledgeGuidelines: %v", err)
	}
	return in
}

func survivor(alias, cancer string, born int32) *membershipv1.Member {
	return &membershipv1.Member{
		Alias: alias, Role: membershipv1.Member_SURVIVOR, BirthYear: born, Languages: []string{"es", "en"}, CancerTypes: []string{cancer},
		Phase: groupsv1.Group_AFTER_TREATMENT, Treatments: []membershipv1.Member_Treatment{membershipv1.Member_SURGERY}, Interests: []string{"choir"},
	}
}

func course() *membershipv1.PeerTraining {
	return &membershipv1.PeerTraining{Course: "Peer support, basic", CompleteDate: &date.Date{Year: 2026, Month: 1, Day: 20}}
}

// supporterOf makes a person take part as a trained peer supporter.
func (f *fixture) supporterOf(g *told, person *membershipv1.Member, limit int32) *membershipv1.Membership {
	f.t.Helper()
	m, err := f.ChangeMembershipRole(f.ctx(), &membershipv1.ChangeMembershipRoleRequest{
		Name: f.joinAs(g, person).GetName(), Role: membershipv1.Membership_PEER_SUPPORTER, Training: course(), MenteeLimit: limit, OverrideReason: "known for years",
	})
	if err != nil {
		f.t.Fatalf("ChangeMembershipRole: %v", err)
	}
	return m
}

func (f *fixture) match(ctx context.Context, mentee, supporter *membershipv1.Membership) *membershipv1.PeerMatch {
	f.t.Helper()
	m, err := f.CreatePeerMatch(ctx, &membershipv1.CreatePeerMatchRequest{Mentee: mentee.GetName(), Supporter: supporter.GetName()})
	if err != nil {
		f.t.Fatalf("CreatePeerMatch: %v", err)
	}
	return m
}

func TestRoleNeedsTrainingAndTime(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	m := f.joinAs(g, survivor("Wren", "breast", 1970))
	const supporter, lead = membershipv1.Membership_PEER_SUPPORTER, membershipv1.Membership_CO_FACILITATOR
	change := func(req *membershipv1.ChangeMembershipRoleRequest) (*membershipv1.Membership, error) {
		req.Name = m.GetName()
		return f.ChangeMembershipRole(f.ctx(), req)
	}
	for want, req := range map[string]*membershipv1.ChangeMembershipRoleRequest{
		"FailedPrecondition NO_TRAINING": {Role: supporter},
		"FailedPrecondition TOO_NEW":     {Role: lead, Training: course()},
		"Aborted ETAG_MISMATCH":          {Role: supporter, Training: course(), Etag: `"99"`},
		"InvalidArgument INVALID_FIELD":  {Role: supporter, Training: &membershipv1.PeerTraining{Course: "x", CompleteDate: &date.Date{Year: 2026, Month: 2, Day: 30}}},
	} {
		if _, err := change(req); reasonOf(err) != want {
			t.Errorf("%v: %v, want %s", req, err, want)
		}
	}
	lapsed := course()
	lapsed.ExpireDate = &date.Date{Year: 2026, Month: 2, Day: 28}
	if _, err := change(&membershipv1.ChangeMembershipRoleRequest{Role: supporter, Training: lapsed, OverrideReason: "x"}); reasonOf(err) != "FailedPrecondition NO_TRAINING" {
		t.Errorf("training that lapsed yesterday: %v, want it not to count", err)
	}
	f.clock.Advance(90 * 24 * time.Hour)
	got, err := change(&membershipv1.ChangeMembershipRoleRequest{Role: supporter, Training: course()})
	if err != nil || got.GetRole() != supporter || got.GetMenteeLimit() != usualMentees || len(got.GetTrainings()) != 1 || got.GetTrainings()[0].GetRecordTime() == nil {
		t.Fatalf("after 90 days: %v, %v; want a peer supporter with her training", got, err)
	}
	if got, err = change(&membershipv1.ChangeMembershipRoleRequest{Role: lead}); err != nil || got.GetRole() != lead || len(got.GetTrainings()) != 1 {
		t.Errorf("with training from before: %v, %v; want a co-facilitator", got, err)
	}
	if stored := f.get(m.GetName()); stored.GetRole() != lead || len(stored.GetTrainings()) != 1 || stored.GetEtag() != got.GetEtag() {
		t.Errorf("stored is %v, answered was %v", stored, got)
	}
	leads := f.facilitates(g, leading)
	if _, err := f.ChangeMembershipRole(leads, &membershipv1.ChangeMembershipRoleRequest{Name: m.GetName(), Role: membershipv1.Membership_PARTICIPANT}); err != nil {
		t.Errorf("the facilitator of the group: %v", err)
	}
	other := f.facilitates(f.newGroup(0, false), leading)
	if _, err := f.ChangeMembershipRole(other, &membershipv1.ChangeMembershipRoleRequest{Name: m.GetName(), Role: lead}); reasonOf(err) != "NotFound NOT_FOUND" {
		t.Errorf("the facilitator of another group: %v, want NOT_FOUND", err)
	}
}

func TestMatchFromProposalToNext(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	near := f.supporterOf(g, survivor("Heron", "breast", 1968), 1)
	far := f.supporterOf(g, survivor("Tern", "mesothelioma", 1940), 0)
	german := survivor("Kranich", "breast", 1970)
	german.Languages = []string{"de"}
	f.supporterOf(g, german, 0)
	f.supporterOf(f.newGroup(0, false), survivor("Elsewhere", "breast", 1970), 0)
	mentee := f.joinAs(g, survivor("Wren", "breast", 1970))
	her, supports := f.herself(mentee), f.herself(near)

	list, err := f.SuggestPeers(f.ctx(), &membershipv1.SuggestPeersRequest{Name: mentee.GetName()})
	if err != nil || len(list.GetSuggestions()) != 2 || list.GetSuggestions()[0].GetSupporter() != near.GetName() || list.GetSuggestions()[1].GetSupporter() != far.GetName() {
		t.Fatalf("suggestions %v, %v; want Heron, then Tern", list, err)
	}
	if s := list.GetSuggestions()[0]; s.GetOpenPlaces() != 1 || len(s.GetCriteria()) != 7 || s.GetScore() <= list.GetSuggestions()[1].GetScore() {
		t.Errorf("the first suggestion is %v", s)
	}
	if _, err := f.CreatePeerMatch(her, &membershipv1.CreatePeerMatchRequest{Mentee: mentee.GetName(), Supporter: far.GetName()}); fieldOf(err) != "supporter" {
		t.Errorf("a member who chooses her supporter: %v, want it refused", err)
	}
	m, err := f.CreatePeerMatch(her, &membershipv1.CreatePeerMatchRequest{Mentee: mentee.GetName()})
	if err != nil || m.GetSupporter() != near.GetName() || m.GetMenteeAcceptTime() == nil || m.GetState() != matchProposed {
		t.Fatalf("asked for herself: %v, %v; want Heron, and her own acceptance", m, err)
	}
	for want, req := range map[string]*membershipv1.CreatePeerMatchRequest{
		"FailedPrecondition ALREADY_MATCHED": {Mentee: mentee.GetName()},
		"FailedPrecondition SUPPORTER_FULL":  {Mentee: f.joinAs(g, survivor("Robin", "lung", 1970)).GetName(), Supporter: near.GetName()},
		"FailedPrecondition NOT_A_SUPPORTER": {Mentee: far.GetName(), Supporter: mentee.GetName()},
		"FailedPrecondition NOT_ACTIVE":      {Mentee: f.join(g).GetName()},
		"InvalidArgument INVALID_FIELD":      {Mentee: far.GetName(), Supporter: far.GetName()},
		"NotFound NOT_FOUND":                 {Mentee: far.GetName(), Supporter: aip.Name("memberships", aip.NewID())},
	} {
		if _, err := f.CreatePeerMatch(f.ctx(), req); reasonOf(err) != want {
			t.Errorf("%v: %v, want %s", req, err, want)
		}
	}
	if _, err := f.EndPeerMatch(her, &membershipv1.EndPeerMatchRequest{Name: m.GetName(), Reason: membershipv1.PeerMatch_NOT_A_FIT}); reasonOf(err) != "FailedPrecondition ILLEGAL_TRANSITION" {
		t.Errorf("the end of a proposal: %v", err)
	}
	if _, err := f.AcceptPeerMatch(supports, &membershipv1.AcceptPeerMatchRequest{Name: m.GetName(), Party: membershipv1.PeerMatch_MENTEE}); fieldOf(err) != "party" {
		t.Errorf("the supporter accepts for the mentee: %v, want it refused", err)
	}
	if _, err := f.AcceptPeerMatch(f.ctx(), &membershipv1.AcceptPeerMatchRequest{Name: m.GetName()}); fieldOf(err) != "party" {
		t.Errorf("a coordinator accepts for nobody: %v, want it refused", err)
	}
	both, err := f.AcceptPeerMatch(supports, &membershipv1.AcceptPeerMatchRequest{Name: m.GetName()})
	if err != nil || both.GetState() != matchAccepted || both.GetEtag() != `"2"` {
		t.Fatalf("accepted by both: %v, %v", both, err)
	}
	if again, err := f.AcceptPeerMatch(supports, &membershipv1.AcceptPeerMatchRequest{Name: m.GetName()}); err != nil || again.GetEtag() != both.GetEtag() {
		t.Errorf("accepted again: %v, %v; want nothing changed", again, err)
	}
	if _, err := f.ChangeMembershipRole(f.ctx(), &membershipv1.ChangeMembershipRoleRequest{Name: near.GetName(), Role: membershipv1.Membership_PARTICIPANT}); reasonOf(err) != "FailedPrecondition HAS_MENTEES" {
		t.Errorf("she steps back with a mentee: %v, want HAS_MENTEES", err)
	}
	done, err := f.EndPeerMatch(her, &membershipv1.EndPeerMatchRequest{Name: m.GetName(), Reason: membershipv1.PeerMatch_NOT_A_FIT})
	if err != nil || done.GetState() != matchEnded || done.GetClosedBy() != membershipv1.PeerMatch_MENTEE || done.GetCloseTime() == nil {
		t.Fatalf("ended: %v, %v", done, err)
	}
	next, err := f.CreatePeerMatch(her, &membershipv1.CreatePeerMatchRequest{Mentee: mentee.GetName()})
	if err != nil || next.GetSupporter() != far.GetName() {
		t.Fatalf("the next match: %v, %v; want Tern, who was not tried", next, err)
	}
	if _, err := f.DeclinePeerMatch(f.herself(far), &membershipv1.DeclinePeerMatchRequest{Name: next.GetName()}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.CreatePeerMatch(her, &membershipv1.CreatePeerMatchRequest{Mentee: mentee.GetName()}); reasonOf(err) != "FailedPrecondition NO_SUPPORTER" {
		t.Errorf("all were tried: %v, want NO_SUPPORTER", err)
	}
	if again := f.match(f.ctx(), mentee, near); again.GetState() != matchProposed {
		t.Errorf("a coordinator proposes the first again: %v", again)
	}
	f.wantMatchEvents("proposed", "accepted", "ended", "proposed", "declined", "proposed")
}

// wantMatchEvents compares the events of matches that were told so far, in order.
func (f *fixture) wantMatchEvents(want ...string) {
	f.t.Helper()
	var got []string
	if err := f.db.Tx(f.system(), func(tx pgx.Tx) error {
		rows, err := tx.Query(f.system(), `SELECT type FROM outbox WHERE type LIKE '%.peer_match.%' ORDER BY id`)
		if err != nil {
			return err
		}
		types, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, typ := range types {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(typ, matchEvent), ".v1"))
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("events %v, want %v", got, want)
	}
}

// TestMatchShowsWhatIsShared has the two see what they share and nothing else, others nothing, and who leads the group all.
func TestMatchShowsWhatIsShared(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	supporter := f.supporterOf(g, survivor("Heron", "lung", 1968), 0)
	mentee := f.joinAs(g, survivor("Wren", "breast", 1970))
	m := f.match(f.ctx(), mentee, supporter)
	for who, tc := range map[string]struct {
		ctx  context.Context
		want int // criteria; -1: not found
	}{
		"a coordinator":                {f.ctx(), 7},
		"who leads the group":          {f.facilitates(g, leading), 7},
		"the mentee":                   {f.herself(mentee), 5},
		"the supporter":                {f.herself(supporter), 5},
		"another member":               {f.herself(f.joinActively(g)), -1},
		"who advises the group":        {f.facilitates(g, advising), -1},
		"who leads another group":      {f.facilitates(f.newGroup(0, false), leading), -1},
		"another tenant":               {f.as(aip.NewID()), -1},
		"a person who is nobody known": {auth.WithSelf(f.ctx(), auth.Self{Member: aip.Name("members", aip.NewID())}), -1},
	} {
		got, err := f.GetPeerMatch(tc.ctx, &membershipv1.GetPeerMatchRequest{Name: m.GetName()})
		listed, lerr := f.ListPeerMatches(tc.ctx, &membershipv1.ListPeerMatchesRequest{Membership: mentee.GetName(), Filter: "state = PROPOSED"})
		if lerr != nil {
			t.Errorf("%s lists: %v", who, lerr)
		}
		if tc.want < 0 {
			if reasonOf(err) != "NotFound NOT_FOUND" || len(listed.GetPeerMatches()) != 0 {
				t.Errorf("%s: %v, %v, and listed %v; want nothing", who, got, err, listed)
			}
			if _, err := f.DeclinePeerMatch(tc.ctx, &membershipv1.DeclinePeerMatchRequest{Name: m.GetName()}); reasonOf(err) != "NotFound NOT_FOUND" {
				t.Errorf("%s declines: %v, want NOT_FOUND", who, err)
			}
			continue
		}
		if err != nil || len(got.GetCriteria()) != tc.want || len(listed.GetPeerMatches()) != 1 || len(listed.GetPeerMatches()[0].GetCriteria()) != 0 {
			t.Errorf("%s sees %v, %v, and listed %v; want %d criteria", who, got.GetCriteria(), err, listed, tc.want)
		}
		if tc.want == 5 && slices.ContainsFunc(got.GetCriteria(), func(c *membershipv1.PairingCriterion) bool {
			return c.GetVerdict() != membershipv1.PairingCriterion_MET || c.GetCode() == "diagnosis"
		}) {
			t.Errorf("%s is told of the other: %v", who, got.GetCriteria())
		}
	}
}

func TestMatchesEndByThemselves(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	supporter := f.supporterOf(g, survivor("Heron", "breast", 1968), 5)
	left, late := f.joinActively(g), f.joinActively(g)
	accepted, proposed := f.match(f.ctx(), left, supporter), f.match(f.ctx(), late, supporter)
	for _, party := range []membershipv1.PeerMatch_Party{membershipv1.PeerMatch_MENTEE, membershipv1.PeerMatch_SUPPORTER} {
		if _, err := f.AcceptPeerMatch(f.ctx(), &membershipv1.AcceptPeerMatchRequest{Name: accepted.GetName(), Party: party}); err != nil {
			t.Fatal(err)
		}
	}
	state := func(m *membershipv1.PeerMatch) *membershipv1.PeerMatch {
		got, err := f.GetPeerMatch(f.ctx(), &membershipv1.GetPeerMatchRequest{Name: m.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	f.clock.Advance(proposalDuration - time.Second)
	if err := f.sweepMatches(f.system()); err != nil {
		t.Fatal(err)
	}
	if got := state(proposed); got.GetState() != matchProposed {
		t.Errorf("before its deadline it is %v", got)
	}
	f.clock.Advance(time.Second)
	if _, err := f.AcceptPeerMatch(f.ctx(), &membershipv1.AcceptPeerMatchRequest{Name: proposed.GetName(), Party: membershipv1.PeerMatch_MENTEE}); reasonOf(err) != "FailedPrecondition ILLEGAL_TRANSITION" {
		t.Errorf("accepted at its deadline: %v, want it refused", err)
	}
	if err := f.sweepMatches(f.system()); err != nil {
		t.Fatal(err)
	}
	if got := state(proposed); got.GetState() != matchDeclined || got.GetEndReason() != membershipv1.PeerMatch_NOT_ANSWERED {
		t.Errorf("after its deadline it is %v", got)
	}
	if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: left.GetName(), Reason: membershipv1.Membership_MOVED_ON}); err != nil {
		t.Fatal(err)
	}
	if got := state(accepted); got.GetState() != matchEnded || got.GetEndReason() != membershipv1.PeerMatch_LEFT_GROUP {
		t.Errorf("after the mentee left it is %v", got)
	}
	last := f.match(f.ctx(), late, f.supporterOf(g, survivor("Tern", "breast", 1968), 1))
	g.State, g.AcceptsIntake = groupsv1.Group_ARCHIVED, false
	f.tell(g)
	if got := state(last); got.GetState() != matchDeclined || got.GetEndReason() != membershipv1.PeerMatch_LEFT_GROUP {
		t.Errorf("after the group was archived it is %v", got)
	}
}

// TestTheTwoAreTold has both be written to as far as they allow it: of the proposal who has not accepted it, of the beginning
// both; what is unsent is taken back when it is over.
func TestTheTwoAreTold(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.mail, f.publicURL = mail.NewOutbox("membership", f.keys, f.clock), "https://cairn.test"
	g := f.newGroup(0, false)
	reached := func(alias string) *membershipv1.Member {
		m := survivor(alias, "breast", 1970)
		m.Email, m.Consents = strings.ToLower(alias)+"@example.org", []*membershipv1.Member_Consent{{Kind: membershipv1.Member_RECEIVE_MESSAGES, Version: "1"}}
		return m
	}
	supporter := f.supporterOf(g, reached("Heron"), 5)
	mentee, silent := f.joinAs(g, reached("Wren")), f.joinAs(g, survivor("Lark", "breast", 1970))
	names := map[string]string{supporter.GetMember(): "Heron", mentee.GetMember(): "Wren", silent.GetMember(): "Lark"}
	wantMail := func(when string, want ...string) {
		t.Helper()
		got := column[string](f, `SELECT subject FROM mail WHERE next_time IS NOT NULL AND about LIKE 'peerMatches/%'`)
		for i, subject := range got {
			got[i] = names[subject]
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: unsent e-mails to %v, want %v", when, got, want)
		}
	}
	m, err := f.CreatePeerMatch(f.herself(mentee), &membershipv1.CreatePeerMatchRequest{Mentee: mentee.GetName()})
	f.must(err)
	wantMail("proposed by the mentee", "Heron")
	_, err = f.AcceptPeerMatch(f.herself(supporter), &membershipv1.AcceptPeerMatchRequest{Name: m.GetName()})
	f.must(err)
	wantMail("accepted by both", "Heron", "Heron", "Wren")
	_, err = f.EndPeerMatch(f.herself(mentee), &membershipv1.EndPeerMatchRequest{Name: m.GetName(), Reason: membershipv1.PeerMatch_GOALS_MET})
	f.must(err)
	wantMail("ended")
	other := f.match(f.ctx(), silent, supporter)
	wantMail("proposed to one who allows no e-mail", "Heron")
	_, err = f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: silent.GetName(), Reason: membershipv1.Membership_MOVED_ON})
	f.must(err)
	wantMail("after she left " + other.GetGroup())
}

// TestLoadHoldsUnderAnyConcurrency has many clients propose, accept, decline, end and leave at random, at once: no supporter has
// more mentees than her limit, no mentee two supporters, at any moment that can be seen.
func TestLoadHoldsUnderAnyConcurrency(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	limits := map[string]int{}
	for i := range 4 {
		limits[f.supporterOf(g, survivor(fmt.Sprint("S", i), "breast", 1960+int32(i)), int32(1+i%2)).GetName()] = 1 + i%2
	}
	mentees := make([]*membershipv1.Membership, 16)
	for i := range mentees {
		mentees[i] = f.joinActively(g)
	}
	check := func() {
		open := map[string]int{}
		list, err := f.ListPeerMatches(f.ctx(), &membershipv1.ListPeerMatchesRequest{Group: g.GetGroup(), PageSize: 200, Filter: "state = PROPOSED OR state = ACCEPTED"})
		if err != nil {
			t.Error(err)
		}
		for _, m := range list.GetPeerMatches() {
			open[m.GetSupporter()]++
			open[m.GetMentee()]++
		}
		for name, n := range open {
			if limit := max(limits[name], 1); n > limit {
				t.Errorf("%s has %d open matches, at most %d are allowed", name, n, limit)
			}
		}
	}
	seed := uint64(time.Now().UnixNano())
	var mu sync.Mutex
	outcomes := map[string]int{}
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(c)))
			for range 25 {
				mentee := mentees[r.IntN(len(mentees))]
				m, err := f.CreatePeerMatch(f.ctx(), &membershipv1.CreatePeerMatchRequest{Mentee: mentee.GetName()})
				if err == nil {
					err = f.anything(r, m)
				}
				mu.Lock()
				outcomes[reasonOf(err)]++
				mu.Unlock()
				check()
			}
		})
	}
	clients.Wait()
	for reason, n := range outcomes {
		switch reason {
		case "OK", "FailedPrecondition ALREADY_MATCHED", "FailedPrecondition NOT_ACTIVE", "FailedPrecondition NO_SUPPORTER", "FailedPrecondition ILLEGAL_TRANSITION":
		default:
			t.Errorf("seed %d: %d calls failed with %s", seed, n, reason)
		}
	}
	if outcomes["OK"] < 6 {
		t.Errorf("seed %d: outcomes %v: too little happened", seed, outcomes)
	}
}

// anything does one thing to a new match.
func (f *fixture) anything(r *rand.Rand, m *membershipv1.PeerMatch) error {
	accept := func(p membershipv1.PeerMatch_Party) error {
		_, err := f.AcceptPeerMatch(f.ctx(), &membershipv1.AcceptPeerMatchRequest{Name: m.GetName(), Party: p})
		return err
	}
	switch r.IntN(4) {
	case 0:
		_, err := f.DeclinePeerMatch(f.ctx(), &membershipv1.DeclinePeerMatchRequest{Name: m.GetName(), Party: membershipv1.PeerMatch_SUPPORTER})
		return err
	case 1:
		if err := cmp.Or(accept(membershipv1.PeerMatch_MENTEE), accept(membershipv1.PeerMatch_SUPPORTER)); err != nil {
			return err
		}
		_, err := f.EndPeerMatch(f.ctx(), &membershipv1.EndPeerMatchRequest{Name: m.GetName(), Reason: membershipv1.PeerMatch_GOALS_MET})
		return err
	case 2:
		return accept(membershipv1.PeerMatch_MENTEE)
	}
	_, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: m.GetMentee(), Reason: membershipv1.Membership_MOVED_ON})
	return err
}
