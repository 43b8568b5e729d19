package leaving

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/referral"
)

// TestCrisisLinesWithoutAnArea has people leave in distress who have not said where they live: they read the lines of where the group
// meets, else of where its organization is, and sentences that are meant for them.
func TestCrisisLinesWithoutAnArea(t *testing.T) {
	t.Parallel()
	f := setup(t, referral.Component())
	partners := partnersv1.NewPartnersServiceClient(f.Conn("partners"))
	o, err := partners.GetOrganization(f.ctx, &partnersv1.GetOrganizationRequest{Name: f.org})
	f.must(err)
	o.Contact.Address = &typev1.PostalAddress{Locality: "Zaragoza", Country: "ES"}
	_, err = partners.UpdateOrganization(suitetest.Platform(t.Context(), "partners.write"), &partnersv1.UpdateOrganizationRequest{Organization: o})
	f.must(err)
	online := f.newGroup("Coro", groupsv1.Group_PEER_LED)
	there, err := f.groups.CreateGroup(f.ctx, &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
		Title: "Camino", Summary: "For people after breast cancer.", Languages: []string{"es"}, Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PROFESSIONALLY_LED,
		Format: groupsv1.Group_IN_PERSON, CancerTypes: []string{"breast"}, TimeZone: "Europe/Lisbon", Cost: &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FREE},
		Venue: &groupsv1.Group_Venue{Label: "Casa", Address: &typev1.PostalAddress{Locality: "Dublin", Country: "IE"}},
	}})
	f.must(err)
	_, err = f.groups.PublishGroup(f.ctx, &groupsv1.PublishGroupRequest{Name: there.GetName()})
	f.must(err)
	f.CatchUp()

	for _, c := range []struct{ group, area, want string }{{online, "MX", "MX"}, {online, "", "ES"}, {there.GetName(), "", "IE"}} {
		m := f.joins(c.group)
		if c.area == "" {
			member, err := f.members.GetMember(f.ctx, &membershipv1.GetMemberRequest{Name: m.GetMember()})
			f.must(err)
			member.Area = nil
			_, err = f.members.UpdateMember(f.ctx, &membershipv1.UpdateMemberRequest{Member: member, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"area"}}})
			f.must(err)
		}
		out := f.leaves(m, membershipv1.Membership_DISTRESS, false).GetAlternatives()
		if lines := out.GetCrisisResources(); len(lines) < 2 || lines[0].GetCountry() != c.want || lines[0].GetPhone() == "" {
			t.Errorf("area %q, %s: crisis lines %v, want those of %s first", c.area, c.group, lines, c.want)
		}
		hers := strings.Join(out.GetNotes(), " ")
		if strings.Contains(hers, " 8") || strings.Contains(hers, "esta persona") || !strings.Contains(hers, "habla hoy con alguien") {
			t.Errorf("she reads %q", hers)
		}
		again, err := f.feedback.FindAlternatives(f.ctx, &membershipv1.FindAlternativesRequest{Name: m.GetName()})
		f.must(err)
		if theirs := strings.Join(again.GetNotes(), " "); strings.Contains(theirs, " 8") || !strings.Contains(theirs, "Habla hoy con esta persona") {
			t.Errorf("the coordinator reads %q", theirs)
		}
	}
}
