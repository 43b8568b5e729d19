package referral

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// A withdrawal closes the owner's view at once, in every answer, and a renewal opens it again; every version stays on record.
func TestConsentIsWithdrawnAndRenewed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral()})
	if err != nil {
		t.Fatal(err)
	}
	name := r.GetName()
	if _, err := f.messages.CreateReferralMessage(f.refer, &referralv1.CreateReferralMessageRequest{Parent: name, Message: &referralv1.ReferralMessage{Text: written}}); err != nil {
		t.Fatal(err)
	}
	if seen := f.whatTheOwnerReads(name); !strings.Contains(seen, givenName) || !strings.Contains(seen, "Z85.3") || !strings.Contains(seen, written) {
		t.Fatalf("before: the owner reads %s", seen)
	}

	f.Clock.Advance(time.Hour)
	if _, err := f.consents.WithdrawReferralConsent(f.receive, &referralv1.WithdrawReferralConsentRequest{Name: name}); errText(err) != "PermissionDenied WRONG_PARTY" {
		t.Errorf("by the owner: got %v", err)
	}
	part, err := f.consents.WithdrawReferralConsent(f.refer, &referralv1.WithdrawReferralConsentRequest{Name: name, Items: []referralv1.Referral_Consent_Item{
		referralv1.Referral_Consent_CONTACT, referralv1.Referral_Consent_CLINICAL,
	}})
	if err != nil || part.GetConsentVersion() != 2 || part.GetAwaiting() != receiver {
		t.Fatalf("parts: got %v, %v", part, err)
	}
	if seen := f.whatTheOwnerReads(name); !strings.Contains(seen, givenName) || strings.Contains(seen, "Z85.3") || strings.Contains(seen, phone) || !strings.Contains(seen, written) {
		t.Errorf("after parts: the owner reads %s", seen)
	}
	if _, err := f.consents.WithdrawReferralConsent(f.refer, &referralv1.WithdrawReferralConsentRequest{Name: name, Items: []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_CONTACT}}); errText(err) != "FailedPrecondition NO_SUCH_CONSENT" {
		t.Errorf("the same again: got %v", err)
	}

	all, err := f.consents.WithdrawReferralConsent(f.refer, &referralv1.WithdrawReferralConsentRequest{Name: name})
	if err != nil || all.GetConsentVersion() != 3 || all.GetAwaiting() != referrer || all.GetReassignTime() != nil {
		t.Fatalf("all: got %v, %v", all, err)
	}
	seen := f.whatTheOwnerReads(name)
	for _, secret := range []string{givenName, familyName, mrn, phone, address, written, "Z85.3", "breast", "LYMPHOEDEMA"} {
		if strings.Contains(seen, secret) {
			t.Errorf("after all of it: the owner reads %q in %s", secret, seen)
		}
	}
	if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: name}); errText(err) != "FailedPrecondition CONSENT_ENDED" {
		t.Errorf("accept: got %v", err)
	}
	if _, err := f.process.AssignReferral(f.refer, &referralv1.AssignReferralRequest{Name: name, OwnerOrganization: f.otherNonprofit}); errText(err) != "FailedPrecondition CONSENT_ENDED" {
		t.Errorf("assign: got %v", err)
	}
	if _, err := f.messages.CreateReferralMessage(f.receive, &referralv1.CreateReferralMessageRequest{Parent: name, Message: &referralv1.ReferralMessage{Text: "Hello?"}}); errText(err) != "FailedPrecondition CONSENT_ENDED" {
		t.Errorf("message: got %v", err)
	}
	if got := f.get(f.refer, name); got.GetSubject().GetGivenName() != givenName {
		t.Errorf("the referrer reads %v", got)
	}

	if _, err := f.consents.RenewReferralConsent(f.refer, &referralv1.RenewReferralConsentRequest{Name: name, Consent: &referralv1.Referral_Consent{
		Share: []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME}, ExpireTime: timestamppb.New(thursday),
	}}); errText(err) != "InvalidArgument consent.expire_time consent.grant_time" {
		t.Errorf("a bad one: got %v", err)
	}
	again, err := f.consents.RenewReferralConsent(f.refer, &referralv1.RenewReferralConsentRequest{Name: name, Consent: &referralv1.Referral_Consent{
		Share: []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME}, GrantTime: timestamppb.New(f.Clock.Now()),
	}})
	if err != nil || again.GetConsentVersion() != 4 || again.GetAwaiting() != receiver {
		t.Fatalf("renewed: got %v, %v", again, err)
	}
	if seen := f.whatTheOwnerReads(name); !strings.Contains(seen, givenName) || strings.Contains(seen, "Z85.3") || !strings.Contains(seen, "breast") {
		t.Errorf("renewed: the owner reads %s", seen)
	}
	f.accept(again)
	f.checkVersions(name)
	f.checkDisclosures(name)
}

// whatTheOwnerReads returns every answer about a referral that the owner can get, as text.
func (f *fixture) whatTheOwnerReads(name string) string {
	f.t.Helper()
	var all strings.Builder
	add := func(m proto.Message, err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
		all.WriteString(prototext.Format(m))
	}
	records := referralv1.NewReferralRecordsServiceClient(f.Conn(service))
	call := func(ctx context.Context) {
		add(first(f.GetReferral(ctx, &referralv1.GetReferralRequest{Name: name})))
		add(first(f.ListReferrals(ctx, &referralv1.ListReferralsRequest{})))
		add(first(f.ListReferralEvents(ctx, &referralv1.ListReferralEventsRequest{Parent: name})))
		add(first(records.SearchReferrals(ctx, &referralv1.SearchReferralsRequest{})))
		add(first(records.ListReferralVersions(ctx, &referralv1.ListReferralVersionsRequest{Parent: name})))
		add(first(f.messages.ListReferralMessages(ctx, &referralv1.ListReferralMessagesRequest{Parent: name})))
		add(first(f.consents.ListConsentVersions(ctx, &referralv1.ListConsentVersionsRequest{Parent: name})))
	}
	call(f.receive)
	return all.String()
}

func first[M proto.Message](m M, err error) (proto.Message, error) { return m, err }

func (f *fixture) checkVersions(name string) {
	f.t.Helper()
	var shares []int
	token := ""
	for more := true; more; more = token != "" {
		resp, err := f.consents.ListConsentVersions(f.refer, &referralv1.ListConsentVersionsRequest{Parent: name, PageSize: 3, PageToken: token})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, v := range resp.GetConsentVersions() {
			shares = append(shares, len(v.GetConsent().GetShare()))
			if (v.GetEndTime() == nil) != (len(shares) == 4) || (v.GetConsent().GetWithdrawTime() != nil) != (len(shares) == 3) {
				f.t.Errorf("version %s: %v", v.GetName(), v)
			}
		}
		token = resp.GetNextPageToken()
	}
	if !slices.Equal(shares, []int{5, 3, 3, 1}) {
		f.t.Errorf("the versions share %v items, want 5, 3, 3, 1", shares)
	}
	seen, err := f.consents.ListConsentVersions(f.receive, &referralv1.ListConsentVersionsRequest{Parent: name})
	if err != nil || len(seen.GetConsentVersions()) != 1 || seen.GetConsentVersions()[0].GetName() != name+"/consentVersions/4" {
		f.t.Errorf("the owner lists %v, %v", seen, err)
	}
}

// checkDisclosures looks at what is on record of the readings before: one entry for each version, with what it let be shown.
func (f *fixture) checkDisclosures(name string) {
	f.t.Helper()
	if _, err := f.consents.ListDisclosures(f.receive, &referralv1.ListDisclosuresRequest{Parent: name}); errText(err) != "NotFound NOT_FOUND" {
		f.t.Errorf("by the owner: got %v", err)
	}
	got := map[string]int{}
	token := ""
	for more := true; more; more = token != "" {
		resp, err := f.consents.ListDisclosures(f.refer, &referralv1.ListDisclosuresRequest{Parent: name, PageSize: 2, PageToken: token})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, d := range resp.GetDisclosures() {
			if d.GetOrganization() != f.nonprofit || d.GetActor() != "apiClients/test" || d.GetTimes() < 6 {
				f.t.Errorf("got %v", d)
			}
			got[d.GetConsentVersion()] = len(d.GetItems())
		}
		token = resp.GetNextPageToken()
	}
	for version, items := range map[string]int{"1": 5, "2": 3, "3": 0, "4": 1} {
		if n, ok := got[name+"/consentVersions/"+version]; !ok || n != items {
			f.t.Errorf("version %s: %d items (recorded: %v), want %d", version, n, ok, items)
		}
	}
}

// A referral whose consent ends before anybody has answered waits for its referrer: at once, told by e-mail, and it goes to nobody else.
func TestConsentExpiresUnanswered(t *testing.T) {
	t.Parallel()
	f, box := setupMail(t)
	elsewhere := f.newGroup(f.other)
	f.CatchUp()
	until := thursday.Add(day)
	r := f.send(func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(until) })
	late := f.send(other("late"), func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(thursday.Add(5*day + time.Hour)) })
	longer := f.send(other("longer"), func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(until) })
	renewed := proto.CloneOf(longer.GetConsent())
	renewed.ExpireTime = timestamppb.New(thursday.Add(90 * day))
	longer, err := f.consents.RenewReferralConsent(f.refer, &referralv1.RenewReferralConsentRequest{Name: longer.GetName(), Consent: renewed})
	if err != nil {
		t.Fatal(err)
	}
	name := r.GetName()
	if r.GetReassignTime() != nil || late.GetReassignTime() != nil || longer.GetReassignTime() == nil {
		t.Errorf("to be passed on at %v, %v, %v", r.GetReassignTime(), late.GetReassignTime(), longer.GetReassignTime())
	}

	f.at(until.Add(-time.Second))
	if got := f.actions(name); got != "SEND" {
		t.Fatalf("before it ends: %s", got)
	}
	f.at(until)
	got := f.get(f.refer, name)
	if f.actions(name) != "SEND EXPIRE_CONSENT" || got.GetAwaiting() != referrer || got.GetDueTime().AsTime() != until.Add(3*day) || got.GetOwnerOrganization() != f.nonprofit {
		t.Fatalf("when it has ended: got %v, timeline %s", got, f.actions(name))
	}
	if kinds := f.published(name); !slices.Equal(kinds, []string{"sent", "consent_expired"}) {
		t.Errorf("events: %v", kinds)
	}
	if got := f.actions(longer.GetName()); got != "SEND RENEW_CONSENT" {
		t.Errorf("renewed in time: %s", got)
	}
	for who, want := range map[string]string{"stanna": "A referral of yours needs a new consent", "hopehouse": "A consent has ended"} {
		f.eventually(func() error {
			for _, m := range box.Mailbox(who + "@care.test") {
				if m.Subject == want && strings.Contains(m.Text, name) && !strings.Contains(m.Raw, familyName) {
					return nil
				}
			}
			return fmt.Errorf("%s is not told %q", who, want)
		})
	}

	// Nobody else is given it, by the referrer or by the clock.
	if _, err := f.process.AssignReferral(f.refer, &referralv1.AssignReferralRequest{Name: name, RequestedGroup: elsewhere}); errText(err) != "FailedPrecondition CONSENT_ENDED" {
		t.Errorf("assign: got %v", err)
	}
	f.at(thursday.Add(4*day - 6*time.Hour))
	f.at(thursday.Add(4 * day))
	f.at(thursday.Add(5 * day))
	f.at(thursday.Add(6 * day))
	if got := f.actions(name); got != "SEND EXPIRE_CONSENT REMIND MISS_DUE_TIME TELL_REFERRER" {
		t.Errorf("when the referrer leaves it: %s", got)
	}
	if got := f.actions(late.GetName()); got != "SEND REMIND MISS_DUE_TIME EXPIRE_CONSENT" {
		t.Errorf("when it ends after the due time: %s", got)
	}
	if got := f.actions(longer.GetName()); got != "SEND RENEW_CONSENT REMIND MISS_DUE_TIME REASSIGN" {
		t.Errorf("renewed in time, and not answered: %s", got)
	}

	again, err := f.consents.RenewReferralConsent(f.refer, &referralv1.RenewReferralConsentRequest{Name: name, Consent: renewed})
	if err != nil || again.GetAwaiting() != receiver || again.GetDueTime().AsTime() != f.Clock.Now().Add(5*day) {
		t.Fatalf("renewed: got %v, %v", again, err)
	}
	if _, err := f.process.AssignReferral(f.refer, &referralv1.AssignReferralRequest{Name: name, RequestedGroup: elsewhere}); err != nil {
		t.Errorf("assign: got %v", err)
	}
}

// A consent that names its recipients shows the person to no other owner.
func TestConsentForNamedOrganizations(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send(func(r *referralv1.Referral) { r.Consent.Recipients = []string{f.otherNonprofit} })
	if got := f.get(f.receive, r.GetName()); got.GetSubject() != nil || got.Distress != nil || got.GetNeeds() == nil {
		t.Errorf("an owner who is not named sees %v", got)
	}
	named := f.newGroup(f.other)
	if _, err := f.process.AssignReferral(f.refer, &referralv1.AssignReferralRequest{Name: r.GetName(), RequestedGroup: named}); err != nil {
		t.Fatal(err)
	}
	if got := f.get(f.other, r.GetName()); got.GetSubject().GetGivenName() != givenName {
		t.Errorf("the one who is named sees %v", got)
	}
}

// A referral that nobody owns is offered to nobody once its consent has ended.
func TestEndedConsentIsNotClaimed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	unowned := func(r *referralv1.Referral) { r.RequestedGroup, r.OwnerOrganization = "", "" }
	open := f.send(unowned)
	withdrawn := f.send(unowned, other("b"))
	expiring := f.send(unowned, other("c"), func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(f.Clock.Now().Add(time.Hour)) })
	claimable := func() (names []string) {
		t.Helper()
		resp, err := f.ListClaimableReferrals(f.receive, &referralv1.ListClaimableReferralsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.GetReferrals() {
			names = append(names, r.GetName())
		}
		return names
	}
	if got := claimable(); len(got) != 3 {
		t.Fatalf("before: %v", got)
	}
	if _, err := f.consents.WithdrawReferralConsent(f.refer, &referralv1.WithdrawReferralConsentRequest{Name: withdrawn.GetName()}); err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(time.Hour)
	if got := claimable(); !slices.Equal(got, []string{open.GetName()}) {
		t.Errorf("after: %v, want %s alone", got, open.GetName())
	}
	for _, r := range []*referralv1.Referral{withdrawn, expiring} {
		if _, err := f.ClaimReferral(f.receive, &referralv1.ClaimReferralRequest{Name: r.GetName()}); errText(err) != "FailedPrecondition CONSENT_ENDED" {
			t.Errorf("claim: got %v", err)
		}
	}
	if _, err := f.ClaimReferral(f.receive, &referralv1.ClaimReferralRequest{Name: open.GetName()}); err != nil {
		t.Error(err)
	}
}

// Who has taken back her consent, or whose consent's time is over, while she was being placed is not seated: a seat that she has got is
// given back, and with it what the group was told of her. When she agrees anew she can be accepted.
func TestConsentEndsWhileSheIsPlaced(t *testing.T) {
	t.Parallel()
	withdraw := func(f *fixture, name string) {
		if _, err := f.consents.WithdrawReferralConsent(f.refer, &referralv1.WithdrawReferralConsentRequest{Name: name}); err != nil {
			f.t.Error(err)
		}
	}
	for _, c := range []struct {
		name          string
		before, after bool                          // where the call to membership is cut
		ends          func(f *fixture, name string) // after the call
		ahead         func(f *fixture, name string) // before membership gets it
		want, actions string
	}{
		{"withdrawn, no seat yet", true, false, withdraw, nil, "Unavailable UNAVAILABLE", "SEND WITHDRAW_CONSENT REFUSE_PLACE"},
		{"withdrawn, with a seat", false, true, withdraw, nil, "Unavailable UNAVAILABLE", "SEND WITHDRAW_CONSENT REFUSE_PLACE"},
		{"withdrawn below the call", false, false, nil, withdraw, "FailedPrecondition CONSENT_ENDED", "SEND WITHDRAW_CONSENT REFUSE_PLACE"},
		{"expired", false, true, func(f *fixture, _ string) { f.Clock.Advance(time.Hour) }, nil, "Unavailable UNAVAILABLE", "SEND REFUSE_PLACE EXPIRE_CONSENT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, l := setupCut(t)
			r := f.send(func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(thursday.Add(time.Hour)) })
			name := r.GetName()
			if c.ahead != nil {
				l.ahead = func() { c.ahead(f, name) }
			}
			l.cut(c.before, c.after)
			if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: name}); errText(err) != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if c.ends != nil {
				c.ends(f, name)
			}
			l.cut(false, false)
			f.eventually(func() error {
				f.Clock.Advance(retryFirst)
				if err := f.srv.resume(f.system()); err != nil { // not by its job, for which the clock would go far ahead
					return err
				}
				if n := f.placements(); n > 0 || f.actions(name) != c.actions {
					return fmt.Errorf("%d placements, timeline %s, want %s", n, f.actions(name), c.actions)
				}
				return nil
			})
			if got := f.get(f.refer, name); got.GetState() != sent || got.GetAwaiting() != referrer {
				t.Errorf("got %s, awaiting %s", got.GetState(), got.GetAwaiting())
			}
			f.eventually(func() error { // what membership has of her goes with an event
				for _, m := range f.memberships() {
					p, err := f.membership.GetMember(f.receive, &membershipv1.GetMemberRequest{Name: m.GetMember()})
					if err != nil {
						return err
					}
					if m.GetState() != membershipv1.Membership_ENDED || p.GetLegalName() != "" || p.GetEmail() != "" || len(p.GetCancerTypes()) > 0 {
						return fmt.Errorf("her seat is %s, of %v", m.GetState(), p)
					}
				}
				return nil
			})
			consent := f.referral().GetConsent()
			consent.GrantTime = timestamppb.New(f.Clock.Now())
			if _, err := f.consents.RenewReferralConsent(f.refer, &referralv1.RenewReferralConsentRequest{Name: name, Consent: consent}); err != nil {
				t.Fatal(err)
			}
			again := f.accept(r)
			f.CatchUp()
			m, err := f.membership.GetMembership(f.receive, &membershipv1.GetMembershipRequest{Name: f.get(f.refer, again.GetName()).GetMembership()})
			if err != nil || m.GetState() != membershipv1.Membership_APPROVED_PENDING_GUIDELINES {
				t.Errorf("accepted again: her seat is %v, %v", m, err)
			}
		})
	}
}
