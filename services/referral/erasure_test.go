package referral

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

// concern has the coordinator raise an urgent concern about somebody, and returns the escalation that it opens.
func (f *fixture) concern(membership string) (*membershipv1.SafetyConcern, *referralv1.Referral) {
	f.t.Helper()
	c, err := membershipv1.NewSafetyServiceClient(f.Conn("membership")).CreateSafetyConcern(f.receive, &membershipv1.CreateSafetyConcernRequest{
		SafetyConcern: &membershipv1.SafetyConcern{
			Group: f.group, Membership: membership, Kind: membershipv1.SafetyConcern_SELF_HARM_RISK, Severity: membershipv1.SafetyConcern_URGENT,
			Description: written,
		},
	})
	if err != nil {
		f.t.Fatalf("raise concern: %v", err)
	}
	var r *referralv1.Referral
	f.eventually(func() error {
		r, err = f.GetReferral(f.receive, &referralv1.GetReferralRequest{Name: c.GetReferral()})
		return err
	})
	return c, r
}

// memberOf returns whose membership it is.
func (f *fixture) memberOf(membership string) string {
	f.t.Helper()
	m, err := f.membership.GetMembership(f.receive, &membershipv1.GetMembershipRequest{Name: membership})
	if err != nil {
		f.t.Fatal(err)
	}
	return m.GetMember()
}

func (f *fixture) erasePerson(member string) {
	f.t.Helper()
	privacy := membershipv1.NewPrivacyServiceClient(f.Conn("membership"))
	e, err := privacy.EraseMember(f.receive, &membershipv1.EraseMemberRequest{Name: member})
	if err != nil {
		f.t.Fatalf("erase: %v", err)
	}
	f.eventually(func() error {
		got, err := privacy.GetErasure(f.receive, &membershipv1.GetErasureRequest{Name: e.GetName()})
		if err == nil && got.GetState() != membershipv1.Erasure_DONE {
			err = fmt.Errorf("the erasure is %v", got)
		}
		return err
	})
}

// An urgent concern opens a referral to group therapy out of the one that placed her. Whoever may claim it learns what she needs, not
// who she is nor what the concern was.
func TestUrgentConcernOpensEscalation(t *testing.T) {
	t.Parallel()
	f := setup(t)
	parent := f.seated()
	c, r := f.concern(parent.GetMembership())
	if r.GetParent() != parent.GetName() || r.GetSafetyConcern() != c.GetName() || r.GetOrganization() != f.nonprofit || r.GetOwnerOrganization() != "" ||
		r.GetState() != sent || r.GetUrgency() != referralv1.Referral_STAT || !r.GetSelfHarmRisk() ||
		!strings.Contains(r.GetSubject().GetGivenName(), familyName) || len(r.GetNeeds().GetKinds()) != 1 {
		t.Errorf("the escalation is %v", r)
	}
	claimed, err := f.ClaimReferral(f.other, &referralv1.ClaimReferralRequest{Name: r.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if s := claimed.GetSubject(); s.GetGivenName()+s.GetPhone()+s.GetEmail() != "" || claimed.GetParent()+claimed.GetSafetyConcern() != "" || claimed.GetSelfHarmRisk() {
		t.Errorf("who claims it sees %v", claimed)
	}
	// Told again, it is the same one.
	id := uuid.MustParse(strings.TrimPrefix(r.GetName(), "referrals/"))
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error { return f.srv.openEscalation(f.system(), tx, &row{ID: id}) }); err != nil {
		t.Error(err)
	}
	if n := query[int](f, `SELECT count(*)::int FROM referrals WHERE concern_id IS NOT NULL`); n != 1 {
		t.Errorf("%d escalations, want 1", n)
	}
}

// What states a referral is left in when its person is erased, and that it can still be read and counted.
func TestErasedReferralsEnd(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.weekly(f.group)
	came := f.seated()
	f.await(came.GetName(), scheduled)
	f.Clock.Set(thursday.Add(day))
	f.attend(f.sessions(f.group)[0].GetName(), came.GetMembership(), 1)
	f.await(came.GetName(), engaged)
	waits := f.seated(other("waits"))
	f.await(waits.GetName(), scheduled)
	_, escalation := f.concern(waits.GetMembership())
	stays := f.send(other("stays"))

	f.erasePerson(f.memberOf(came.GetMembership()))
	f.erasePerson(f.memberOf(waits.GetMembership()))

	done := f.await(came.GetName(), completed)
	if done.GetSessionsAttended() != 1 || done.GetOutcome().GetTimeToFirstSession() == nil || done.GetOutcome().GetHelped() != referralv1.Referral_Outcome_UNKNOWN {
		t.Errorf("of who came there is left %v", done)
	}
	for _, r := range []*referralv1.Referral{done, f.await(waits.GetName(), cancelled)} {
		if r.GetSubject() != nil || r.GetPlacerNumber()+r.GetPlacerSystem()+r.GetFillerNumber()+r.GetFillerSystem() != "" || len(r.GetReasonCodes()) > 0 || r.Distress != nil || len(r.GetNeeds().GetCancerTypes()) > 0 || r.GetConsent().GetGrantTime() != nil {
			t.Errorf("of her there is left %v", r)
		}
		for _, e := range f.timeline(r.GetName()) {
			if strings.Contains(e.GetNote(), "canary") {
				t.Errorf("a note is left: %v", e)
			}
		}
	}
	if got := f.get(f.receive, escalation.GetName()); got.GetState() != cancelled || got.GetSubject() != nil {
		t.Errorf("of the escalation there is left %v", got)
	}
	if got := f.get(f.refer, stays.GetName()); got.GetState() != sent || got.GetSubject().GetFamilyName() != familyName {
		t.Errorf("another's is %v", got)
	}
	if n := query[int](f, `SELECT count(*)::int FROM placements`); n != 0 {
		t.Errorf("%d things are under way with membership", n)
	}
}

// A concern that is told after the person was erased opens nothing.
func TestErasedPersonIsNotEscalated(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := aip.NewID()
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error {
		_, err := f.srv.eraseReferrals(f.system(), tx, &membershipv1.ErasureRequested{Referrals: []string{aip.Name("referrals", id)}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error { return f.srv.openEscalation(f.system(), tx, &row{ID: id}) }); err != nil {
		t.Fatal(err)
	}
	if n := query[int](f, `SELECT count(*)::int FROM referrals`); n != 0 {
		t.Errorf("%d referrals, want none", n)
	}
}

// What the process has kept of a person goes with her: what was written about her, what she allowed, and the concern about her is closed.
func TestErasedPersonLeavesTheProcess(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.seated(func(r *referralv1.Referral) { r.SelfHarmRisk = true })
	if _, err := f.messages.CreateReferralMessage(f.receive, &referralv1.CreateReferralMessageRequest{Parent: r.GetName(), Message: &referralv1.ReferralMessage{Text: written}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.consents.WithdrawReferralConsent(f.refer, &referralv1.WithdrawReferralConsentRequest{
		Name: r.GetName(), Items: []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_CONTACT},
	}); err != nil {
		t.Fatal(err)
	}
	concern := f.get(f.refer, r.GetName()).GetConcern()
	if got := f.archived(r.GetName()); !strings.Contains(got, written) || !strings.Contains(got, "SELF_HARM_RISK") || !strings.Contains(got, "consentVersion") || !strings.Contains(got, "disclosure") {
		t.Errorf("her archive says %s", got)
	}
	f.erasePerson(f.memberOf(r.GetMembership()))
	f.await(r.GetName(), cancelled)
	if list, err := f.messages.ListReferralMessages(f.refer, &referralv1.ListReferralMessagesRequest{Parent: r.GetName()}); err != nil || len(list.GetMessages()) != 0 {
		t.Errorf("messages are left: %v, %v", list, err)
	}
	if list, err := f.consents.ListConsentVersions(f.refer, &referralv1.ListConsentVersionsRequest{Parent: r.GetName()}); err != nil || len(list.GetConsentVersions()) != 1 || len(list.GetConsentVersions()[0].GetConsent().GetShare()) != 0 {
		t.Errorf("consents are left: %v, %v", list, err)
	}
	c, err := f.concerns.GetReferralConcern(f.refer, &referralv1.GetReferralConcernRequest{Name: concern})
	if err != nil || c.GetState() != referralv1.ReferralConcern_CLOSED || c.GetOutcome() != referralv1.ReferralConcern_PERSON_ERASED {
		t.Errorf("the concern: %v, %v", c, err)
	}
	if _, err := f.process.ReferAgain(f.refer, &referralv1.ReferAgainRequest{Name: r.GetName()}); errText(err) != "FailedPrecondition PERSON_ERASED" {
		t.Errorf("refer again: got %v", err)
	}
}

// archived returns what a person's archive says of a referral, as text.
func (f *fixture) archived(referral string) string {
	f.t.Helper()
	stream, err := referralv1.NewPrivacyServiceClient(f.ConnAs("membership", service)).ExportReferrals(auth.System(f.t.Context(), "membership"),
		&referralv1.ExportReferralsRequest{Referrals: []string{referral}})
	if err != nil {
		f.t.Fatal(err)
	}
	var all strings.Builder
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		if err != nil {
			f.t.Fatal(err)
		}
		all.WriteString(e.String())
	}
}
