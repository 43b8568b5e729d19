package idem

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
)

func TestNamesOfAnswers(t *testing.T) {
	t.Parallel()
	member, membership, referral, group := aip.Name("members", aip.NewID()), aip.Name("memberships", aip.NewID()), aip.Name("referrals", aip.NewID()), aip.Name("groups", aip.NewID())
	answer := &membershipv1.Escalation{
		SafetyConcern: &membershipv1.SafetyConcern{Group: group, Membership: membership, Description: "members/ is where she is"},
		Member:        &membershipv1.Member{Name: member, Languages: []string{"en"}}, ParentReferral: referral,
	}
	got := names(answer.ProtoReflect(), []string{}, 0)
	slices.Sort(got)
	if want := []string{member, membership, referral}; !slices.Equal(got, want) {
		t.Errorf("the answer names %q, want %q", got, want)
	}
	message := &referralv1.ReferralMessage{Name: referral + "/messages/" + group}
	if got := names(message.ProtoReflect(), []string{}, 0); !slices.Equal(got, []string{referral}) {
		t.Errorf("a message names %q, want %q", got, referral)
	}
	b := new(pgx.Batch)
	Forget(b, got)
	if b.Len() != 1 {
		t.Errorf("%d statements, want 1", b.Len())
	}
}
