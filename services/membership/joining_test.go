package membership

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/mail"
)

// person makes a member of the organization.
func (f *fixture) person(m *membershipv1.Member) string {
	f.t.Helper()
	m.Alias = "Wren"
	made, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: m})
	if err != nil {
		f.t.Fatalf("CreateMember: %v", err)
	}
	return made.GetName()
}

func (f *fixture) ask(ctx context.Context, g *told, member string) (*membershipv1.Membership, error) {
	return f.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: member})
}

// Who is let in by the group itself, and who waits for a person to decide.
func TestAutomaticApproval(t *testing.T) {
	t.Parallel()
	f := setup(t)
	young := &groupsv1.Group_AgeLimits{MinYears: 18, MaxYears: 39, Strictness: groupsv1.Group_AgeLimits_FLEXIBLE}
	for _, c := range []struct {
		name  string
		group func(*told)
		born  int32
		want  string
	}{
		{"anybody", func(*told) {}, 0, "APPROVED_PENDING_GUIDELINES"},
		{"inside flexible limits", func(g *told) { g.AgeLimits = young }, 2000, "APPROVED_PENDING_GUIDELINES"},
		{"outside flexible limits", func(g *told) { g.AgeLimits = young }, 1960, "REQUESTED"},
		{"flexible limits, age unknown", func(g *told) { g.AgeLimits = young }, 0, "REQUESTED"},
		{"a talk before", func(g *told) { g.Intake = groupsv1.Group_SCREENING }, 0, "REQUESTED"},
		{"another audience", func(g *told) { g.Audiences = []groupsv1.Group_Audience{groupsv1.Group_CAREGIVERS} }, 0, "FailedPrecondition NOT_ELIGIBLE"},
		{"by a person", func(g *told) { g.Joining = nil }, 0, "REQUESTED"},
	} {
		g := f.newGroup(0, false)
		g.Joining = &groupsv1.Group_Joining{Approval: groupsv1.Group_Joining_AUTOMATIC}
		c.group(g)
		f.tell(g)
		m, err := f.ask(f.ctx(), g, f.person(&membershipv1.Member{Role: membershipv1.Member_SURVIVOR, BirthYear: c.born}))
		got := m.GetState().String()
		if err != nil {
			got = reasonOf(err)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}

	full := f.newGroup(1, false)
	full.Joining = &groupsv1.Group_Joining{Approval: groupsv1.Group_Joining_AUTOMATIC}
	f.tell(full)
	f.requestPlace(full)
	if _, err := f.ask(f.ctx(), full, f.newMember().GetName()); reasonOf(err) != "FailedPrecondition GROUP_FULL" {
		t.Errorf("a full group without a waitlist: %v", err)
	}
}

// Many ask a group at once that lets people in by itself.
func TestAutomaticNeverOversells(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(3, true)
	g.Joining = &groupsv1.Group_Joining{Approval: groupsv1.Group_Joining_AUTOMATIC}
	f.tell(g)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() { f.requestPlace(g) })
	}
	wg.Wait()
	if s := f.seatsOf(g); s.Taken != 3 || s.Waiting != 27 {
		t.Errorf("%d seats are taken and %d wait, want 3 and 27", s.Taken, s.Waiting)
	}
}

func TestScreening(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	g.Intake = groupsv1.Group_SCREENING
	f.tell(g)
	approve := func(name, override string) string {
		_, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: name, OverrideReason: override})
		return reasonOf(err)
	}
	talk := func(name string, outcome membershipv1.Membership_ScreeningOutcome, note string) *membershipv1.Membership {
		t.Helper()
		m, err := f.RecordScreening(f.ctx(), &membershipv1.RecordScreeningRequest{Name: name, Outcome: outcome, Note: note})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	name := f.requestPlace(g).GetName()
	if got := approve(name, ""); got != "FailedPrecondition SCREENING_NEEDED" {
		t.Errorf("before the talk: %s", got)
	}
	m := talk(name, membershipv1.Membership_UNSUITABLE, "Needs quiet.")
	if m.GetState() != requested || m.GetScreeningOutcome() != membershipv1.Membership_UNSUITABLE || m.GetScreeningNote() != "Needs quiet." || m.GetScreeningTime() == nil {
		t.Errorf("after the talk: %v", m)
	}
	if got := approve(name, ""); got != "FailedPrecondition SCREENED_UNSUITABLE" {
		t.Errorf("unsuitable: %s", got)
	}
	talk(name, membershipv1.Membership_SUITABLE, "")
	if got := approve(name, ""); got != "OK" {
		t.Errorf("suitable at last: %s", got)
	}
	if m := f.get(name); m.GetState() != approved || m.GetScreeningNote() != "Needs quiet." || m.GetException() {
		t.Errorf("approved: %v", m)
	}

	other := f.requestPlace(g).GetName()
	if got := approve(other, "We have known her for years."); got != "OK" {
		t.Errorf("with an exception: %s", got)
	}
	if m := f.get(other); !m.GetException() || m.GetOverrideReason() != "We have known her for years." {
		t.Errorf("the exception is not written down: %v", m)
	}

	var excepted []string
	if err := f.db.Tx(f.system(), func(tx pgx.Tx) error {
		rows, err := tx.Query(t.Context(), `SELECT resource FROM audit_log WHERE resource LIKE '%/exception'`)
		if err != nil {
			return err
		}
		excepted, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	}); err != nil || cmp.Diff(excepted, []string{other + "/exception"}) != "" {
		t.Errorf("the log has exceptions %v, %v; want that of %s", excepted, err, other)
	}

	// A referral that is accepted holds a seat; she takes part after the talk.
	placed, err := f.place(g, newReferral())
	if err != nil || placed.GetState() != approved {
		t.Fatalf("placed: %v, %v", placed, err)
	}
	agree := func() string {
		_, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: placed.GetName(), Version: 1})
		return reasonOf(err)
	}
	if got := agree(); got != "FailedPrecondition SCREENING_NEEDED" {
		t.Errorf("placed, before the talk: %s", got)
	}
	talk(placed.GetName(), membershipv1.Membership_SUITABLE, "")
	if got := agree(); got != "OK" {
		t.Errorf("placed, after the talk: %s", got)
	}

	g.Joining = &groupsv1.Group_Joining{Approval: groupsv1.Group_Joining_AUTOMATIC}
	f.tell(g)
	if m := talk(f.requestPlace(g).GetName(), membershipv1.Membership_SUITABLE, ""); m.GetState() != approved {
		t.Errorf("a group that lets people in by itself, after the talk: %v", m.GetState())
	}
	if got := f.get(other).GetState(); got != approved {
		t.Errorf("the other is %v", got)
	}
}

// What each person may do for herself and in the groups that she leads, and that all else is as if it were not there.
func TestPeopleActForThemselves(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, lead := f.led(1)
	foreign := f.newGroup(1, true)
	mine, theirs := f.requestPlace(g), f.requestPlace(foreign)
	me, leader, stranger := f.memberCalls(mine), f.facilitatorCalls(lead), f.facilitatorCalls(aip.Name("facilitators", aip.NewID()))
	advisor := aip.Name("facilitators", aip.NewID())
	g.Facilitators = append(g.Facilitators, &groupsv1.Group_FacilitatorRole{Facilitator: advisor, Role: groupsv1.Group_FacilitatorRole_CLINICAL_ADVISOR})
	f.tell(g)

	names := func(ctx context.Context) (all []string) {
		t.Helper()
		list, err := f.ListMemberships(ctx, &membershipv1.ListMembershipsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list.GetMemberships() {
			all = append(all, m.GetName())
		}
		return all
	}
	for who, c := range map[string]struct {
		ctx  context.Context
		want []string
	}{"a member": {me, []string{mine.GetName()}}, "who leads": {leader, []string{mine.GetName()}}, "who leads nothing": {stranger, nil}, "who advises": {f.facilitatorCalls(advisor), nil}} {
		if got := names(c.ctx); cmp.Diff(got, c.want) != "" {
			t.Errorf("%s lists %v, want %v", who, got, c.want)
		}
	}
	const gone = "NotFound NOT_FOUND"
	for _, c := range []struct {
		name string
		call func() error
		want string
	}{
		{"read another's membership", func() error {
			_, err := f.GetMembership(me, &membershipv1.GetMembershipRequest{Name: theirs.GetName()})
			return err
		}, gone},
		{"read another member", func() error {
			_, err := f.GetMember(me, &membershipv1.GetMemberRequest{Name: theirs.GetMember()})
			return err
		}, gone},
		{"change another member", func() error {
			_, err := f.GrantConsent(me, &membershipv1.GrantConsentRequest{Name: theirs.GetMember(), Kind: 1, Version: "1"})
			return err
		}, gone},
		{"read herself", func() error {
			_, err := f.GetMember(me, &membershipv1.GetMemberRequest{Name: mine.GetMember()})
			return err
		}, "OK"},
		{"a facilitator reads a member's record", func() error {
			_, err := f.GetMember(leader, &membershipv1.GetMemberRequest{Name: mine.GetMember()})
			return err
		}, gone},
		{"ask for another", func() error { _, err := f.ask(me, foreign, theirs.GetMember()); return err }, gone},
		{"ask for a role", func() error {
			_, err := f.CreateMembership(me, &membershipv1.CreateMembershipRequest{Group: foreign.GetGroup(), Member: mine.GetMember(), Role: membershipv1.Membership_CO_FACILITATOR})
			return err
		}, "InvalidArgument INVALID_FIELD"},
		{"make an exception for herself", func() error {
			_, err := f.CreateMembership(me, &membershipv1.CreateMembershipRequest{Group: foreign.GetGroup(), Member: mine.GetMember(), OverrideReason: "I want to"})
			return err
		}, "InvalidArgument INVALID_FIELD"},
		{"approve where she does not lead", func() error {
			_, err := f.ApproveMembership(stranger, &membershipv1.ApproveMembershipRequest{Name: mine.GetName()})
			return err
		}, gone},
		{"approve where she leads", func() error {
			_, err := f.ApproveMembership(leader, &membershipv1.ApproveMembershipRequest{Name: mine.GetName()})
			return err
		}, "OK"},
		{"agree for herself", func() error {
			_, err := f.AcknowledgeGuidelines(me, &membershipv1.AcknowledgeGuidelinesRequest{Name: mine.GetName(), Version: 1})
			return err
		}, "OK"},
		{"end another's", func() error {
			_, err := f.EndMembership(me, &membershipv1.EndMembershipRequest{Name: theirs.GetName(), Reason: 1})
			return err
		}, gone},
		{"say that she was removed", func() error {
			_, err := f.EndMembership(me, &membershipv1.EndMembershipRequest{Name: mine.GetName(), Reason: membershipv1.Membership_REMOVED})
			return err
		}, "InvalidArgument INVALID_FIELD"},
		{"leave", func() error {
			_, err := f.EndMembership(me, &membershipv1.EndMembershipRequest{Name: mine.GetName(), Reason: membershipv1.Membership_MOVED_ON})
			return err
		}, "OK"},
	} {
		if got := reasonOf(c.call()); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}

	// Who leads no more sees nothing of the group any more.
	g.Facilitators = nil
	f.tell(g)
	if got := names(leader); len(got) != 0 {
		t.Errorf("who has stopped leading lists %v", got)
	}
}

// A new version of the guidelines asks everybody who is in, once, and suspends nobody.
func TestNewGuidelinesAskAgain(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	in, away, asked := f.joinActively(g), f.joinActively(g), f.requestPlace(g)
	if _, err := f.StartLeave(f.ctx(), &membershipv1.StartLeaveRequest{Name: away.GetName()}); err != nil {
		t.Fatal(err)
	}
	g.GuidelinesVersion = 2
	f.tell(g)
	for range 2 { // the second time finds nobody
		if err := f.askGuidelines(f.system()); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{in.GetName(): "ACTIVE 2", away.GetName(): "ON_LEAVE 2", asked.GetName(): "REQUESTED 0"} {
		if m := f.get(name); fmt.Sprint(m.GetState(), " ", m.GetGuidelinesAsked()) != want {
			t.Errorf("got %v, asked for %d; want %s", m.GetState(), m.GetGuidelinesAsked(), want)
		}
	}
	if before, after := in.GetEtag(), f.get(in.GetName()).GetEtag(); before == after {
		t.Error("asking did not change the etag")
	}
	late := f.joinActively(g)
	m, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: in.GetName(), Version: 2})
	if err != nil || m.GetGuidelinesAsked() != 0 || m.GetGuidelinesVersion() != 2 {
		t.Errorf("acknowledged: %v, %v", m, err)
	}
	if got := f.get(late.GetName()).GetGuidelinesAsked(); got != 0 {
		t.Errorf("who came after it is asked for version %d", got)
	}
	g.GuidelinesVersion = 0 // taken away
	f.tell(g)
	if err := f.askGuidelines(f.system()); err != nil {
		t.Fatal(err)
	}
	if got := f.get(away.GetName()).GetGuidelinesAsked(); got != 0 {
		t.Errorf("there is nothing to acknowledge, and she is asked for version %d", got)
	}
}

// Withdrawing the consent to be kept ends everything she has, and nobody places her again until it is granted.
func TestWithdrawnConsentEndsEverything(t *testing.T) {
	t.Parallel()
	f := setup(t)
	one, two, three := f.newGroup(1, true), f.newGroup(0, true), f.newGroup(0, true)
	m := f.joinActively(one)
	next := f.join(one)
	if _, err := f.ask(f.ctx(), two, m.GetMember()); err != nil {
		t.Fatal(err)
	}
	consent := func(grant bool) error {
		if grant {
			_, err := f.GrantConsent(f.memberCalls(m), &membershipv1.GrantConsentRequest{Name: m.GetMember(), Kind: membershipv1.Member_KEEP_DATA, Version: "1"})
			return err
		}
		_, err := f.WithdrawConsent(f.memberCalls(m), &membershipv1.WithdrawConsentRequest{Name: m.GetMember(), Kind: membershipv1.Member_KEEP_DATA})
		return err
	}
	if err := consent(true); err != nil {
		t.Fatal(err)
	}
	if err := consent(false); err != nil {
		t.Fatal(err)
	}
	list, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Member: m.GetMember()})
	if err != nil || len(list.GetMemberships()) != 2 {
		t.Fatalf("hers: %v, %v", list, err)
	}
	for _, m := range list.GetMemberships() {
		if m.GetState() != ended || m.GetEndReason() != membershipv1.Membership_CONSENT_WITHDRAWN {
			t.Errorf("%s is %v, for %v", m.GetName(), m.GetState(), m.GetEndReason())
		}
	}
	if got := f.get(next.GetName()).GetState(); got != offered {
		t.Errorf("her seat was not passed on: the next is %v", got)
	}
	if _, err := f.ask(f.ctx(), three, m.GetMember()); reasonOf(err) != "FailedPrecondition CONSENT_WITHDRAWN" {
		t.Errorf("placed again: %v", err)
	}
	if err := consent(true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ask(f.ctx(), three, m.GetMember()); err != nil {
		t.Errorf("granted again: %v", err)
	}
}

// The free seat goes to the first who qualifies; who comes to qualify is served by the job.
func TestWaitlistServesWhoQualifies(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(1, true)
	in := f.join(g)
	first := f.join(g)
	carer, err := f.ask(f.ctx(), g, f.person(&membershipv1.Member{Role: membershipv1.Member_CAREGIVER}))
	if err != nil {
		t.Fatal(err)
	}
	if carer, err = f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: carer.GetName()}); err != nil || carer.GetWaitlistPosition() != 2 {
		t.Fatalf("the caregiver: %v, %v", carer, err)
	}
	g.Audiences = []groupsv1.Group_Audience{groupsv1.Group_CAREGIVERS}
	f.tell(g)
	if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: in.GetName(), Reason: 1}); err != nil {
		t.Fatal(err)
	}
	if a, b := f.get(first.GetName()), f.get(carer.GetName()); a.GetState() != waitlisted || a.GetWaitlistPosition() != 1 || b.GetState() != offered {
		t.Errorf("the first, who does not qualify, is %v at %d, the second %v", a.GetState(), a.GetWaitlistPosition(), b.GetState())
	}
	if _, err := f.DeclineOffer(f.ctx(), &membershipv1.DeclineOfferRequest{Name: carer.GetName()}); err != nil {
		t.Fatal(err)
	}
	if got := f.get(carer.GetName()); got.GetState() != ended || got.GetEndReason() != membershipv1.Membership_OFFER_DECLINED {
		t.Errorf("declined: %v", got)
	}
	if _, err := f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{Name: first.GetMember(), Role: membershipv1.Member_CAREGIVER}}); err != nil {
		t.Fatal(err)
	}
	if err := f.serveWaitlists(f.system()); err != nil {
		t.Fatal(err)
	}
	if got := f.get(first.GetName()).GetState(); got != offered {
		t.Errorf("she qualifies now, and is %v", got)
	}
}

// What happens to her place is told to a member who allows it, in her language, once; an offer no longer than it stands.
func TestPlacesAreToldByMail(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.mail, f.publicURL = mail.NewOutbox("membership", f.keys, f.clock), "https://cairn.test"
	g := f.newGroup(1, true)
	in := f.joinActively(g)
	willing := f.person(&membershipv1.Member{Role: membershipv1.Member_SURVIVOR, Email: "wren@example.org", Languages: []string{"de"}, Consents: []*membershipv1.Member_Consent{{Kind: membershipv1.Member_RECEIVE_MESSAGES, Version: "1"}}})
	silent := f.person(&membershipv1.Member{Role: membershipv1.Member_SURVIVOR, Email: "lark@example.org"})
	for _, who := range []string{willing, silent} {
		m, err := f.ask(f.ctx(), g, who)
		if err == nil {
			_, err = f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: m.GetName()})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	queued := func() (subjects []string, expire time.Time) {
		t.Helper()
		system := f.system()
		if err := f.db.Tx(system, func(tx pgx.Tx) error {
			rows, err := tx.Query(system, `SELECT subject, expire_time FROM mail WHERE next_time IS NOT NULL ORDER BY create_time`)
			if err != nil {
				return err
			}
			var s string
			_, err = pgx.ForEachRow(rows, []any{&s, &expire}, func() error { subjects = append(subjects, s); return nil })
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return subjects, expire
	}
	g.Seats = 3
	f.tell(g)
	got, expire := queued()
	if cmp.Diff(got, []string{willing}) != "" || !expire.Equal(f.clock.Now().Add(offerDuration)) {
		t.Errorf("e-mails to %v, of use until %v; want one to %s, until the offer ends", got, expire, willing)
	}
	if _, err := f.WithdrawConsent(f.ctx(), &membershipv1.WithdrawConsentRequest{Name: willing, Kind: membershipv1.Member_RECEIVE_MESSAGES}); err != nil {
		t.Fatal(err)
	}
	if got, _ := queued(); len(got) != 0 {
		t.Errorf("she wants no messages, and these are still to be sent: %v", got)
	}
	if got := f.get(in.GetName()).GetState(); got != active {
		t.Errorf("the first is %v", got)
	}
}

// Of changes that are made together, each has its own answer: one that is refused, or of a stale etag, spoils no other.
func TestLineAnswersEach(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	const people = 40
	var names [people]string
	for i := range names {
		names[i] = f.requestPlace(g).GetName()
	}
	key := lineKey{group: f.seatsOf(g).GroupID, tenant: auth.Tenant{Org: f.org}}
	f.lines.enter(key, &caller{ctx: canceled(f.ctx()), done: make(chan struct{})}) // the line is worked on: everybody else gathers in it
	var wg sync.WaitGroup
	errs := make([]error, people)
	for i, name := range names {
		etag := ""
		if i%4 == 1 {
			etag = aip.ETag(99)
		}
		wg.Go(func() {
			_, errs[i] = f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: name, Etag: etag})
		})
	}
	for {
		f.lines.mu.Lock()
		n := len(f.lines.of[key])
		f.lines.mu.Unlock()
		if n == people+1 {
			break
		}
		runtime.Gosched()
	}
	f.serve(key)
	wg.Wait()
	for i, err := range errs {
		want := "OK"
		if i%4 == 1 {
			want = "Aborted ETAG_MISMATCH"
		}
		if reasonOf(err) != want {
			t.Errorf("%d: %v, want %s", i, err, want)
		}
	}
	if s := f.seatsOf(g); s.Taken != people*3/4 {
		t.Errorf("%d seats are taken, want %d", s.Taken, people*3/4)
	}
}

func canceled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}
