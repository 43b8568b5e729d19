package referral

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/referral/match"
)

// Crisis lines are told in the first of the person's languages that Cairn speaks, else in English.
func TestCrisisLinesInHerLanguage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for want, speaks := range map[string][]string{"es": {"vi", "es-MX", "en"}, "de": {"de", "fr"}, "en": {"vi"}} {
		r := f.send(other(want), func(r *referralv1.Referral) { r.SelfHarmRisk, r.Needs.Languages = true, speaks })
		lines := match.CrisisLines("US", want)
		if got := r.GetCrisisResources(); len(got) != len(lines) || !proto.Equal(got[0], lines[0]) {
			t.Errorf("who speaks %v is told %v, want %v", speaks, got, lines)
		}
	}
}

// A referral that tells of danger brings crisis lines and a concern with an owner and a due time, before any group has taken her; it
// is told again until it is closed with an outcome.
func TestConcernOfAReferral(t *testing.T) {
	t.Parallel()
	f, box := setupMail(t)
	calm := f.send(other("calm"), func(r *referralv1.Referral) { r.Distress = proto.Int32(7) })
	if calm.GetConcern() != "" || len(calm.GetCrisisResources()) != 0 {
		t.Errorf("distress of 7: got %v", calm)
	}
	r := f.send(func(r *referralv1.Referral) { r.SelfHarmRisk = true })
	name := strings.Replace(r.GetName(), "referrals/", "referralConcerns/", 1)
	if r.GetConcern() != name || len(r.GetCrisisResources()) == 0 || r.GetCrisisResources()[0].GetPhone() != "988" {
		t.Fatalf("self-harm: got %v", r)
	}
	if seen := f.get(f.receive, r.GetName()); seen.GetConcern() != "" || len(seen.GetCrisisResources()) != 0 {
		t.Errorf("the owner sees %v", seen)
	}
	got, err := f.concerns.GetReferralConcern(f.refer, &referralv1.GetReferralConcernRequest{Name: name})
	if err != nil || got.GetKind() != referralv1.ReferralConcern_SELF_HARM_RISK || got.GetState() != referralv1.ReferralConcern_OPEN || got.GetDueTime().AsTime() != thursday.Add(time.Hour) {
		t.Fatalf("got %v, %v", got, err)
	}
	for who, ctx := range map[string]error{
		"owner":    second(f.concerns.GetReferralConcern(f.receive, &referralv1.GetReferralConcernRequest{Name: name})),
		"stranger": second(f.concerns.CloseReferralConcern(f.strange, &referralv1.CloseReferralConcernRequest{Name: name, Outcome: referralv1.ReferralConcern_UNFOUNDED})),
	} {
		if errText(ctx) != "NotFound NOT_FOUND" {
			t.Errorf("%s: got %v", who, ctx)
		}
	}
	sweep := func() {
		t.Helper()
		for range 2 {
			if err := f.srv.sweepConcerns(f.system()); err != nil {
				t.Fatal(err)
			}
		}
	}
	sweep()
	box.Wait(t, "stanna@care.test", 1)
	f.Clock.Advance(time.Hour)
	sweep()
	for _, mail := range box.Wait(t, "stanna@care.test", 2) {
		if strings.Contains(mail.Raw, familyName) || !strings.Contains(mail.Text, r.GetName()) {
			t.Errorf("the e-mail says %s", mail.Raw)
		}
	}
	if got, err = f.concerns.GetReferralConcern(f.refer, &referralv1.GetReferralConcernRequest{Name: name}); err != nil || got.GetReminders() != 1 {
		t.Errorf("overdue: got %v, %v", got, err)
	}
	if got, err = f.concerns.AcknowledgeReferralConcern(f.refer, &referralv1.AcknowledgeReferralConcernRequest{Name: name, Etag: got.GetEtag()}); err != nil ||
		got.GetState() != referralv1.ReferralConcern_ACKNOWLEDGED || got.GetDueTime().AsTime() != f.Clock.Now().Add(day) {
		t.Errorf("acknowledged: got %v, %v", got, err)
	}
	if _, err := f.concerns.AcknowledgeReferralConcern(f.refer, &referralv1.AcknowledgeReferralConcernRequest{Name: name}); errText(err) != "FailedPrecondition ILLEGAL_TRANSITION" {
		t.Errorf("twice: got %v", err)
	}
	// Who has taken it up has a day to close it, whatever it is, and then another.
	for i, after := range []time.Duration{day - time.Minute, time.Minute, time.Hour, day - time.Hour} {
		f.Clock.Advance(after)
		sweep()
		want := []int32{1, 2, 2, 3}[i]
		if got, err = f.concerns.GetReferralConcern(f.refer, &referralv1.GetReferralConcernRequest{Name: name}); err != nil || got.GetReminders() != want {
			t.Errorf("taken up and not closed: got %v, %v, want %d reminders", got, err, want)
		}
	}
	if got, err = f.concerns.CloseReferralConcern(f.refer, &referralv1.CloseReferralConcernRequest{Name: name, Outcome: referralv1.ReferralConcern_SUPPORTED, Note: written}); err != nil ||
		got.GetOutcomeNote() != written || got.GetDueTime() != nil || got.GetClosedBy() == "" {
		t.Errorf("closed: got %v, %v", got, err)
	}
	if _, err := f.concerns.CloseReferralConcern(f.refer, &referralv1.CloseReferralConcernRequest{Name: name, Outcome: referralv1.ReferralConcern_UNFOUNDED}); errText(err) != "FailedPrecondition ILLEGAL_TRANSITION" {
		t.Errorf("closed twice: got %v", err)
	}
	f.Clock.Advance(3 * day)
	sweep()
	list, err := f.concerns.ListReferralConcerns(f.refer, &referralv1.ListReferralConcernsRequest{})
	if err != nil || len(list.GetConcerns()) != 1 || list.GetConcerns()[0].GetReminders() != 3 || list.GetConcerns()[0].GetOutcomeNote() != "" {
		t.Errorf("listed: got %v, %v", list, err)
	}
	if open, err := f.concerns.ListReferralConcerns(f.refer, &referralv1.ListReferralConcernsRequest{Open: true}); err != nil || len(open.GetConcerns()) != 0 {
		t.Errorf("open: got %v, %v", open, err)
	}
	if leaked := query[int](f, `SELECT count(*)::int FROM outbox WHERE type LIKE 'care.cairn.referral.concern.%' AND (data LIKE '%SELF_HARM%' OR data LIKE '%drive%')`); leaked != 0 {
		t.Errorf("%d events say what the concern is", leaked)
	}
}

// A draft raises it too, when it comes to say so, and once.
func TestConcernOfADraft(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(), Draft: true})
	if err != nil || r.GetConcern() != "" {
		t.Fatalf("got %v, %v", r, err)
	}
	for range 2 {
		r, err = f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{Referral: &referralv1.Referral{Name: r.GetName(), Distress: proto.Int32(9)}})
		if err != nil || r.GetConcern() == "" {
			t.Fatalf("got %v, %v", r, err)
		}
	}
	got, err := f.concerns.GetReferralConcern(f.refer, &referralv1.GetReferralConcernRequest{Name: r.GetConcern()})
	if err != nil || got.GetKind() != referralv1.ReferralConcern_DISTRESS || got.GetDueTime().AsTime() != thursday.Add(day) || got.GetEtag() != `"1"` {
		t.Errorf("got %v, %v", got, err)
	}
}

// A draft that comes to tell of a risk of self-harm has the referrer act within the hour, whatever became of its concern before.
func TestConcernGrowsWorse(t *testing.T) {
	t.Parallel()
	f, box := setupMail(t)
	acknowledge := func(name string) error {
		return second(f.concerns.AcknowledgeReferralConcern(f.refer, &referralv1.AcknowledgeReferralConcernRequest{Name: name}))
	}
	closing := func(name string) error {
		return second(f.concerns.CloseReferralConcern(f.refer, &referralv1.CloseReferralConcernRequest{Name: name, Outcome: referralv1.ReferralConcern_SUPPORTED, Note: written}))
	}
	set := func(name string, distress int32, selfHarm, send bool) *referralv1.Referral {
		t.Helper()
		r, err := f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{
			Referral: &referralv1.Referral{Name: name, Distress: proto.Int32(distress), SelfHarmRisk: selfHarm}, Send: send,
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"distress", "self_harm_risk"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	told := 0
	for what, before := range map[string]func(name string) error{"open": nil, "acknowledged": acknowledge, "closed": closing} {
		r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{
			Draft: true, Referral: f.referral(other(what), func(r *referralv1.Referral) { r.Distress = proto.Int32(8) }),
		})
		if err != nil {
			t.Fatal(err)
		}
		concern := r.GetConcern()
		if before != nil {
			if err := before(concern); err != nil {
				t.Fatal(err)
			}
		}
		f.Clock.Advance(time.Minute)
		if r = set(r.GetName(), 8, true, true); r.GetState() != sent {
			t.Fatalf("%s: got %v", what, r)
		}
		got, err := f.concerns.GetReferralConcern(f.refer, &referralv1.GetReferralConcernRequest{Name: concern})
		if err != nil || got.GetKind() != referralv1.ReferralConcern_SELF_HARM_RISK || got.GetState() != referralv1.ReferralConcern_OPEN ||
			got.GetDueTime().AsTime() != f.Clock.Now().Add(time.Hour) || got.GetAcknowledgedBy() != "" || got.GetOutcome() != 0 || got.GetOutcomeNote() != "" || got.GetCloseTime() != nil {
			t.Errorf("%s: got %v, %v", what, got, err)
		}
		if n := query[int](f, `SELECT count(*)::int FROM outbox WHERE subject = $1 AND type LIKE '%.concern.raised.v1'`, concern); n != 2 {
			t.Errorf("%s: told as raised %d times, want twice", what, n)
		}
		if err := f.srv.sweepConcerns(f.system()); err != nil {
			t.Fatal(err)
		}
		told++
		box.Wait(t, "stanna@care.test", told)
	}

	// What is not new opens nothing; what is, does.
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{
		Draft: true, Referral: f.referral(other("anew"), func(r *referralv1.Referral) { r.SelfHarmRisk = true }),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := closing(r.GetConcern()); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		distress int32
		selfHarm bool
		want     referralv1.ReferralConcern_State
	}{
		{7, true, referralv1.ReferralConcern_CLOSED}, {7, false, referralv1.ReferralConcern_CLOSED}, {8, false, referralv1.ReferralConcern_OPEN},
	} {
		set(r.GetName(), c.distress, c.selfHarm, false)
		if got, err := f.concerns.GetReferralConcern(f.refer, &referralv1.GetReferralConcernRequest{Name: r.GetConcern()}); err != nil || got.GetState() != c.want {
			t.Errorf("%d: got %v, %v, want %s", i, got, err, c.want)
		}
	}
}

// The group that takes her knows of a concern that is open when it accepts, once, as far as her consent covers it; the referrer's own
// stays open.
func TestOpenConcernIsHandedOver(t *testing.T) {
	t.Parallel()
	f := setup(t)
	safety := membershipv1.NewSafetyServiceClient(f.Conn("membership"))
	placing := membershipv1.NewMembershipServiceClient(f.ConnAs(service, "membership"))
	acute := func(r *referralv1.Referral) { r.SelfHarmRisk = true }
	for what, c := range map[string]struct {
		edit  func(*referralv1.Referral)
		close bool
		want  membershipv1.SafetyConcern_Kind
	}{
		"self-harm":     {edit: acute, want: membershipv1.SafetyConcern_SELF_HARM_RISK},
		"distress":      {edit: func(r *referralv1.Referral) { r.Distress = proto.Int32(8) }, want: membershipv1.SafetyConcern_DISTRESS},
		"calm":          {edit: func(*referralv1.Referral) {}},
		"closed before": {edit: acute, close: true},
		"without her asking": {edit: func(r *referralv1.Referral) {
			acute(r)
			r.Consent.Share = []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME}
		}},
	} {
		group := f.newGroup(f.receive)
		r := f.send(other(what), func(r *referralv1.Referral) { r.RequestedGroup = group }, c.edit)
		if c.close {
			if _, err := f.concerns.CloseReferralConcern(f.refer, &referralv1.CloseReferralConcernRequest{Name: r.GetConcern(), Outcome: referralv1.ReferralConcern_SUPPORTED}); err != nil {
				t.Fatal(err)
			}
		}
		in := f.accept(r)
		// Membership is asked again, as after a lost answer.
		if _, err := placing.PlaceReferral(f.system(), &membershipv1.PlaceReferralRequest{
			Referral: r.GetName(), Group: group, OpenConcern: membershipv1.SafetyConcern_DISTRESS, Subject: &membershipv1.ReferralSubject{Member: &membershipv1.Member{Alias: "New member", Role: membershipv1.Member_SURVIVOR}},
		}); err != nil {
			t.Fatal(err)
		}
		list, err := safety.ListSafetyConcerns(f.receive, &membershipv1.ListSafetyConcernsRequest{Group: group})
		if err != nil {
			t.Fatal(err)
		}
		if c.want == 0 {
			if len(list.GetSafetyConcerns()) != 0 {
				t.Errorf("%s: the group is told %v", what, list)
			}
			continue
		}
		if len(list.GetSafetyConcerns()) != 1 {
			t.Fatalf("%s: %d concerns, want one", what, len(list.GetSafetyConcerns()))
		}
		got := list.GetSafetyConcerns()[0]
		if got.GetKind() != c.want || got.GetMembership() != in.GetMembership() || got.GetRaisedBy() != r.GetName() || got.GetSeverity() != membershipv1.SafetyConcern_HIGH ||
			got.GetState() != membershipv1.SafetyConcern_OPEN || got.GetActor() == 0 || got.GetDueTime().AsTime() != f.Clock.Now().Add(day) || got.GetReferral() != "" {
			t.Errorf("%s: got %v", what, got)
		}
		if words, err := safety.GetSafetyConcern(f.receive, &membershipv1.GetSafetyConcernRequest{Name: got.GetName()}); err != nil || words.GetDescription() == "" {
			t.Errorf("%s: got %v, %v", what, words, err)
		}
		if own, err := f.concerns.GetReferralConcern(f.refer, &referralv1.GetReferralConcernRequest{Name: r.GetConcern()}); err != nil || own.GetState() != referralv1.ReferralConcern_OPEN {
			t.Errorf("%s: the referrer's own: %v, %v", what, own, err)
		}
	}
}
