package referral

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/internal/suitetest"
)

// at runs what the clock does at a time, twice: the second run finds nothing to do.
func (f *fixture) at(now time.Time) {
	f.t.Helper()
	f.Clock.Set(now)
	for range 2 {
		if err := f.srv.sweepDue(f.system()); err != nil {
			f.t.Fatal(err)
		}
	}
}

// A referral that nobody answers is reminded of, passed on to the next recommended organization, never to one that has had it, then to
// whoever claims it; its hospital is told; and after 90 days it has failed.
func TestUnansweredReferralGoesOn(t *testing.T) {
	t.Parallel()
	f, box := setupMail(t)
	elsewhere := f.newGroup(f.other)
	f.CatchUp()
	r := f.send(func(r *referralv1.Referral) { r.OwnerOrganization = f.nonprofit })
	name, due := r.GetName(), thursday.Add(5*day)
	if got := r.GetReassignTime().AsTime(); got != due.Add(day) {
		t.Errorf("it is to be passed on at %v, want %v", got, due.Add(day))
	}

	mailed := func(who string, n int) {
		t.Helper()
		for _, m := range box.Wait(t, who+"@care.test", n) {
			if strings.Contains(m.Raw, givenName) || strings.Contains(m.Raw, familyName) || !strings.Contains(m.Text, name) {
				t.Errorf("an e-mail says %s", m.Raw)
			}
		}
	}

	mailed("hopehouse", 1)
	f.at(due.Add(-30 * time.Hour))
	mailed("hopehouse", 2)
	if got := f.actions(name); got != "SEND REMIND" {
		t.Fatalf("before the due time: %s", got)
	}
	f.at(due)
	mailed("hopehouse", 3)
	f.at(due.Add(23 * time.Hour))
	if got := f.actions(name); got != "SEND REMIND MISS_DUE_TIME" || f.get(f.receive, name).GetOverdueTime() == nil {
		t.Fatalf("at the due time: %s", got)
	}
	passed := due.Add(day)
	f.at(passed)
	mailed("hopehouse", 4)
	mailed("wrencircle", 1)
	mailed("stanna", 1)
	got := f.get(f.refer, name)
	if got.GetOwnerOrganization() != f.otherNonprofit || got.GetRequestedGroup() != elsewhere || got.GetState() != sent || got.GetOverdueTime() != nil ||
		!slices.Equal(got.GetPastOwnerOrganizations(), []string{f.nonprofit}) || got.GetDueTime().AsTime() != passed.Add(5*day) {
		t.Fatalf("a day later: got %v, timeline %s", got, f.actions(name))
	}
	for what, err := range map[string]error{
		"get":      second(f.GetReferral(f.receive, &referralv1.GetReferralRequest{Name: name})),
		"events":   second(f.ListReferralEvents(f.receive, &referralv1.ListReferralEventsRequest{Parent: name})),
		"accept":   second(f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: name})),
		"messages": second(f.messages.ListReferralMessages(f.receive, &referralv1.ListReferralMessagesRequest{Parent: name})),
		"consents": second(f.consents.ListConsentVersions(f.receive, &referralv1.ListConsentVersionsRequest{Parent: name})),
	} {
		if errText(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s by who had it: got %v", what, err)
		}
	}
	if list, err := f.ListReferrals(f.receive, &referralv1.ListReferralsRequest{}); err != nil || len(list.GetReferrals()) != 0 {
		t.Errorf("who had it lists %v, %v", list, err)
	}
	if seen := f.get(f.other, name); seen.GetSubject().GetGivenName() != givenName || len(seen.GetPastOwnerOrganizations()) != 0 {
		t.Errorf("the new owner sees %v", seen)
	}

	then := passed.Add(6 * day)
	f.at(then.Add(-day))
	mailed("wrencircle", 2)
	f.at(then)
	mailed("wrencircle", 3)
	mailed("stanna", 2)
	if got = f.get(f.refer, name); got.GetOwnerOrganization() != "" || got.GetRequestedGroup() != "" || len(got.GetPastOwnerOrganizations()) != 2 {
		t.Fatalf("where nobody else is recommended: got %v, timeline %s", got, f.actions(name))
	}
	if list, err := f.ListClaimableReferrals(f.other, &referralv1.ListClaimableReferralsRequest{}); err != nil || len(list.GetReferrals()) != 1 {
		t.Errorf("claimable: %v, %v", list, err)
	}
	third := then.Add(6 * day)
	f.at(third.Add(-day))
	f.at(third)
	mailed("stanna", 3)
	f.at(third.Add(tellEvery))
	mailed("stanna", 4)
	want := []string{"sent", "reminded", "overdue", "reassigned", "taken_away", "overdue", "unassigned", "taken_away", "overdue", "unanswered", "unanswered"}
	if got := f.published(name); !slices.Equal(got, want) {
		t.Errorf("events: got %v, want %v", got, want)
	}
	f.at(thursday.Add(giveUpAfter))
	if got = f.get(f.refer, name); got.GetState() != failed || !strings.Contains(got.GetStateReason(), "90 days") {
		t.Errorf("after 90 days: got %v", got)
	}
	mailed("stanna", 5)
}

// Whoever is asked is told at once, however the referral comes to be sent; nobody is told of a draft, nor of one that any may claim.
func TestWhoIsAskedIsTold(t *testing.T) {
	t.Parallel()
	f, box := setupMail(t)
	told := func(n int, name string) {
		t.Helper()
		got := box.Wait(t, "hopehouse@care.test", n)
		if m := got[len(got)-1]; len(got) != n || m.Subject != "A referral has come to you" || !strings.Contains(m.Text, name) {
			t.Errorf("%d e-mails, the last %q: %s", len(got), m.Subject, m.Text)
		}
	}
	draft := func(who string) *referralv1.Referral {
		t.Helper()
		r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral(other(who), func(r *referralv1.Referral) { r.OwnerOrganization = f.nonprofit })})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	f.send(other("anyone"), func(r *referralv1.Referral) { r.RequestedGroup = "" })
	first, second := draft("a"), draft("b")
	r := f.send(func(r *referralv1.Referral) { r.Urgency = referralv1.Referral_STAT })
	told(1, r.GetName())
	if _, err := f.SendReferral(f.refer, &referralv1.SendReferralRequest{Name: first.GetName()}); err != nil {
		t.Fatal(err)
	}
	told(2, first.GetName())
	if _, err := f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{Send: true, Referral: &referralv1.Referral{Name: second.GetName(), Distress: proto.Int32(3)}}); err != nil {
		t.Fatal(err)
	}
	told(3, second.GetName())
	if _, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: r.GetName(), Reason: referralv1.Referral_NO_CAPACITY}); err != nil {
		t.Fatal(err)
	}
	again, err := f.process.ReferAgain(f.refer, &referralv1.ReferAgainRequest{Name: r.GetName(), RequestedGroup: f.group, Consent: f.referral().GetConsent()})
	if err != nil {
		t.Fatal(err)
	}
	told(4, again.GetName())
}

// A deadline ends it all, and whoever acts in time is left alone.
func TestDeadlineAndAnswers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.newGroup(f.other)
	f.CatchUp()
	limited := f.send(func(r *referralv1.Referral) { r.Deadline = timestamppb.New(thursday.Add(5*day + time.Hour)) })
	if limited.GetReassignTime() != nil {
		t.Errorf("a referral that has failed by then is to be passed on at %v", limited.GetReassignTime().AsTime())
	}
	taken := f.accept(f.send(other("b")))
	f.at(thursday.Add(5 * day))
	f.at(thursday.Add(5*day + time.Hour))
	if got := f.get(f.refer, limited.GetName()); got.GetState() != failed {
		t.Errorf("past its deadline: got %v, timeline %s", got, f.actions(limited.GetName()))
	}
	if got := f.actions(taken.GetName()); got != "SEND ACCEPT" {
		t.Errorf("answered in time: %s", got)
	}
	// What is accepted and then forgotten is not taken away: its hospital is told.
	f.at(thursday.Add(14 * day))
	f.at(thursday.Add(16 * day))
	if got, now := f.actions(taken.GetName()), f.get(f.receive, taken.GetName()); !strings.HasSuffix(got, "MISS_DUE_TIME TELL_REFERRER") || now.GetState() != accepted {
		t.Errorf("forgotten: %s, %v", got, now)
	}
}

// A request to cancel that nobody answers is granted where she never came; a draft that nobody sends is withdrawn.
func TestSilenceEndsWhatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.weekly(f.group)
	never, came := f.seated(), f.seated(other("b"))
	f.await(never.GetName(), scheduled)
	at := f.await(came.GetName(), scheduled)
	f.Clock.Set(at.GetFirstSessionTime().AsTime().Add(time.Hour))
	f.attend(at.GetFirstSession(), came.GetMembership(), schedulingv1.Attendance_PRESENT)
	f.await(came.GetName(), engaged)
	draft, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(other("d")), Draft: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*referralv1.Referral{never, came} {
		if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
	asked := f.Clock.Now()
	f.at(asked.Add(3 * day))
	f.at(asked.Add(5 * day))
	if got := f.await(never.GetName(), cancelled); got.GetStateReason() == "" {
		t.Errorf("who never came: got %v", got)
	}
	if got := f.get(f.refer, came.GetName()); got.GetState() != cancelRequested || !strings.HasSuffix(f.actions(came.GetName()), "MISS_DUE_TIME TELL_REFERRER") {
		t.Errorf("who came: got %v, timeline %s", got.GetState(), f.actions(came.GetName()))
	}
	f.Clock.Advance(time.Minute)
	f.eventually(func() error {
		m, err := f.membership.GetMembership(f.receive, &membershipv1.GetMembershipRequest{Name: never.GetMembership()})
		if err == nil && m.GetState() != membershipv1.Membership_ENDED {
			err = fmt.Errorf("the seat is not given back: %v", m)
		}
		return err
	})
	f.at(asked.Add(91 * day))
	if got := f.get(f.refer, draft.GetName()); got.GetState() != cancelled || got.GetStateReason() == "" {
		t.Errorf("the draft: got %v", got)
	}
}

// The referrer gives it to somebody else itself: at once, and to nobody who cannot have it.
func TestAssignReferral(t *testing.T) {
	t.Parallel()
	f := setup(t)
	elsewhere := f.newGroup(f.other)
	r := f.send()
	if _, err := f.messages.CreateReferralMessage(f.receive, &referralv1.CreateReferralMessageRequest{Parent: r.GetName(), Message: &referralv1.ReferralMessage{Text: written}}); err != nil {
		t.Fatal(err)
	}
	for want, req := range map[string]*referralv1.AssignReferralRequest{
		"FailedPrecondition ALREADY_OWNED":   {RequestedGroup: f.group},
		"InvalidArgument owner_organization": {OwnerOrganization: f.otherHospital},
		"Aborted ETAG_MISMATCH":              {OwnerOrganization: f.otherNonprofit, Etag: `"99"`},
	} {
		req.Name = r.GetName()
		if _, err := f.process.AssignReferral(f.refer, req); errText(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := f.process.AssignReferral(f.receive, &referralv1.AssignReferralRequest{Name: r.GetName(), RequestedGroup: elsewhere}); errText(err) != "PermissionDenied WRONG_PARTY" {
		t.Errorf("by the owner: got %v", err)
	}
	got, err := f.process.AssignReferral(f.refer, &referralv1.AssignReferralRequest{Name: r.GetName(), RequestedGroup: elsewhere, Note: "Please take her"})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetOwnerOrganization() != f.otherNonprofit || got.GetRequestedGroup() != elsewhere || !slices.Equal(got.GetPastOwnerOrganizations(), []string{f.nonprofit}) {
		t.Errorf("got %v", got)
	}
	if list, err := f.messages.ListReferralMessages(f.other, &referralv1.ListReferralMessagesRequest{Parent: r.GetName()}); err != nil || len(list.GetMessages()) != 0 {
		t.Errorf("the new owner reads what was written before: %v, %v", list, err)
	}
	open, err := f.process.AssignReferral(f.refer, &referralv1.AssignReferralRequest{Name: r.GetName()})
	if err != nil || open.GetOwnerOrganization() != "" {
		t.Fatalf("to whoever claims it: %v, %v", open, err)
	}
	if _, err := f.ClaimReferral(f.receive, &referralv1.ClaimReferralRequest{Name: r.GetName()}); err != nil {
		t.Errorf("claim: %v", err)
	}
	if _, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: r.GetName(), Reason: referralv1.Referral_NO_CAPACITY}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.process.AssignReferral(f.refer, &referralv1.AssignReferralRequest{Name: r.GetName(), RequestedGroup: elsewhere}); errText(err) != "FailedPrecondition ILLEGAL_TRANSITION" {
		t.Errorf("after it was declined: got %v", err)
	}
}

// second returns the error of a call.
func second[T any](_ T, err error) error { return err }

// Who has said to whom she may be shown is passed on to nobody else: it can be claimed, and her hospital is told.
func TestPassedOnToWhomSheNamesOnly(t *testing.T) {
	t.Parallel()
	f, _ := setupMail(t)
	f.newGroup(f.other)
	f.CatchUp()
	r := f.send(func(r *referralv1.Referral) {
		r.OwnerOrganization, r.Consent.Recipients = f.nonprofit, []string{f.nonprofit}
	})
	f.at(thursday.Add(5 * day))
	f.at(thursday.Add(6 * day))
	if got := f.get(f.refer, r.GetName()); got.GetOwnerOrganization() != "" || got.GetState() != sent {
		t.Errorf("she named %s alone, and it is with %q: %s", f.nonprofit, got.GetOwnerOrganization(), f.actions(r.GetName()))
	}
}

// A group of an organization that is not known is passed over, and keeps no referral from the next one.
func TestUnknownOrganizationIsPassedOver(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.newGroup(suitetest.Client(t.Context(), "organizations/"+uuid.NewString(), "groups.write"))
	elsewhere := f.newGroup(f.other)
	f.CatchUp()
	r := f.send()
	due := thursday.Add(5 * day)
	f.at(due)
	f.at(due.Add(day))
	if got := f.get(f.refer, r.GetName()); got.GetRequestedGroup() != elsewhere {
		t.Errorf("got %v, timeline %s", got, f.actions(r.GetName()))
	}
}

// A referral whose next organization cannot be found out goes to whoever claims it, after an hour.
func TestPassedOnWithoutTheDirectory(t *testing.T) {
	t.Parallel()
	conn, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	f := setup(t, func(s *server) { s.directory = groupsv1.NewDirectoryServiceClient(conn) })
	r := f.send()
	passed := thursday.Add(6 * day)
	f.at(thursday.Add(5 * day))
	failed := 0
	for f.Clock.Set(passed); f.Clock.Now().Before(passed.Add(findFor)); f.Clock.Advance(putOff) {
		if err := f.srv.sweepDue(f.system()); err != nil {
			failed++
		}
	}
	if got := f.get(f.refer, r.GetName()); got.GetOwnerOrganization() != f.nonprofit || failed == 0 {
		t.Fatalf("after %d failures within the hour: got %v", failed, got)
	}
	f.at(passed.Add(findFor))
	if got := f.get(f.refer, r.GetName()); got.GetOwnerOrganization() != "" || got.GetState() != sent || f.actions(r.GetName()) != "SEND MISS_DUE_TIME UNASSIGN" {
		t.Errorf("after an hour: got %v, timeline %s", got, f.actions(r.GetName()))
	}
}

// However many groups of who has had the referral suit her better, it goes on to the next organization.
func TestOwnerOfManyGroupsLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for range candidates + 1 {
		f.newGroup(f.receive)
	}
	elsewhere := f.newGroup(f.other, func(g *groupsv1.Group) { g.SideEffects = nil })
	f.CatchUp()
	r := f.send()
	due := thursday.Add(5 * day)
	f.at(due)
	f.at(due.Add(day))
	if got := f.get(f.refer, r.GetName()); got.GetRequestedGroup() != elsewhere {
		t.Errorf("got %v, timeline %s", got, f.actions(r.GetName()))
	}
}
