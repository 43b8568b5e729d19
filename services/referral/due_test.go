package referral

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

func TestDueTimes(t *testing.T) {
	t.Parallel()
	f := setup(t)
	sweep := func() {
		t.Helper()
		if err := f.srv.sweepDue(f.system()); err != nil {
			t.Fatal(err)
		}
	}
	urgent := func(u referralv1.Referral_Urgency) func(*referralv1.Referral) {
		return func(r *referralv1.Referral) { r.Urgency = u }
	}
	stat := f.send(urgent(referralv1.Referral_STAT))
	routine := f.send(other("b"))
	limited := f.send(other("c"), func(r *referralv1.Referral) { r.Deadline = timestamppb.New(thursday.Add(time.Hour)) })
	for r, want := range map[*referralv1.Referral]time.Duration{stat: 4 * time.Hour, routine: 5 * day, limited: time.Hour} {
		if got := r.GetDueTime().AsTime().Sub(thursday); got != want {
			t.Errorf("%s is due in %v, want %v", r.GetUrgency(), got, want)
		}
	}
	f.Clock.Set(thursday.Add(time.Hour))
	sweep()
	got := f.get(f.refer, limited.GetName())
	if got.GetState() != failed || got.GetTaskStatus() != "failed" || got.GetBserStatus() != "" || got.GetStateReason() == "" || got.GetAwaiting() != nobody {
		t.Errorf("past its deadline: got %v", got)
	}
	if got := f.actions(limited.GetName()); got != "SEND EXPIRE" {
		t.Errorf("timeline: got %s", got)
	}
	f.Clock.Set(thursday.Add(5 * time.Hour))
	sweep()
	sweep()
	got = f.get(f.refer, stat.GetName())
	if got.GetState() != sent || got.GetOverdueTime().AsTime() != f.Clock.Now() || got.GetAwaiting() != receiver {
		t.Errorf("overdue: got %v", got)
	}
	if got, want := f.published(stat.GetName()), []string{"sent", "overdue"}; !slices.Equal(got, want) {
		t.Errorf("events: got %v, want %v (once)", got, want)
	}
	if got := f.actions(stat.GetName()); got != "SEND MISS_DUE_TIME" {
		t.Errorf("timeline: got %s", got)
	}
	if f.get(f.refer, routine.GetName()).GetOverdueTime() != nil {
		t.Error("the routine referral is overdue too early")
	}
	if got = f.accept(stat); got.GetOverdueTime() != nil || got.GetDueTime().AsTime() != f.Clock.Now().Add(14*day) {
		t.Errorf("after it was taken: got %v", got)
	}
	f.Clock.Advance(15 * day)
	sweep()
	if got, want := f.published(stat.GetName()), []string{"sent", "overdue", "accepted", "overdue"}; !slices.Equal(got, want) {
		t.Errorf("events: got %v, want %v", got, want)
	}
}

// A referral whose acceptance is under way does not expire below it.
func TestAcceptanceUnderWayDoesNotExpire(t *testing.T) {
	t.Parallel()
	f, l := setupCut(t)
	r := f.send(func(r *referralv1.Referral) { r.Deadline = timestamppb.New(thursday.Add(time.Second)) })
	l.cut(false, true)
	if _, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName()}); errText(err) != "Unavailable UNAVAILABLE" {
		t.Fatalf("got %v", err)
	}
	l.cut(false, false)
	f.Clock.Advance(5 * time.Second)
	if err := f.srv.sweepDue(f.system()); err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(time.Minute)
	f.await(r.GetName(), accepted)
}

// A referral that cannot be told to be overdue does not keep the others from it.
func TestOneBrokenReferralDoesNotStopTheSweep(t *testing.T) {
	t.Parallel()
	f := setup(t)
	deadline := func(r *referralv1.Referral) { r.Deadline = timestamppb.New(thursday.Add(time.Hour)) }
	broken, fine := f.send(deadline), f.send(other("b"), deadline)
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error {
		_, err := tx.Exec(f.system(), `UPDATE referrals SET data_key = 'lost' WHERE id = $1`, strings.TrimPrefix(broken.GetName(), "referrals/"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	f.Clock.Set(thursday.Add(time.Hour))
	if err := f.srv.sweepDue(f.system()); err == nil || !strings.Contains(err.Error(), broken.GetName()) {
		t.Errorf("got %v, want an error that names %s", err, broken.GetName())
	}
	if got := f.get(f.refer, fine.GetName()); got.GetState() != failed {
		t.Errorf("the other one is %s, want FAILED", got.GetState())
	}
}
