package leaving

import (
	"testing"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/internal/suitetest"
)

// Who leaves and has her organization told hears whether there is somebody to tell.
func TestNobodyToTell(t *testing.T) {
	t.Parallel()
	f := setup(t)
	group := f.newGroup("Coro", groupsv1.Group_PEER_LED)
	f.CatchUp()
	said := func(tell bool) *bool {
		t.Helper()
		return f.leaves(f.joins(group), membershipv1.Membership_NOT_HELPFUL, tell).CoordinatorTold
	}
	if told := said(false); told != nil {
		t.Errorf("not asked, the answer says %v", *told)
	}
	if told := said(true); told == nil || !*told {
		t.Errorf("there is an address, and the answer says %v", told)
	}
	_, err := partnersv1.NewPartnersServiceClient(f.Conn("partners")).UpdateOrganization(suitetest.Platform(t.Context(), "partners.write"), &partnersv1.UpdateOrganizationRequest{
		Organization: &partnersv1.Organization{Name: f.org}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"contact"}},
	})
	f.must(err)
	if told := said(true); told == nil || *told {
		t.Errorf("there is no address, and the answer says %v", told)
	}
	f.mail.Wait(t, office, 1)
	if n := len(f.mail.Mailbox(office)); n != 1 {
		t.Errorf("the office has %d e-mails, want 1", n)
	}
}
