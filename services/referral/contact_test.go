package referral

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// correct changes a field of the record of a referral's person.
func (f *fixture) correct(r *referralv1.Referral, field string, says *referralv1.Referral_Subject) {
	f.t.Helper()
	if _, err := f.patients().UpdatePatient(f.refer, &referralv1.UpdatePatientRequest{
		Patient: &referralv1.Patient{Name: r.GetPatient(), Subject: says}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"subject." + field}},
	}); err != nil {
		f.t.Fatalf("correct %s: %v", field, err)
	}
}

// quiet waits until the group knows that the person of a referral must not be contacted.
func (f *fixture) quiet(r *referralv1.Referral) {
	f.t.Helper()
	f.eventually(func() error {
		if !f.theMember(r).GetDoNotContact() {
			return fmt.Errorf("the group has not been told")
		}
		return nil
	})
}

// That somebody must not be contacted outlasts every correction of her record but one of just that, whoever has said it of her referral.
func TestACorrectionLeavesWhoMustNotBeContactedAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		say  func(*fixture, *referralv1.Referral)
	}{
		{"said by herself", func(f *fixture, r *referralv1.Referral) {
			member := &membershipv1.Member{Name: f.theMember(r).GetName(), DoNotContact: true}
			if _, err := f.membership.UpdateMember(f.receive, &membershipv1.UpdateMemberRequest{Member: member}); err != nil {
				f.t.Fatal(err)
			}
			f.eventually(func() error {
				if !f.get(f.refer, r.GetName()).GetSubject().GetDoNotContact() {
					return fmt.Errorf("her referral does not follow")
				}
				return nil
			})
		}},
		{"said by the hospital", func(f *fixture, r *referralv1.Referral) {
			if _, err := f.process.SetReferralContact(f.refer, &referralv1.SetReferralContactRequest{
				Name: r.GetName(), DoNotContact: true, ContactPreference: referralv1.Referral_Subject_CALL,
			}); err != nil {
				f.t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			r := f.seated()
			c.say(f, r)
			f.quiet(r)
			preferred := f.get(f.refer, r.GetName()).GetSubject().GetContactPreference()
			f.correct(r, "phone", &referralv1.Referral_Subject{Phone: "+18165550999"})
			got := f.get(f.refer, r.GetName()).GetSubject()
			if got.GetPhone() != "+18165550999" || !got.GetDoNotContact() || got.GetContactPreference() != preferred {
				t.Errorf("after another telephone number: got %v, want nothing else changed", got)
			}
			f.correct(r, "do_not_contact", &referralv1.Referral_Subject{}) // her record never said it: that is no change
			f.correct(r, "email", &referralv1.Referral_Subject{Email: "rosa@example.org"})
			if seen := f.get(f.receive, r.GetName()).GetSubject(); seen.GetPhone()+seen.GetEmail() != "" || !seen.GetDoNotContact() {
				t.Errorf("the owner sees %v", seen)
			}
			f.correct(r, "contact_preference", &referralv1.Referral_Subject{ContactPreference: referralv1.Referral_Subject_POST})
			if got := f.get(f.refer, r.GetName()).GetSubject(); !got.GetDoNotContact() || got.GetContactPreference() != referralv1.Referral_Subject_POST {
				t.Errorf("after another preference: got %v", got)
			}
			f.correct(r, "do_not_contact", &referralv1.Referral_Subject{DoNotContact: true})
			f.correct(r, "do_not_contact", &referralv1.Referral_Subject{})
			if seen := f.get(f.receive, r.GetName()).GetSubject(); seen.GetPhone() != "+18165550999" || seen.GetDoNotContact() {
				t.Errorf("taken back, the owner sees %v", seen)
			}
			if !f.theMember(r).GetDoNotContact() {
				t.Error("it is taken back in the group too")
			}
		})
	}
}

// That somebody must not be contacted is told of all of her referrals that have not ended, however her hospital comes to say it of her,
// and the groups that have her follow.
func TestWhoMustNotBeContactedIsToldOfEveryReferral(t *testing.T) {
	t.Parallel()
	quiet := func(r *referralv1.Referral) { r.Subject.DoNotContact = true }
	for _, c := range []struct {
		name string
		say  func(*fixture, *referralv1.Referral)
	}{
		{"of her record", func(f *fixture, r *referralv1.Referral) {
			f.correct(r, "do_not_contact", &referralv1.Referral_Subject{DoNotContact: true})
		}},
		{"by another referral", func(f *fixture, _ *referralv1.Referral) { f.send(quiet) }},
		{"by a draft", func(f *fixture, _ *referralv1.Referral) {
			draft, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral()})
			if err != nil {
				f.t.Fatal(err)
			}
			if _, err := f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{
				Referral:   &referralv1.Referral{Name: draft.GetName(), Subject: &referralv1.Referral_Subject{DoNotContact: true}},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"subject.do_not_contact"}},
			}); err != nil {
				f.t.Fatal(err)
			}
			if got := f.actions(draft.GetName()); got != "CREATE UPDATE" {
				f.t.Errorf("timeline of the draft: %s", got)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			placed, waits, another := f.seated(), f.send(), f.seated(other("b"))
			over := f.send()
			if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: over.GetName()}); err != nil {
				t.Fatal(err)
			}
			over = f.get(f.refer, over.GetName())
			c.say(f, placed)
			for _, r := range []*referralv1.Referral{placed, waits} {
				seen := f.get(f.receive, r.GetName()).GetSubject()
				if !seen.GetDoNotContact() || seen.GetPhone()+seen.GetEmail() != "" || seen.GetAddress() != nil || seen.GetGivenName() != givenName {
					t.Errorf("the owner of a referral sees %v", seen)
				}
				told := slices.Collect(func(yield func(string) bool) {
					for _, e := range f.published(r.GetName()) {
						if (e == "contact_changed" || e == "updated") && !yield(e) {
							return
						}
					}
				})
				if !slices.Equal(told, []string{"contact_changed"}) || !strings.HasSuffix(f.actions(r.GetName()), "CHANGE_CONTACT") {
					t.Errorf("told %v; timeline: %s", told, f.actions(r.GetName()))
				}
			}
			f.quiet(placed)
			if got := f.get(f.refer, over.GetName()); got.GetEtag() != over.GetEtag() {
				t.Errorf("one that has ended is changed: %v", got)
			}
			if f.get(f.refer, another.GetName()).GetSubject().GetDoNotContact() || f.theMember(another).GetDoNotContact() {
				t.Error("somebody else is not to be contacted")
			}
			// What is said again is not told again.
			f.send(quiet)
			if n := strings.Count(f.actions(placed.GetName()), "CHANGE_CONTACT"); n != 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}

// Referrals of older releases that are linked to the same person say alike that she must not be contacted, whichever of them said it.
func TestLinkedReferralsAgreeOnContact(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("the first says it: %t", first), func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			edit := func(r *referralv1.Referral) { r.Subject.DoNotContact = true }
			edits := [][]func(*referralv1.Referral){{other("b")}, {other("c"), edit}}
			if first {
				slices.Reverse(edits)
			}
			same := func(r *referralv1.Referral) { r.Subject.Identifiers = f.referral().GetSubject().GetIdentifiers() }
			var both [2]*referralv1.Referral
			for i, e := range edits {
				both[i] = f.send(append(e, same)...)
				query[int](f, `WITH gone AS (UPDATE referrals SET patient_id = NULL RETURNING 1), forgotten AS (DELETE FROM patients RETURNING 1) SELECT count(*)::int FROM gone, forgotten`)
			}
			if err := f.srv.linkPatients(f.system()); err != nil {
				t.Fatal(err)
			}
			for i, r := range both {
				if got := f.get(f.refer, r.GetName()); got.GetPatient() == "" || !got.GetSubject().GetDoNotContact() {
					t.Errorf("referral %d: %v", i, got)
				}
			}
		})
	}
}

// How somebody wants to be reached may change while she is being placed: she is placed with what is said then.
func TestContactChangedWhileBeingPlaced(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(*fixture, *referralv1.Referral){
		"of her record": func(f *fixture, r *referralv1.Referral) {
			f.correct(r, "do_not_contact", &referralv1.Referral_Subject{DoNotContact: true})
		},
		"of the referral": func(f *fixture, r *referralv1.Referral) {
			if _, err := f.process.SetReferralContact(f.refer, &referralv1.SetReferralContactRequest{Name: r.GetName(), DoNotContact: true}); err != nil {
				f.t.Fatal(err)
			}
		},
	} {
		for _, seated := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, seated already: %t", name, seated), func(t *testing.T) {
				t.Parallel()
				f, l := setupCut(t)
				r := f.send()
				l.cut(!seated, seated)
				if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName()}); errText(err) != "Unavailable UNAVAILABLE" {
					t.Fatalf("got %v", err)
				}
				say(f, r)
				l.cut(false, false)
				f.Clock.Advance(retryFirst)
				f.quiet(f.await(r.GetName(), accepted))
			})
		}
	}
}
