package referral

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// One referral closes its loop: sent, accepted, seated, scheduled, attended, outcome reported back.
func TestReferralClosesItsLoop(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.weekly(f.group)
	first := f.sessions(f.group)[0]

	r := f.send()
	if r.GetState() != sent || r.GetTaskStatus() != "requested" || r.GetBserStatus() != "received" || r.GetBserBusinessStatus() != "2.0" || r.GetServiceRequestStatus() != "active" {
		t.Errorf("sent: got %v", r)
	}
	if r.GetOwnerOrganization() != f.nonprofit || r.GetOrganization() != f.hospital || r.GetAwaiting() != receiver || r.GetDueTime().AsTime() != thursday.Add(5*day) {
		t.Errorf("sent: got owner %s, awaiting %s until %v", r.GetOwnerOrganization(), r.GetAwaiting(), r.GetDueTime().AsTime())
	}
	stored := f.get(f.refer, r.GetName())
	if stored.GetChangeTime() == nil {
		t.Error("what is stored has no time of change")
	}
	if stored.ChangeTime = nil; !proto.Equal(r, stored) {
		t.Errorf("stored: got %v, want %v", stored, r)
	}

	f.Clock.Advance(time.Hour)
	got, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), FillerNumber: "F-9", FillerSystem: "https://puentes.example.org/orders", Etag: r.GetEtag(), Note: "Welcome"})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetState() != accepted || got.GetTaskStatus() != "accepted" || got.GetGroup() != f.group || got.GetMembership() == "" || got.GetFillerNumber() != "F-9" ||
		got.GetFillerSystem() != "https://puentes.example.org/orders" || got.GetPlacerSystem() != orders {
		t.Errorf("accepted: got %v", got)
	}
	if got.GetSubject().GetFamilyName() != familyName {
		t.Errorf("the receiver sees %v", got.GetSubject())
	}
	m, err := f.membership.GetMembership(f.receive, &membershipv1.GetMembershipRequest{Name: got.GetMembership()})
	if err != nil {
		t.Fatal(err)
	}
	if m.GetReferral() != r.GetName() || m.GetState() != membershipv1.Membership_APPROVED_PENDING_GUIDELINES {
		t.Errorf("membership: got %v", m)
	}

	f.acknowledge(got.GetMembership())
	at := f.await(r.GetName(), scheduled)
	if at.GetFirstSession() != first.GetName() || !at.GetFirstSessionTime().AsTime().Equal(first.GetStartTime().AsTime()) || at.GetBserBusinessStatus() != "5.1.1" {
		t.Errorf("scheduled: got %v, want %v", at, first)
	}

	f.Clock.Set(first.GetStartTime().AsTime().Add(time.Hour))
	f.attend(first.GetName(), got.GetMembership(), schedulingv1.Attendance_PRESENT)
	at = f.await(r.GetName(), engaged)
	if at.GetSessionsAttended() != 1 || at.GetFirstAttendedTime().AsTime() != first.GetStartTime().AsTime() {
		t.Errorf("engaged: got %v", at)
	}

	done, err := f.CompleteReferral(f.receive, &referralv1.CompleteReferralRequest{Name: r.GetName(), Outcome: &referralv1.Referral_Outcome{
		Note: "She comes every week.", Helped: referralv1.Referral_Outcome_YES, DistressAfter: proto.Int32(2),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if done.GetState() != completed || done.GetServiceRequestStatus() != "completed" || done.GetAwaiting() != nobody || done.GetDueTime() != nil {
		t.Errorf("completed: got %v", done)
	}
	o := f.get(f.refer, r.GetName()).GetOutcome()
	want := &referralv1.Referral_Outcome{Note: "She comes every week.", Helped: referralv1.Referral_Outcome_YES, DistressAfter: proto.Int32(2), SessionsAttended: 1, DistressChange: proto.Int32(-3)}
	if o.GetTimeToAcceptance().AsDuration() != time.Hour || o.GetTimeToFirstSession().AsDuration() != first.GetStartTime().AsTime().Sub(thursday) {
		t.Errorf("outcome: got %v and %v", o.GetTimeToAcceptance().AsDuration(), o.GetTimeToFirstSession().AsDuration())
	}
	o.TimeToAcceptance, o.TimeToFirstSession = nil, nil
	if !proto.Equal(o, want) {
		t.Errorf("the hospital reads the outcome %v, want %v", o, want)
	}

	var story []string
	for _, e := range f.timeline(r.GetName()) {
		story = append(story, strings.Join([]string{e.GetParty().String(), e.GetAction().String(), e.GetFromState().String(), e.GetToState().String()}, " "))
	}
	if want := []string{
		"REFERRER SEND DRAFT SENT", "RECEIVER ACCEPT SENT ACCEPTED", "SYSTEM SCHEDULE ACCEPTED SCHEDULED",
		"SYSTEM RECORD_ENGAGEMENT SCHEDULED ENGAGED", "RECEIVER COMPLETE ENGAGED COMPLETED",
	}; !slices.Equal(story, want) {
		t.Errorf("timeline: got\n%s", strings.Join(story, "\n"))
	}
	tl := f.timeline(r.GetName())
	if tl[0].GetOrganization() != f.hospital || tl[0].GetActor() != "apiClients/test" || tl[1].GetNote() != "Welcome" || tl[2].GetActor() != "scheduling" || tl[3].GetSession() != first.GetName() {
		t.Errorf("timeline: got %v", tl)
	}
	if got, want := f.published(r.GetName()), []string{"sent", "accepted", "scheduled", "engaged", "completed"}; !slices.Equal(got, want) {
		t.Errorf("events: got %v, want %v", got, want)
	}
}

// The group is full: the person waits, gets the seat that another leaves, and goes on from there.
func TestWaitlistAndPromotion(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.weekly(f.group)
	one := f.seated()
	f.seated(other("a"))
	waits := f.accept(f.send(other("b")))
	if waits.GetState() != waitlisted || waits.GetTaskStatus() != "on-hold" || waits.GetBserBusinessStatus() != "3.0" || waits.GetStateReason() == "" {
		t.Fatalf("got %v", waits)
	}
	if got := f.actions(waits.GetName()); got != "SEND ACCEPT WAITLIST" {
		t.Errorf("timeline: got %s", got)
	}
	f.await(one.GetName(), scheduled)
	if _, err := f.membership.EndMembership(f.receive, &membershipv1.EndMembershipRequest{Name: one.GetMembership(), Reason: membershipv1.Membership_MOVED_ON}); err != nil {
		t.Fatal(err)
	}
	f.eventually(func() error {
		if n := query[int](f, `SELECT count(*)::int FROM referrals WHERE membership_state = 8`); n != 1 {
			return fmt.Errorf("%d referrals know of the offer, want 1", n)
		}
		return nil
	})
	if got := f.get(f.receive, waits.GetName()); got.GetState() != waitlisted {
		t.Errorf("a seat is offered, and nobody has accepted it: got %s", got.GetState())
	}
	if _, err := f.membership.AcceptOffer(f.receive, &membershipv1.AcceptOfferRequest{Name: waits.GetMembership()}); err != nil {
		t.Fatal(err)
	}
	if got := f.await(waits.GetName(), accepted); got.GetStateReason() != "" {
		t.Errorf("still says why it waited: %q", got.GetStateReason())
	}
	f.acknowledge(waits.GetMembership())
	f.await(waits.GetName(), scheduled)
	f.eventually(func() error {
		if got := f.actions(one.GetName()); got != "SEND ACCEPT SCHEDULE END_MEMBERSHIP" {
			return fmt.Errorf("timeline of the one who left: got %s", got)
		}
		return nil
	})
	if got := f.get(f.refer, one.GetName()); got.GetState() != scheduled || got.GetAwaiting() != receiver || got.GetDueTime().AsTime().After(f.Clock.Now().Add(attentionWithin)) {
		t.Errorf("the receiver is not told: %v", got)
	}
}

// other makes the referral one of another person.
func other(who string) func(*referralv1.Referral) {
	return func(r *referralv1.Referral) {
		r.Subject.Identifiers[0].Value = who
		r.Subject.GivenName = who
	}
}
