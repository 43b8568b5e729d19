package referral

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/internal/pgtest"
)

// A declined referral is sent again to somebody else, linked both ways; its consent goes along only if it still stands.
func TestReferAgain(t *testing.T) {
	t.Parallel()
	f, box := setupMail(t)
	elsewhere := f.newGroup(f.other)
	r := f.send()
	again := &referralv1.ReferAgainRequest{Name: r.GetName(), RequestedGroup: elsewhere, Note: "She would rather meet online"}
	if _, err := f.process.ReferAgain(f.refer, again); errText(err) != "FailedPrecondition ILLEGAL_TRANSITION" {
		t.Errorf("while it is SENT: got %v", err)
	}
	if _, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: r.GetName(), Reason: referralv1.Referral_NO_CAPACITY}); err != nil {
		t.Fatal(err)
	}
	box.Wait(t, "stanna@care.test", 1)
	if _, err := f.process.ReferAgain(f.receive, again); errText(err) != "PermissionDenied WRONG_PARTY" {
		t.Errorf("by the owner: got %v", err)
	}
	if _, err := f.process.ReferAgain(f.strange, again); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("by a stranger: got %v", err)
	}
	if _, err := f.process.ReferAgain(f.refer, again); errText(err) != "FailedPrecondition CONSENT_ENDED" || !strings.Contains(err.Error(), "ended with the referral") {
		t.Errorf("without a consent that stands: got %v", err)
	}
	consent := &referralv1.Referral_Consent{
		Share: []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME}, GrantTime: timestamppb.New(thursday), ExpireTime: timestamppb.New(thursday.Add(90 * day)),
	}
	again.Consent, again.RequestId = consent, "8d6f3c35-3a3e-4d3f-9c53-1f2f3b1d6b11"
	got, err := f.process.ReferAgain(f.refer, again)
	if err != nil {
		t.Fatal(err)
	}
	if got.GetState() != sent || got.GetOwnerOrganization() != f.otherNonprofit || got.GetPrevious() != r.GetName() || !proto.Equal(got.GetSubject(), r.GetSubject()) ||
		!proto.Equal(got.GetNeeds(), r.GetNeeds()) || got.GetDistress() != 5 || !proto.Equal(got.GetConsent(), consent) || got.GetPatient() != r.GetPatient() {
		t.Errorf("got %v", got)
	}
	if twice, err := f.process.ReferAgain(f.refer, again); err != nil || twice.GetName() != got.GetName() {
		t.Errorf("the same call twice: got %v, %v", twice, err)
	}
	before := f.get(f.refer, r.GetName())
	if before.GetNext() != got.GetName() || before.GetState() != rejected {
		t.Errorf("the one before: got %v", before)
	}
	if story := f.actions(r.GetName()); story != "SEND REJECT REFER_AGAIN" {
		t.Errorf("its timeline: %s", story)
	}
	if seen := f.get(f.other, got.GetName()); seen.GetPrevious() != "" || seen.GetSubject().GetGivenName() != givenName || seen.GetSubject().GetPhone() != "" {
		t.Errorf("the new owner sees %v", seen)
	}
	if seen := f.get(f.receive, r.GetName()); seen.GetNext() != "" {
		t.Errorf("who declined sees where she went: %v", seen.GetNext())
	}
	// An event goes to whom it names: both referrals together are for the referrer alone.
	if told := query[[]string](f, `SELECT coalesce(array_agg(subject || ' ' || type || ' ' || coalesce(data::jsonb->>'ownerOrganization', '')), '{}') FROM outbox
		WHERE data LIKE '%' || $1 || '%' AND data LIKE '%' || $2 || '%' AND subject LIKE 'referrals/%'`, r.GetName(), got.GetName()); !slices.Equal(told, []string{
		r.GetName() + " care.cairn.referral.referral.referred_again.v1 ",
	}) {
		t.Errorf("of both tell %q", told)
	}
	again.RequestId = ""
	if _, err := f.process.ReferAgain(f.refer, again); errText(err) != "FailedPrecondition REFERRED_AGAIN" {
		t.Errorf("a second time: got %v", err)
	}
	// The consent of the second says until when: it goes along to a third.
	if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: got.GetName()}); err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(time.Hour)
	third, err := f.process.ReferAgain(f.refer, &referralv1.ReferAgainRequest{Name: got.GetName(), Draft: true})
	if err != nil || third.GetState() != draft || !proto.Equal(third.GetConsent(), consent) || third.GetOwnerOrganization() != "" {
		t.Errorf("got %v, %v", third, err)
	}
}

// Of two that refer again at once, one does.
func TestReferredAgainOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send(func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(thursday.Add(90 * day)) })
	if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	const callers = 4
	answers := make(chan error, callers)
	for range callers {
		go func() {
			_, err := f.process.ReferAgain(f.refer, &referralv1.ReferAgainRequest{Name: r.GetName()})
			answers <- err
		}()
	}
	done := 0
	for range callers {
		switch err := <-answers; errText(err) {
		case "OK":
			done++
		case "FailedPrecondition REFERRED_AGAIN", "Aborted CHANGED_MEANWHILE":
		default:
			t.Errorf("got %v", err)
		}
	}
	if n := query[int](f, `SELECT count(*)::int FROM referrals WHERE previous_id IS NOT NULL`); n != 1 || done != 1 {
		t.Errorf("%d were told so and %d are there, want 1", done, n)
	}
}

// A person without identifiers is the same one when she is referred again.
func TestReferredAgainIsTheSamePatient(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send(func(r *referralv1.Referral) {
		r.Subject.Identifiers, r.Consent.ExpireTime = nil, timestamppb.New(thursday.Add(90*day))
	})
	if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	got, err := f.process.ReferAgain(f.refer, &referralv1.ReferAgainRequest{Name: r.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if n := query[int](f, `SELECT count(*)::int FROM patients`); n != 1 || got.GetPatient() == "" || got.GetPatient() != f.get(f.refer, r.GetName()).GetPatient() {
		t.Errorf("there are %d patients, and it is of %s, want %s", n, got.GetPatient(), r.GetPatient())
	}
	if !proto.Equal(got.GetSubject(), r.GetSubject()) {
		t.Errorf("got %v, want %v", got.GetSubject(), r.GetSubject())
	}
}

// What others write of the referral before while the new one is made stays.
func TestReferredAgainKeepsWhatOthersWrite(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send(func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(thursday.Add(90 * day)) })
	if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `UPDATE referrals SET reports_stopped = true`); err != nil {
			return err
		}
		go func() {
			_, err := f.process.ReferAgain(f.refer, &referralv1.ReferAgainRequest{Name: r.GetName()})
			answer <- err
		}()
		return pgtest.Blocks(t.Context(), tx)
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if !query[bool](f, `SELECT reports_stopped FROM referrals WHERE next_id IS NOT NULL`) {
		t.Error("the wish that nothing is reported of her was lost")
	}
}
