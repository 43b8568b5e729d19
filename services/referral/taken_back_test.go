package referral

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
)

const (
	itemName     = referralv1.Referral_Consent_NAME
	itemBirth    = referralv1.Referral_Consent_BIRTH_DATE
	itemContact  = referralv1.Referral_Consent_CONTACT
	itemClinical = referralv1.Referral_Consent_CLINICAL
)

// takeBack withdraws items of a referral's consent, all of it if none is named.
func (f *fixture) takeBack(r *referralv1.Referral, items ...referralv1.Referral_Consent_Item) {
	f.t.Helper()
	if _, err := f.consents.WithdrawReferralConsent(f.refer, &referralv1.WithdrawReferralConsentRequest{Name: r.GetName(), Items: items}); err != nil {
		f.t.Fatal(err)
	}
}

// toldOf waits until the group has taken in that something of a referral's consent was taken back, or that it has ended.
func (f *fixture) toldOf(r *referralv1.Referral) {
	f.t.Helper()
	event := query[uuid.UUID](f, `SELECT event_id FROM outbox WHERE subject = $1 AND type ~ '\.consent_(withdrawn|expired)\.v1$' ORDER BY id DESC LIMIT 1`, r.GetName())
	f.eventually(func() error {
		told := false
		b := f.DBs["membership"].Batch(f.system())
		b.Queue(`SELECT EXISTS (SELECT FROM event_inbox WHERE subscription = 'membership-consents' AND event_id = $1)`, event).
			QueryRow(func(row pgx.Row) error { return row.Scan(&told) })
		if err := f.DBs["membership"].Send(f.system(), b); err != nil {
			return err
		}
		if !told {
			return fmt.Errorf("the group has not been told")
		}
		return nil
	})
}

// recordOf returns what the group has of the person of a referral, without what changes by itself.
func (f *fixture) recordOf(r *referralv1.Referral) *membershipv1.Member {
	f.t.Helper()
	m := proto.CloneOf(f.theMember(r))
	m.Etag, m.UpdateTime = "", nil
	return m
}

// What the group has of somebody who has not joined yet came with her referral, and goes as she takes it back.
func TestWhatIsTakenBackGoesFromTheGroup(t *testing.T) {
	t.Parallel()
	noContact := func(m *membershipv1.Member) {
		m.Email, m.Phone, m.Area, m.PreferredChannel = "", "", nil, membershipv1.Member_CONTACT_CHANNEL_UNSPECIFIED
	}
	nothing := func(m *membershipv1.Member) {
		noContact(m)
		m.LegalName, m.BirthYear, m.Languages, m.CancerTypes, m.SuitableTimes = "", 0, nil, nil, nil
	}
	for _, c := range []struct {
		name  string
		items []referralv1.Referral_Consent_Item
		goes  func(*membershipv1.Member)
		after time.Duration
	}{
		{"her name", []referralv1.Referral_Consent_Item{itemName}, func(m *membershipv1.Member) { m.LegalName = "" }, 0},
		{"how she is reached", []referralv1.Referral_Consent_Item{itemContact}, noContact, 0},
		{"her age and her cancer", []referralv1.Referral_Consent_Item{itemBirth, itemClinical}, func(m *membershipv1.Member) { m.BirthYear, m.CancerTypes = 0, nil }, 0},
		{"all", nil, nothing, 0},
		{"all, when its time is over", nil, nothing, 2 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			r := f.accept(f.send(func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(thursday.Add(time.Hour)) }))
			want := f.recordOf(r)
			if want.GetLegalName() != givenName+" "+familyName || want.GetPhone() == "" || want.GetEmail() != address || want.GetBirthYear() != 1974 ||
				want.GetArea() == nil || len(want.GetCancerTypes()) == 0 || len(want.GetLanguages()) == 0 {
				t.Fatalf("before: the group has %v", want)
			}
			c.goes(want)
			f.Clock.Advance(c.after)
			f.takeBack(r, c.items...)
			f.toldOf(r)
			if got := f.recordOf(r); !proto.Equal(got, want) {
				t.Errorf("the group has %v, want %v", got, want)
			}
		})
	}
}

// A consent that ends by its own time takes out of the group's record what a withdrawal does, once, and a new one has an end of its own.
func TestWhatHasEndedGoesFromTheGroup(t *testing.T) {
	t.Parallel()
	f := setup(t)
	until := thursday.Add(time.Hour)
	r := f.accept(f.send(func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(until) }))
	later := f.accept(f.send(other("b"), func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(until.Add(time.Millisecond)) }))
	was, wasLater := f.recordOf(r), f.recordOf(later)
	sweep := func(at time.Time) {
		t.Helper()
		f.Clock.Set(at)
		for range 2 {
			if err := f.srv.sweepConsents(f.system()); err != nil {
				t.Fatal(err)
			}
		}
	}
	sweep(until.Add(-time.Microsecond))
	if got := f.actions(r.GetName()); strings.Contains(got, "EXPIRE_CONSENT") {
		t.Fatalf("before it ends: %s", got)
	}
	sweep(until)
	if got := f.actions(r.GetName()); strings.Count(got, "EXPIRE_CONSENT") != 1 {
		t.Errorf("when it has ended: %s", got)
	}
	f.toldOf(r)
	want := proto.CloneOf(was)
	want.Email, want.Phone, want.Area, want.PreferredChannel = "", "", nil, membershipv1.Member_CONTACT_CHANNEL_UNSPECIFIED
	want.LegalName, want.BirthYear, want.Languages, want.CancerTypes, want.SuitableTimes = "", 0, nil, nil, nil
	if got := f.recordOf(r); !proto.Equal(got, want) {
		t.Errorf("the group has %v, want %v", got, want)
	}
	if got := f.recordOf(later); !proto.Equal(got, wasLater) {
		t.Errorf("the group of whom the consent stands has %v, want %v", got, wasLater)
	}

	again := proto.CloneOf(r.GetConsent())
	again.ExpireTime = timestamppb.New(until.Add(2 * time.Hour))
	if _, err := f.consents.RenewReferralConsent(f.refer, &referralv1.RenewReferralConsentRequest{Name: r.GetName(), Consent: again}); err != nil {
		t.Fatal(err)
	}
	sweep(until.Add(time.Hour))
	if got := f.actions(r.GetName()); strings.Count(got, "EXPIRE_CONSENT") != 1 {
		t.Errorf("renewed: %s", got)
	}
	sweep(until.Add(2 * time.Hour))
	if got := f.actions(r.GetName()); strings.Count(got, "EXPIRE_CONSENT") != 2 {
		t.Errorf("when the new one has ended: %s", got)
	}
}

// Who has joined has a record that is between her and her group.
func TestWhatIsTakenBackStaysWhereSheHasJoined(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.seated()
	was := f.recordOf(r)
	// In a group of the same organization that she has been referred to as well.
	second := f.accept(f.send(func(r *referralv1.Referral) { r.RequestedGroup, r.PlacerNumber = f.newGroup(f.receive), "P-2" }))
	asked := f.accept(f.send(other("b"), func(r *referralv1.Referral) { r.RequestedGroup, r.PlacerNumber = f.newGroup(f.receive), "P-3" }))
	known := f.recordOf(asked)
	if _, err := f.membership.CreateMembership(f.receive, &membershipv1.CreateMembershipRequest{
		Member: known.GetName(), Group: f.newGroup(f.receive),
	}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		of   *referralv1.Referral
		want *membershipv1.Member
	}{
		"joined": {r, was}, "joined another": {second, was}, "asked by herself too": {asked, known},
	} {
		f.takeBack(c.of)
		f.toldOf(c.of)
		if got := f.recordOf(c.of); !proto.Equal(got, c.want) || got.GetPhone() == "" {
			t.Errorf("%s: the group has %v, want %v", name, got, c.want)
		}
	}
}

// What the group records when she allows it again stays, though what she had taken back is told again; and goes when she takes it
// back again.
func TestWhatIsTakenBackIsToldInOrder(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.accept(f.send())
	f.takeBack(r, itemContact)
	f.toldOf(r)
	if _, err := f.consents.RenewReferralConsent(f.refer, &referralv1.RenewReferralConsentRequest{Name: r.GetName(), Consent: &referralv1.Referral_Consent{
		GrantTime: timestamppb.New(f.Clock.Now()), Share: []referralv1.Referral_Consent_Item{itemName, itemContact},
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.membership.UpdateMember(f.receive, &membershipv1.UpdateMemberRequest{
		Member:     &membershipv1.Member{Name: f.theMember(r).GetName(), Phone: "+18165550177"},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"phone"}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := events.Replay(f.system(), f.DBs["membership"], "membership-consents"); err != nil {
		t.Fatal(err)
	}
	f.toldOf(r)
	if got := f.theMember(r); got.GetPhone() != "+18165550177" || got.GetLegalName() == "" {
		t.Errorf("told again, the group has %v", got)
	}
	f.takeBack(r, itemContact)
	f.toldOf(r)
	if got := f.theMember(r); got.GetPhone() != "" || got.GetLegalName() == "" {
		t.Errorf("taken back again, the group has %v", got)
	}
	// A renewal may be of less.
	if _, err := f.consents.RenewReferralConsent(f.refer, &referralv1.RenewReferralConsentRequest{Name: r.GetName(), Consent: &referralv1.Referral_Consent{
		GrantTime: timestamppb.New(f.Clock.Now()), Share: []referralv1.Referral_Consent_Item{itemContact},
	}}); err != nil {
		t.Fatal(err)
	}
	f.eventually(func() error {
		if got := f.theMember(r); got.GetLegalName() != "" {
			return fmt.Errorf("renewed without her name, the group has %v", got)
		}
		return nil
	})
}

// What was taken back while the group was just being told of her is gone once it has accepted.
func TestWhatIsTakenBackDuringAcceptanceGoesToo(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send()
	f.Clock.Advance(time.Minute)
	f.takeBack(r, itemContact)
	if _, err := f.srv.membership.PlaceReferral(auth.System(t.Context(), service), &membershipv1.PlaceReferralRequest{
		Referral: r.GetName(), Group: f.group, Subject: &membershipv1.ReferralSubject{Member: &membershipv1.Member{
			Role: membershipv1.Member_SURVIVOR, LegalName: givenName, Phone: "+18165550177",
		}},
	}); err != nil {
		t.Fatal(err)
	}
	r = f.accept(f.get(f.receive, r.GetName()))
	f.eventually(func() error {
		if got := f.theMember(r); got.GetPhone() != "" || got.GetLegalName() != givenName {
			return fmt.Errorf("the group has %v", got)
		}
		return nil
	})
}
