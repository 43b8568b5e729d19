package referral

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/suitetest"
)

// wire is the real connection to membership, which can be cut before or after a call gets through.
type wire struct {
	membershipv1.MembershipServiceClient

	mu            sync.Mutex
	before, after bool   // cut there
	ahead         func() // what happens, once, before the next placing gets through
}

func (l *wire) cut(before, after bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before, l.after = before, after
}

func through[M any](l *wire, call func() (*M, error)) (*M, error) {
	l.mu.Lock()
	before, after := l.before, l.after
	l.mu.Unlock()
	if before {
		return nil, status.Error(codes.Unavailable, "cut before the call")
	}
	m, err := call()
	if after {
		return nil, status.Error(codes.Unavailable, "cut before the answer")
	}
	return m, err
}

func (l *wire) PlaceReferral(ctx context.Context, in *membershipv1.PlaceReferralRequest, opts ...grpc.CallOption) (*membershipv1.Membership, error) {
	l.mu.Lock()
	ahead := l.ahead
	l.ahead = nil
	l.mu.Unlock()
	if ahead != nil {
		ahead()
	}
	return through(l, func() (*membershipv1.Membership, error) {
		return l.MembershipServiceClient.PlaceReferral(ctx, in, opts...)
	})
}

func (l *wire) ReleaseReferral(ctx context.Context, in *membershipv1.ReleaseReferralRequest, opts ...grpc.CallOption) (*membershipv1.ReleaseReferralResponse, error) {
	return through(l, func() (*membershipv1.ReleaseReferralResponse, error) {
		return l.MembershipServiceClient.ReleaseReferral(ctx, in, opts...)
	})
}

func setupCut(t *testing.T) (*fixture, *wire) {
	t.Helper()
	l := &wire{}
	f := setup(t, func(s *server) { l.MembershipServiceClient, s.membership = s.membership, l })
	return f, l
}

func (f *fixture) memberships() []*membershipv1.Membership {
	f.t.Helper()
	resp, err := f.membership.ListMemberships(f.receive, &membershipv1.ListMembershipsRequest{})
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.GetMemberships()
}

func (f *fixture) placements() int {
	f.t.Helper()
	return query[int](f, `SELECT count(*)::int FROM placements`)
}

// Whoever accepts is cut off before or after membership has placed the person: the job ends it, once.
func TestAcceptIsResumed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		before, after bool
		fill          int // persons who take the seats before
		want          state
	}{
		{"cut before the call", true, false, 0, accepted},
		{"cut before the answer", false, true, 0, accepted},
		{"cut before the answer, on the waitlist", false, true, 2, waitlisted},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, l := setupCut(t)
			for i := range c.fill {
				f.accept(f.send(other(fmt.Sprint("p", i))))
			}
			r := f.send()
			l.cut(c.before, c.after)
			if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), Note: "Come in", FillerNumber: "F-1"}); errText(err) != "Unavailable UNAVAILABLE" {
				t.Fatalf("got %v", err)
			}
			if got := f.get(f.refer, r.GetName()); got.GetState() != sent || got.GetMembership() != "" || f.placements() != 1 {
				t.Fatalf("got %v and %d placements", got, f.placements())
			}
			l.cut(false, false)
			f.Clock.Advance(retryFirst)
			got := f.await(r.GetName(), c.want)
			if got.GetMembership() == "" || got.GetFillerNumber() != "F-1" || got.GetGroup() != f.group {
				t.Errorf("got %v", got)
			}
			e := f.timeline(r.GetName())[1]
			if e.GetAction() != accept || e.GetNote() != "Come in" || e.GetOrganization() != f.nonprofit || e.GetParty() != receiver {
				t.Errorf("the acceptance is written down as %v", e)
			}
			if n := len(f.memberships()); n != c.fill+1 || f.placements() != 0 {
				t.Errorf("got %d memberships and %d placements left", n, f.placements())
			}
		})
	}
}

// The caller that was cut off tries again by itself: the same seat, and the job finds nothing left to do.
func TestAcceptIsTriedAgainByItsCaller(t *testing.T) {
	t.Parallel()
	f, l := setupCut(t)
	r := f.send()
	l.cut(false, true)
	if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName()}); status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v", err)
	}
	other := f.newGroup(f.receive)
	if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), Group: other}); errText(err) != "FailedPrecondition PLACEMENT_UNDER_WAY" {
		t.Errorf("for another group meanwhile: got %v", err)
	}
	l.cut(false, false)
	got := f.accept(r)
	f.Clock.Advance(time.Minute)
	if err := f.srv.resume(f.system()); err != nil {
		t.Error(err)
	}
	if n := len(f.memberships()); got.GetState() != accepted || n != 1 {
		t.Errorf("got %v, %d memberships", got, n)
	}
	if got := f.actions(r.GetName()); got != "SEND ACCEPT" {
		t.Errorf("timeline: got %s", got)
	}
}

// Who was cut off and tries again only after the job has placed her is answered with the referral as it is by then; another is told what
// anybody is.
func TestAcceptIsRepeatedAfterTheJob(t *testing.T) {
	t.Parallel()
	f, l := setupCut(t)
	r := f.send()
	call := &referralv1.AcceptReferralRequest{Name: r.GetName(), FillerNumber: "F-1", RequestId: uuid.NewString()}
	l.cut(false, true)
	if _, err := f.AcceptReferral(f.receive, call); status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v", err)
	}
	l.cut(false, false)
	f.Clock.Advance(retryFirst)
	now := f.await(r.GetName(), accepted)
	for range 2 {
		again, err := f.AcceptReferral(f.receive, call)
		if err != nil || again.GetState() != accepted || again.GetMembership() != now.GetMembership() {
			t.Fatalf("the same call again: %v, %v", again, err)
		}
	}
	for name, c := range map[string]struct {
		ctx  context.Context
		call *referralv1.AcceptReferralRequest
	}{
		"without a request_id": {f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), FillerNumber: "F-1"}},
		"another number":       {f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), FillerNumber: "F-2", RequestId: uuid.NewString()}},
		"another group":        {f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), Group: f.newGroup(f.receive), FillerNumber: "F-1", RequestId: uuid.NewString()}},
		"somebody else": {
			suitetest.User(t.Context(), f.nonprofit, "COORDINATOR"),
			&referralv1.AcceptReferralRequest{Name: r.GetName(), FillerNumber: "F-1", RequestId: uuid.NewString()},
		},
	} {
		if _, err := f.AcceptReferral(c.ctx, c.call); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := f.actions(r.GetName()); got != "SEND ACCEPT" || len(f.memberships()) != 1 {
		t.Errorf("timeline: %s, %d memberships", got, len(f.memberships()))
	}
}

// The job, or another copy of the call, has placed her while this one was asking: it is answered with what there is.
func TestAcceptIsAnsweredAfterTheJob(t *testing.T) {
	t.Parallel()
	f, l := setupCut(t)
	r := f.send()
	l.cut(false, true)
	if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName()}); status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v", err)
	}
	l.cut(false, false)
	ctx := f.system()
	var sentRow *row
	var p *placementRow
	if err := f.srv.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		id := uuid.MustParse(strings.TrimPrefix(r.GetName(), "referrals/"))
		if sentRow, err = find(ctx, tx, auth.TenantFrom(ctx), id); err != nil {
			return err
		}
		p, err = findPlacement(ctx, tx, id)
		return err
	}); err != nil || sentRow == nil || p == nil {
		t.Fatalf("%v, %v, %v", sentRow, p, err)
	}
	var answers []*referralv1.Referral
	for range 2 {
		if _, err := f.srv.place(ctx, sentRow, p, func(ctx context.Context, tx pgx.Tx, c *change) error {
			m, err := c.answer(ctx, tx, whole)
			answers = append(answers, m)
			return err
		}); err != nil {
			t.Fatalf("after %d answers: %v", len(answers), err)
		}
	}
	if answers[0].GetState() != accepted || answers[1].GetEtag() != answers[0].GetEtag() || answers[1].GetMembership() != answers[0].GetMembership() {
		t.Errorf("the first is answered with %v, the second with %v", answers[0], answers[1])
	}
}

// One copy of an acceptance is refused and forgets it; then a seat becomes free, which the other copy gets. It is either
// hers, or given back.
func TestOneCopyIsRefusedTheOtherSeated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		meanwhile func(f *fixture, referral string) error
		want      string // what the copy that got the seat is told
		state     state
		held      membershipv1.Membership_State
		actions   string
	}{
		{"nothing else happens", func(*fixture, string) error { return nil },
			"OK", accepted, membershipv1.Membership_APPROVED_PENDING_GUIDELINES, "SEND REFUSE_PLACE ACCEPT"},
		{"it is to be placed elsewhere", func(f *fixture, referral string) error {
			id, err := aip.ParseName("name", "referrals", referral)
			if err != nil {
				return err
			}
			_, err = f.srv.intend(f.system(), &referralv1.AcceptReferralRequest{Name: referral}, id, uuid.New())
			return err
		}, "OK", accepted, membershipv1.Membership_APPROVED_PENDING_GUIDELINES, "SEND REFUSE_PLACE ACCEPT"},
		{"it is rejected", func(f *fixture, referral string) error {
			_, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: referral, Reason: referralv1.Referral_DUPLICATE})
			return err
		}, "FailedPrecondition ILLEGAL_TRANSITION", rejected, membershipv1.Membership_ENDED, "SEND REFUSE_PLACE REJECT"},
		{"it is cancelled", func(f *fixture, referral string) error {
			_, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: referral})
			return err
		}, "FailedPrecondition ILLEGAL_TRANSITION", cancelled, membershipv1.Membership_ENDED, "SEND REFUSE_PLACE REQUEST_CANCEL CONFIRM_CANCEL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, l := setupCut(t)
			small := f.newGroup(f.receive, func(g *groupsv1.Group) { g.Capacity = &groupsv1.Group_Capacity{Seats: 1} })
			into := func(r *referralv1.Referral) { r.RequestedGroup = small }
			first := f.accept(f.send(into))
			r := f.send(into, other("b"))
			copied := &referralv1.AcceptReferralRequest{Name: r.GetName()}
			l.ahead = func() {
				if _, err := f.AcceptReferral(f.receive, copied); errText(err) != "FailedPrecondition GROUP_FULL" || f.placements() != 0 {
					t.Errorf("the first copy: got %v and %d placements", err, f.placements())
				}
				if _, err := f.membership.EndMembership(f.receive, &membershipv1.EndMembershipRequest{
					Name: first.GetMembership(), Reason: membershipv1.Membership_MOVED_ON,
				}); err != nil {
					t.Error(err)
				}
				if err := c.meanwhile(f, r.GetName()); err != nil {
					t.Error(err)
				}
			}
			if _, err := f.AcceptReferral(f.receive, copied); errText(err) != c.want {
				t.Errorf("the second copy: got %v, want %s", err, c.want)
			}
			f.eventually(func() error { // a seat that could not be given back at once is given back by the job
				if f.placements() == 0 {
					return nil
				}
				f.Clock.Advance(retryMost)
				return errors.Join(f.srv.resume(f.system()), errors.New("a placement is under way"))
			})
			if got := f.get(f.refer, r.GetName()); got.GetState() != c.state || f.placements() != 0 {
				t.Errorf("got %v and %d placements", got, f.placements())
			}
			for _, m := range f.memberships() {
				if m.GetName() != first.GetMembership() && m.GetState() != c.held {
					t.Errorf("the seat is %s, want %s", m.GetState(), c.held)
				}
			}
			if got := f.actions(r.GetName()); got != c.actions {
				t.Errorf("timeline: got %s, want %s", got, c.actions)
			}
		})
	}
}

// One copy of an acceptance is refused and forgets it; the other gets a seat that has become free, and dies before it writes so.
// The seat is not kept for a referral that nobody takes.
func TestSeatOfACopyThatDiesIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ends func(f *fixture, referral string) error
		want state
	}{
		{"its deadline passes", func(f *fixture, _ string) error {
			f.Clock.Advance(2 * time.Hour)
			return f.srv.sweepDue(f.system())
		}, failed},
		{"it is rejected before membership has told of the seat", func(f *fixture, referral string) error {
			_, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: referral, Reason: referralv1.Referral_DUPLICATE})
			return err
		}, rejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, l := setupCut(t)
			small := f.newGroup(f.receive, func(g *groupsv1.Group) { g.Capacity = &groupsv1.Group_Capacity{Seats: 1} })
			into := func(r *referralv1.Referral) { r.RequestedGroup = small }
			first := f.accept(f.send(into))
			r := f.send(into, other("b"), func(r *referralv1.Referral) { r.Deadline = timestamppb.New(f.Clock.Now().Add(time.Hour)) })
			copied := &referralv1.AcceptReferralRequest{Name: r.GetName()}
			l.ahead = func() {
				if _, err := f.AcceptReferral(f.receive, copied); errText(err) != "FailedPrecondition GROUP_FULL" {
					t.Errorf("the first copy: got %v", err)
				}
				if _, err := f.membership.EndMembership(f.receive, &membershipv1.EndMembershipRequest{
					Name: first.GetMembership(), Reason: membershipv1.Membership_MOVED_ON,
				}); err != nil {
					t.Error(err)
				}
				l.cut(false, true)
			}
			if _, err := f.AcceptReferral(f.receive, copied); errText(err) != "Unavailable UNAVAILABLE" {
				t.Fatalf("the second copy: got %v", err)
			}
			l.cut(false, false)
			if got := f.get(f.refer, r.GetName()); got.GetState() != sent || f.placements() != 0 {
				t.Fatalf("got %v and %d placements", got, f.placements())
			}
			if err := c.ends(f, r.GetName()); err != nil {
				t.Fatal(err)
			}
			if got := f.get(f.refer, r.GetName()); got.GetState() != c.want {
				t.Fatalf("got %v", got)
			}
			f.eventually(func() error {
				f.Clock.Advance(retryFirst)
				if err := f.srv.resume(f.system()); err != nil {
					return err
				}
				for _, m := range f.memberships() {
					if m.GetState() != membershipv1.Membership_ENDED {
						return fmt.Errorf("%s is still %s", m.GetName(), m.GetState())
					}
				}
				return nil
			})
		})
	}
}

// The referrer cancels while the seat is being taken: it is given back, and the referral is cancelled.
func TestCancelOvertakesAcceptance(t *testing.T) {
	t.Parallel()
	f, l := setupCut(t)
	r := f.send()
	l.cut(false, true)
	if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName()}); status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v", err)
	}
	l.cut(true, false)
	got, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()})
	if err != nil || got.GetState() != cancelRequested {
		t.Fatalf("got %v, %v", got, err)
	}
	l.cut(false, false)
	f.Clock.Advance(time.Minute)
	f.await(r.GetName(), cancelled)
	if m := f.memberships(); len(m) != 1 || m[0].GetState() != membershipv1.Membership_ENDED || f.placements() != 0 {
		t.Errorf("got %v and %d placements", m, f.placements())
	}
}

// The seat is given back although membership was away when the referral was declined.
func TestReleaseIsResumed(t *testing.T) {
	t.Parallel()
	f, l := setupCut(t)
	r := f.accept(f.send())
	l.cut(true, false)
	if got, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: r.GetName(), Reason: referralv1.Referral_DUPLICATE}); err != nil || got.GetState() != rejected {
		t.Fatalf("got %v, %v", got, err)
	}
	if f.placements() != 1 {
		t.Fatal("the release was forgotten")
	}
	l.cut(false, false)
	f.Clock.Advance(time.Minute)
	f.eventually(func() error {
		if m := f.memberships(); m[0].GetState() != membershipv1.Membership_ENDED || f.placements() != 0 {
			return fmt.Errorf("got %v and %d placements", m, f.placements())
		}
		return nil
	})
	if got := f.get(f.refer, r.GetName()); got.GetState() != rejected {
		t.Errorf("got %v", got)
	}
}

// A group that cannot take her says so to the receiver and to the timeline, and the referral stays to be accepted.
func TestRefusedPlace(t *testing.T) {
	t.Parallel()
	f := setup(t)
	small := f.newGroup(f.receive, func(g *groupsv1.Group) { g.Capacity = &groupsv1.Group_Capacity{Seats: 1} })
	strict := f.newGroup(f.receive, func(g *groupsv1.Group) {
		g.AgeLimits = &groupsv1.Group_AgeLimits{MinYears: 18, MaxYears: 39, Strictness: groupsv1.Group_AgeLimits_STRICT}
	})
	into := func(group string) func(*referralv1.Referral) {
		return func(r *referralv1.Referral) { r.RequestedGroup = group }
	}
	f.accept(f.send(into(small)))
	r := f.send(into(small), other("b"))
	for _, c := range []struct{ group, want string }{
		{"", "FailedPrecondition GROUP_FULL"},
		{strict, "FailedPrecondition NOT_ELIGIBLE"},
		{f.newGroup(f.other), "InvalidArgument group"},
	} {
		if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), Group: c.group}); errText(err) != c.want {
			t.Errorf("group %q: got %v, want %s", c.group, err, c.want)
		}
	}
	if got := f.get(f.refer, r.GetName()); got.GetState() != sent || f.placements() != 0 {
		t.Errorf("got %v and %d placements", got, f.placements())
	}
	got, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), Group: f.group})
	if err != nil || got.GetGroup() != f.group {
		t.Fatalf("got %v, %v", got, err)
	}
	if got := f.actions(r.GetName()); got != "SEND REFUSE_PLACE REFUSE_PLACE ACCEPT" {
		t.Errorf("timeline: got %s", got)
	}
	for _, e := range f.timeline(r.GetName())[1:3] {
		if e.GetNote() == "" || e.GetActor() != "membership" || e.GetFromState() != sent || e.GetToState() != sent {
			t.Errorf("got %v", e)
		}
	}
}

// Whatever a referral may say of a person, somebody can take her.
func TestWhateverIsSaidCanBePlaced(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.accept(f.send(func(r *referralv1.Referral) {
		r.Subject.GivenName, r.Subject.FamilyName = strings.Repeat("Ä", 120), strings.Repeat("ß", 120)
		r.Subject.Address.Locality, r.Subject.Address.AdministrativeArea = "Kansas\nCity", strings.Repeat("\u0085", 120)
		r.Subject.Phone = "ask\nmother"
	}))
}

// What membership is told of the person is what the consent covers.
func TestPlacingTellsWhatIsAllowed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	all := f.accept(f.send())
	none := f.accept(f.send(other("b"), func(r *referralv1.Referral) { r.Consent = nil }))
	member := func(r *referralv1.Referral) *membershipv1.Member {
		m, err := f.membership.GetMembership(f.receive, &membershipv1.GetMembershipRequest{Name: r.GetMembership()})
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.membership.GetMember(f.receive, &membershipv1.GetMemberRequest{Name: m.GetMember()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if m := member(all); m.GetLegalName() != givenName+" "+familyName || m.GetEmail() != address || m.GetPhone() != "+18165550177" || m.GetBirthYear() != 1974 ||
		m.GetRole() != membershipv1.Member_SURVIVOR || m.GetPreferredChannel() != membershipv1.Member_TEXT_MESSAGE {
		t.Errorf("with consent: got %v", m)
	}
	if m := member(none); m.GetLegalName()+m.GetEmail()+m.GetPhone() != "" || m.GetBirthYear() != 0 || m.GetArea() != nil || m.GetAlias() == "b" {
		t.Errorf("without consent: got %v", m)
	}
}

// Two hospitals may give the same number, and one may give another's: what either has referred is nothing to the other. Neither learns by
// its own referral that somebody is in a group, nor changes what the other has said.
func TestTheNumberOfAnotherHospitalFindsNobody(t *testing.T) {
	t.Parallel()
	f := setup(t)
	into := func(r *referralv1.Referral) { r.RequestedGroup = f.group }
	hers := f.accept(f.send(into))
	f.CatchUp()
	before := f.get(f.refer, hers.GetName())
	stranger, err := f.CreateReferral(f.strange, &referralv1.CreateReferralRequest{Referral: f.referral(into, func(r *referralv1.Referral) { r.Subject.DoNotContact = true })})
	if err != nil {
		t.Fatal(err)
	}
	taken, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: stranger.GetName()})
	if err != nil {
		t.Fatalf("the other hospital's: %v", err)
	}
	if a, b := f.theMember(hers), f.theMember(taken); a.GetName() == b.GetName() || a.GetDoNotContact() || !b.GetDoNotContact() {
		t.Errorf("the members are %v and %v", a, b)
	}
	f.CatchUp()
	if after := f.get(f.refer, hers.GetName()); !proto.Equal(after, before) {
		t.Errorf("the first hospital's referral was %v, is %v", before, after)
	}
	// To each hospital its own number leads to its own.
	again := f.send(into)
	if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: again.GetName()}); errText(err) != "FailedPrecondition ALREADY_MEMBER" {
		t.Errorf("referred again by the same hospital: %v", err)
	}
	elsewhere := f.newGroup(f.receive)
	if got := f.accept(f.send(func(r *referralv1.Referral) { r.RequestedGroup = elsewhere })); f.theMember(got).GetName() != f.theMember(hers).GetName() {
		t.Errorf("into another group by the same hospital: another member")
	}
}

// An acceptance that does not come to an end stops nobody's clock: both sides are told of it once, and who has to act is reminded, found
// late and told of to the referrer as ever. It goes to nobody else, nor is it given up, before the placing has ended.
func TestStuckPlacingIsTold(t *testing.T) {
	t.Parallel()
	f, l := setupCut(t)
	f.newGroup(f.other)
	f.CatchUp()
	small := f.newGroup(f.receive, func(g *groupsv1.Group) { g.Capacity = &groupsv1.Group_Capacity{Seats: 1} })
	into := func(r *referralv1.Referral) { r.RequestedGroup = small }
	f.accept(f.send(other("c"), into))
	r := f.send(into)
	limited := f.send(other("b"), into, func(r *referralv1.Referral) { r.Deadline = timestamppb.New(thursday.Add(day)) })
	l.cut(true, false)
	for _, name := range []string{r.GetName(), limited.GetName()} {
		if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: name}); errText(err) != "Unavailable UNAVAILABLE" {
			t.Fatalf("got %v", err)
		}
	}
	f.Clock.Advance(stuckAfter)
	f.eventually(func() error { // by the job, as often as it tries
		f.Clock.Advance(retryMost)
		if n := query[int](f, `SELECT min(attempts)::int FROM placements`); n < 3 || f.actions(r.GetName()) != "SEND TELL_REFERRER" {
			return fmt.Errorf("after %d attempts: %s", n, f.actions(r.GetName()))
		}
		return nil
	})
	if e := f.timeline(r.GetName())[1]; !strings.Contains(e.GetNote(), small) {
		t.Errorf("both sides are told %v", e)
	}
	due := thursday.Add(5 * day)
	f.at(due.Add(-30 * time.Hour))
	f.at(due)
	f.at(due.Add(day))
	if got := f.actions(r.GetName()); got != "SEND TELL_REFERRER REMIND MISS_DUE_TIME TELL_REFERRER" {
		t.Errorf("timeline: %s", got)
	}
	if got := f.get(f.refer, limited.GetName()); got.GetState() != sent || got.GetOverdueTime() == nil {
		t.Errorf("past its deadline: %s, timeline %s", got.GetState(), f.actions(limited.GetName()))
	}
	if got := f.get(f.refer, r.GetName()); got.GetState() != sent || got.GetOwnerOrganization() != f.nonprofit {
		t.Errorf("it is %s, of %s", got.GetState(), got.GetOwnerOrganization())
	}

	l.cut(false, false) // the group is full
	f.Clock.Advance(retryMost)
	f.eventually(func() error {
		if n := f.placements(); n > 0 {
			return fmt.Errorf("%d placements", n)
		}
		return nil
	})
	f.at(f.Clock.Now())
	if got := f.get(f.refer, r.GetName()); got.GetOwnerOrganization() != f.otherNonprofit {
		t.Errorf("once it was refused: %s", f.actions(r.GetName()))
	}
	if got := f.get(f.refer, limited.GetName()); got.GetState() != failed {
		t.Errorf("once it was refused, past its deadline: %s", f.actions(limited.GetName()))
	}
}
