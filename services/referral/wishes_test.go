package referral

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
)

// theMember returns whose membership came of a referral.
func (f *fixture) theMember(r *referralv1.Referral) *membershipv1.Member {
	f.t.Helper()
	m, err := f.membership.GetMembership(f.receive, &membershipv1.GetMembershipRequest{Name: r.GetMembership()})
	if err != nil {
		f.t.Fatal(err)
	}
	member, err := f.membership.GetMember(f.receive, &membershipv1.GetMemberRequest{Name: m.GetMember()})
	if err != nil {
		f.t.Fatal(err)
	}
	return member
}

// That somebody must not be contacted is heeded everywhere, whoever says it: the hospital, at any time, or she herself in her group.
func TestDoNotContactIsHeededEverywhere(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.seated()
	member := f.theMember(r)
	for _, kind := range []membershipv1.Member_ConsentKind{membershipv1.Member_SHARE_CONTACT, membershipv1.Member_RECEIVE_MESSAGES} {
		if _, err := f.membership.GrantConsent(f.receive, &membershipv1.GrantConsentRequest{Name: member.GetName(), Kind: kind, Version: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	recipients := membershipv1.NewRecipientsServiceClient(f.ConnAs("scheduling", "membership"))
	reached := func() int {
		resp, err := recipients.ListRecipients(auth.System(f.t.Context(), "scheduling"), &membershipv1.ListRecipientsRequest{Memberships: []string{r.GetMembership()}, Kind: membershipv1.Member_SESSION_REMINDERS})
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.GetRecipients())
	}
	if n := reached(); n != 1 {
		t.Fatalf("%d can be written to before, want 1", n)
	}
	if _, err := f.process.SetReferralContact(f.receive, &referralv1.SetReferralContactRequest{Name: r.GetName(), DoNotContact: true}); errText(err) != "PermissionDenied WRONG_PARTY" {
		t.Errorf("by the owner: got %v", err)
	}
	got, err := f.process.SetReferralContact(f.refer, &referralv1.SetReferralContactRequest{Name: r.GetName(), DoNotContact: true})
	if err != nil || !got.GetSubject().GetDoNotContact() || got.GetSubject().GetPhone() != phone {
		t.Fatalf("got %v, %v", got, err)
	}
	if seen := f.get(f.receive, r.GetName()).GetSubject(); seen.GetPhone()+seen.GetEmail() != "" || seen.GetAddress() != nil || !seen.GetDoNotContact() {
		t.Errorf("the owner sees %v", seen)
	}
	f.eventually(func() error {
		if !f.theMember(r).GetDoNotContact() {
			return fmt.Errorf("the group has not been told")
		}
		return nil
	})
	if n := reached(); n != 0 {
		t.Errorf("%d can be written to, want none", n)
	}

	// She says it in her group, and the hospital's referral follows.
	one := f.seated(other("b"))
	if _, err := f.membership.UpdateMember(f.receive, &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{Name: f.theMember(one).GetName(), DoNotContact: true}}); err != nil {
		t.Fatal(err)
	}
	f.eventually(func() error {
		if seen := f.get(f.receive, one.GetName()).GetSubject(); seen.GetPhone() != "" || !seen.GetDoNotContact() {
			return fmt.Errorf("the owner sees %v", seen)
		}
		return nil
	})
}

// What becomes of somebody is told to her hospital until she takes that back; what was told stays, and nothing is added.
func TestReportsToTheReferrerAreStopped(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.weekly(f.group)
	r := f.seated()
	at := f.await(r.GetName(), scheduled)
	member := f.theMember(r)
	if _, err := f.membership.WithdrawConsent(f.receive, &membershipv1.WithdrawConsentRequest{Name: member.GetName(), Kind: membershipv1.Member_REPORT_TO_REFERRER}); err != nil {
		t.Fatalf("what went with being referred can be taken back: %v", err)
	}
	f.eventually(func() error {
		if !f.get(f.refer, r.GetName()).GetReportsStopped() {
			return fmt.Errorf("reports go on")
		}
		return nil
	})
	f.Clock.Set(at.GetFirstSessionTime().AsTime().Add(time.Hour))
	f.attend(at.GetFirstSession(), r.GetMembership(), schedulingv1.Attendance_PRESENT)
	if _, err := f.RecordEngagement(f.receive, &referralv1.RecordEngagementRequest{Name: r.GetName()}); errText(err) != "FailedPrecondition REPORTS_STOPPED" {
		t.Errorf("by hand: got %v", err)
	}
	told := &referralv1.Referral_Outcome{Helped: referralv1.Referral_Outcome_YES, Note: "She comes every week", DistressAfter: proto.Int32(1)}
	if _, err := f.CompleteReferral(f.receive, &referralv1.CompleteReferralRequest{Name: r.GetName(), Outcome: told}); errText(err) != "FailedPrecondition REPORTS_STOPPED" {
		t.Errorf("an outcome: got %v", err)
	}
	// The attendance has come in by now, or will: it is taken in and changes nothing.
	f.eventually(func() error {
		if n := query[int](f, `SELECT count(*)::int FROM attendances`); n != 1 {
			return fmt.Errorf("%d attendances are known", n)
		}
		return nil
	})
	got := f.get(f.refer, r.GetName())
	if got.GetState() != scheduled || got.GetSessionsAttended() != 0 || got.GetFirstAttendedTime() != nil {
		t.Errorf("the hospital reads %v", got)
	}
	done, err := f.CompleteReferral(f.receive, &referralv1.CompleteReferralRequest{Name: r.GetName(), Outcome: &referralv1.Referral_Outcome{Helped: referralv1.Referral_Outcome_UNKNOWN}})
	if err != nil || done.GetState() != completed {
		t.Errorf("closed without an outcome: %v, %v", done, err)
	}
	if story := f.actions(r.GetName()); story != "SEND ACCEPT SCHEDULE STOP_REPORTS COMPLETE" {
		t.Errorf("timeline: %s", story)
	}
}

// Who lets reports go on again is told of as who stops them: with a change of the referral, a version of it, a step and an event.
func TestReportsToTheReferrerGoOn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.seated()
	member := f.theMember(r).GetName()
	report := membershipv1.Member_REPORT_TO_REFERRER
	stopped := func(want bool) *referralv1.Referral {
		f.eventually(func() error {
			if got := f.get(f.refer, r.GetName()).GetReportsStopped(); got != want {
				return fmt.Errorf("reports are stopped: %t", got)
			}
			return nil
		})
		return f.get(f.refer, r.GetName())
	}
	if _, err := f.membership.WithdrawConsent(f.receive, &membershipv1.WithdrawConsentRequest{Name: member, Kind: report}); err != nil {
		t.Fatal(err)
	}
	before := stopped(true)
	f.Clock.Advance(time.Minute)
	if _, err := f.membership.GrantConsent(f.receive, &membershipv1.GrantConsentRequest{Name: member, Kind: report, Version: "1"}); err != nil {
		t.Fatal(err)
	}
	after := stopped(false)
	if after.GetEtag() == before.GetEtag() || !after.GetUpdateTime().AsTime().After(before.GetUpdateTime().AsTime()) {
		t.Errorf("nothing tells that it changed: %v, before %v", after, before)
	}
	if story := f.actions(r.GetName()); story != "SEND ACCEPT STOP_REPORTS RESUME_REPORTS" {
		t.Errorf("timeline: %s", story)
	}
	if told := f.published(r.GetName()); !slices.Contains(told, "reports_resumed") {
		t.Errorf("told %v", told)
	}
	got, err := f.records().ListReferralVersions(f.refer, &referralv1.ListReferralVersionsRequest{Parent: r.GetName()})
	v := got.GetReferralVersions() // newest first
	if err != nil || len(v) < 2 || v[0].GetReferral().GetReportsStopped() || !v[1].GetReferral().GetReportsStopped() {
		t.Errorf("the versions are %v, %v", v, err)
	}
}
