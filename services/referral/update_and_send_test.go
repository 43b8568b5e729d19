package referral

import (
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// A draft is changed and sent at once; what cannot be sent is not changed either.
func TestUpdateAndSend(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral(func(r *referralv1.Referral) { r.Author, r.OwnerOrganization = "before", "" })})
	if err != nil {
		t.Fatal(err)
	}
	update := func(edit func(*referralv1.Referral), paths ...string) (*referralv1.Referral, error) {
		m := &referralv1.Referral{Name: r.GetName(), Author: "after", Distress: proto.Int32(2)}
		edit(m)
		return f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{Referral: m, UpdateMask: &fieldmaskpb.FieldMask{Paths: append(paths, "author", "distress")}, Send: true})
	}
	for what, c := range map[string]struct {
		edit  func(*referralv1.Referral)
		paths []string
		want  string
	}{
		"nobody":            {func(*referralv1.Referral) {}, []string{"subject.given_name", "subject.family_name"}, "InvalidArgument referral.subject"},
		"to a hospital":     {func(m *referralv1.Referral) { m.OwnerOrganization = f.hospital }, []string{"owner_organization", "requested_group"}, "InvalidArgument referral.owner_organization"},
		"to no group":       {func(m *referralv1.Referral) { m.RequestedGroup = "groups/" + uuid.NewString() }, []string{"requested_group"}, "InvalidArgument referral.requested_group"},
		"of another person": {func(m *referralv1.Referral) { m.Patient = "patients/" + uuid.NewString() }, []string{"patient"}, "InvalidArgument referral.patient"},
		"stale":             {func(m *referralv1.Referral) { m.Etag = `"7"` }, nil, "Aborted ETAG_MISMATCH"},
	} {
		if _, err := update(c.edit, c.paths...); errText(err) != c.want {
			t.Errorf("%s: got %v, want %s", what, err, c.want)
		}
	}
	got, err := f.GetReferral(f.refer, &referralv1.GetReferralRequest{Name: r.GetName()})
	if err != nil || got.GetState() != draft || got.GetAuthor() != "before" || got.GetEtag() != r.GetEtag() {
		t.Fatalf("what was refused is half done: %v, %v", got, err)
	}
	got, err = update(func(m *referralv1.Referral) { m.OwnerOrganization = f.nonprofit }, "owner_organization", "requested_group")
	if err != nil || got.GetState() != sent || got.GetAuthor() != "after" || got.GetDistress() != 2 || got.GetOwnerOrganization() != f.nonprofit || got.GetSendTime() == nil {
		t.Fatalf("got %v, %v", got, err)
	}
	if seen, err := f.GetReferral(f.receive, &referralv1.GetReferralRequest{Name: r.GetName()}); err != nil || seen.GetState() != sent {
		t.Errorf("the owner sees %v, %v", seen, err)
	}
	if got := f.actions(r.GetName()); got != "CREATE UPDATE SEND" {
		t.Errorf("timeline: got %s", got)
	}
	if _, err := update(func(*referralv1.Referral) {}); errText(err) != "FailedPrecondition NOT_A_DRAFT" {
		t.Errorf("sent again: %v", err)
	}
	plain, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.UpdateReferral(f.refer, &referralv1.UpdateReferralRequest{Referral: plain, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"urgency"}}, Send: true}); err != nil {
		t.Fatal(err)
	}
	if got := f.actions(plain.GetName()); got != "CREATE SEND" {
		t.Errorf("sent as it was: %s", got)
	}
}
