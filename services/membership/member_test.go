package membership

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/aip"
)

// wholeMember has every field a caller may set.
func wholeMember() *membershipv1.Member {
	return &membershipv1.Member{
		Alias: "Wren", Role: membershipv1.Member_PATIENT, BirthYear: 1974, Languages: []string{"es-MX", "en"},
		Area:             &membershipv1.Member_Area{Locality: "Fresno", AdministrativeArea: "CA", Country: "US"},
		CancerTypes:      []string{"breast"},
		SuitableTimes:    []*typev1.TimeOfWeek{{Day: dayofweek.DayOfWeek_TUESDAY, StartMinute: 1080, EndMinute: 1200}},
		PreferredChannel: membershipv1.Member_TEXT_MESSAGE, DoNotContact: true,
		LegalName: "Guadalupe Example", Email: "guadalupe@example.org", Phone: "+15595550100", ContactNote: "after six",
		Consents: []*membershipv1.Member_Consent{{Kind: membershipv1.Member_KEEP_DATA, Version: "2026-03"}},
	}
}

func TestMemberIsKeptWhole(t *testing.T) {
	t.Parallel()
	f := setup(t)
	created, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: wholeMember()})
	if err != nil {
		t.Fatal(err)
	}
	want := wholeMember()
	now := timestamppb.New(f.clock.Now())
	want.Name, want.Organization, want.Etag, want.CreateTime, want.UpdateTime = created.GetName(), aip.Name("organizations", f.org), `"1"`, now, now
	want.Consents[0].GrantedTime = now
	if diff := cmp.Diff(want, created, protocmp.Transform()); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	got, err := f.GetMember(f.ctx(), &membershipv1.GetMemberRequest{Name: created.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
	list, err := f.ListMembers(f.ctx(), &membershipv1.ListMembersRequest{})
	if err != nil || len(list.GetMembers()) != 1 {
		t.Fatalf("list: %v, %v", list, err)
	}
	want.LegalName, want.Email, want.Phone, want.ContactNote = "", "", "", ""
	if diff := cmp.Diff(want, list.GetMembers()[0], protocmp.Transform()); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}

func TestUpdateMember(t *testing.T) {
	t.Parallel()
	f := setup(t)
	stored, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: wholeMember()})
	if err != nil {
		t.Fatal(err)
	}
	update := func(etag string, set *membershipv1.Member, mask ...string) (*membershipv1.Member, error) {
		set.Name, set.Etag = stored.GetName(), etag
		return f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{Member: set, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}})
	}
	got, err := update(`"1"`, &membershipv1.Member{Email: "lupe@example.org"}, "email", "phone")
	want := proto.CloneOf(stored)
	want.Email, want.Phone, want.Etag = "lupe@example.org", "", `"2"`
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("masked update: %v (-want +got):\n%s", err, diff)
	}
	got, err = update("", &membershipv1.Member{Alias: "Linnet"})
	if err != nil || got.GetAlias() != "Linnet" || got.GetEmail() != "lupe@example.org" {
		t.Errorf("update without a mask: %v, %v", got, err)
	}
	for name, tc := range map[string]struct {
		call func() (*membershipv1.Member, error)
		want string
	}{
		"stale etag":    {func() (*membershipv1.Member, error) { return update(`"1"`, &membershipv1.Member{Alias: "x"}, "alias") }, "Aborted ETAG_MISMATCH"},
		"output only":   {func() (*membershipv1.Member, error) { return update("", &membershipv1.Member{}, "create_time") }, "InvalidArgument INVALID_FIELD"},
		"unknown field": {func() (*membershipv1.Member, error) { return update("", &membershipv1.Member{}, "shoe_size") }, "InvalidArgument INVALID_FIELD"},
		"alias cleared": {func() (*membershipv1.Member, error) { return update("", &membershipv1.Member{}, "alias") }, "InvalidArgument INVALID_FIELD"},
		"cancer of no such kind": {func() (*membershipv1.Member, error) {
			return update("", &membershipv1.Member{CancerTypes: []string{"breast", "no-such"}}, "cancer_types")
		}, "InvalidArgument INVALID_FIELD"},
		"nobody": {func() (*membershipv1.Member, error) {
			return f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{Name: aip.Name("members", aip.NewID())}})
		}, "NotFound NOT_FOUND"},
	} {
		if _, err := tc.call(); reasonOf(err) != tc.want {
			t.Errorf("%s: %s (%v), want %s", name, reasonOf(err), err, tc.want)
		}
	}
	if _, err := update("", &membershipv1.Member{CancerTypes: []string{"breast", "no-such"}}, "cancer_types"); fieldOf(err) != "member.cancer_types[1]" {
		t.Errorf("violated field is %q", fieldOf(err))
	}
}

func TestCreateMemberRefusals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := aip.Name("organizations", aip.NewID())
	for name, tc := range map[string]struct {
		edit  func(*membershipv1.Member)
		field string
	}{
		"no alias":             {func(m *membershipv1.Member) { m.Alias = " " }, "member.alias"},
		"no role":              {func(m *membershipv1.Member) { m.Role = 0 }, "member.role"},
		"born next year":       {func(m *membershipv1.Member) { m.BirthYear = 2027 }, "member.birth_year"},
		"a zone by a path":     {func(m *membershipv1.Member) { m.TimeZone = "Europe//Madrid" }, "member.time_zone"},
		"another organization": {func(m *membershipv1.Member) { m.Organization = other }, "member.organization"},
		"the same consent twice": {func(m *membershipv1.Member) {
			m.Consents = append(m.Consents, proto.CloneOf(m.GetConsents()[0]))
		}, "member.consents[1]"},
	} {
		m := wholeMember()
		tc.edit(m)
		if _, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: m}); fieldOf(err) != tc.field {
			t.Errorf("%s: %v, want a violation of %s", name, err, tc.field)
		}
	}
	if _, err := f.CreateMember(f.referral(), &membershipv1.CreateMemberRequest{Member: wholeMember()}); fieldOf(err) != "member.organization" {
		t.Errorf("a caller for all organizations that names none: %v", err)
	}
}

func TestConsents(t *testing.T) {
	t.Parallel()
	f := setup(t)
	m := f.newMember()
	grant := func(version string) (*membershipv1.Member, error) {
		return f.GrantConsent(f.ctx(), &membershipv1.GrantConsentRequest{Name: m.GetName(), Kind: membershipv1.Member_SHARE_CONTACT, Version: version})
	}
	withdraw := func() (*membershipv1.Member, error) {
		return f.WithdrawConsent(f.ctx(), &membershipv1.WithdrawConsentRequest{Name: m.GetName(), Kind: membershipv1.Member_SHARE_CONTACT})
	}
	if _, err := withdraw(); reasonOf(err) != "FailedPrecondition NO_SUCH_CONSENT" {
		t.Errorf("withdrawing what was never granted: %v", err)
	}
	if _, err := grant("1"); err != nil {
		t.Fatal(err)
	}
	if _, err := grant("2"); err != nil {
		t.Fatal(err)
	}
	got, err := withdraw()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.GetConsents()) != 2 {
		t.Fatalf("the history is %v, want both versions", got.GetConsents())
	}
	for _, c := range got.GetConsents() {
		if c.GetGrantedTime() == nil || c.GetWithdrawnTime() == nil {
			t.Errorf("consent %v should have been granted and withdrawn", c)
		}
	}
	if _, err := withdraw(); reasonOf(err) != "FailedPrecondition NO_SUCH_CONSENT" {
		t.Errorf("withdrawing twice: %v", err)
	}
}

func TestListsPageAndFilter(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(2, true)
	for range 7 {
		f.join(g)
	}
	var names, members []string
	var token string
	for pages := 1; ; pages++ {
		resp, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Group: g.GetGroup(), PageSize: 3, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range resp.GetMemberships() {
			names, members = append(names, m.GetName()), append(members, m.GetMember())
		}
		if token = resp.GetNextPageToken(); token == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		if _, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{PageSize: 3, PageToken: token}); fieldOf(err) != "page_token" {
			t.Errorf("a token of another query: %v", err)
		}
		if _, err := f.ListMemberships(f.as(aip.NewID()), &membershipv1.ListMembershipsRequest{Group: g.GetGroup(), PageSize: 3, PageToken: token}); fieldOf(err) != "page_token" {
			t.Errorf("a token of another tenant: %v", err)
		}
	}
	seen := map[string]bool{}
	for _, n := range names {
		seen[n] = true
	}
	if len(names) != 7 || len(seen) != 7 {
		t.Errorf("paged through %d memberships, %d different, want 7", len(names), len(seen))
	}
	for filter, want := range map[string]int{
		`state = WAITLISTED`: 5, `state = APPROVED_PENDING_GUIDELINES`: 2, `state = ENDED`: 0,
		`create_time >= "2026-01-01T00:00:00Z" AND NOT state = WAITLISTED`: 2,
		`organization = "organizations/` + f.org.String() + `"`:            7,
	} {
		resp, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Filter: filter})
		if err != nil || len(resp.GetMemberships()) != want {
			t.Errorf("%s: %d, %v, want %d", filter, len(resp.GetMemberships()), err, want)
		}
	}
	of, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Member: members[0]})
	if err != nil || len(of.GetMemberships()) != 1 {
		t.Errorf("of one member: %v, %v", of, err)
	}
	people, err := f.ListMembers(f.ctx(), &membershipv1.ListMembersRequest{Filter: `role = SURVIVOR AND birth_year > 1979`, PageSize: 5})
	if err != nil || len(people.GetMembers()) != 5 || people.GetNextPageToken() == "" {
		t.Errorf("members: %d, %v", len(people.GetMembers()), err)
	}
	if _, err := f.ListMembers(f.ctx(), &membershipv1.ListMembersRequest{Filter: `email = "x"`}); fieldOf(err) != "filter" {
		t.Errorf("filter by e-mail: %v, want it refused", err)
	}
}

func TestForeignTenantFindsNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	m := f.join(g)
	other := aip.NewID()
	foreign := f.as(other)
	for name, call := range map[string]func() error{
		"GetMember": func() error {
			_, err := f.GetMember(foreign, &membershipv1.GetMemberRequest{Name: m.GetMember()})
			return err
		},
		"UpdateMember": func() error {
			_, err := f.UpdateMember(foreign, &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{Name: m.GetMember(), Alias: "x"}})
			return err
		},
		"GrantConsent": func() error {
			_, err := f.GrantConsent(foreign, &membershipv1.GrantConsentRequest{Name: m.GetMember(), Kind: 1, Version: "1"})
			return err
		},
		"GetMembership": func() error {
			_, err := f.GetMembership(foreign, &membershipv1.GetMembershipRequest{Name: m.GetName()})
			return err
		},
		"CreateMembership": func() error {
			_, err := f.CreateMembership(foreign, &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: m.GetMember()})
			return err
		},
		"ApproveMembership": func() error {
			_, err := f.ApproveMembership(foreign, &membershipv1.ApproveMembershipRequest{Name: m.GetName()})
			return err
		},
		"DeclineMembership": func() error {
			_, err := f.DeclineMembership(foreign, &membershipv1.DeclineMembershipRequest{Name: m.GetName(), Reason: 1})
			return err
		},
		"AcknowledgeGuidelines": func() error {
			_, err := f.AcknowledgeGuidelines(foreign, &membershipv1.AcknowledgeGuidelinesRequest{Name: m.GetName(), Version: 1})
			return err
		},
		"StartLeave": func() error {
			_, err := f.StartLeave(foreign, &membershipv1.StartLeaveRequest{Name: m.GetName()})
			return err
		},
		"EndMembership": func() error {
			_, err := f.EndMembership(foreign, &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: 1})
			return err
		},
	} {
		err := call()
		// While the groups service is down, a group that is not known here is not known at all: the caller is told to retry.
		if got := reasonOf(err); got != "NotFound NOT_FOUND" && (name != "CreateMembership" || got != "Unavailable UNAVAILABLE") {
			t.Errorf("%s: %s (%v), want NOT_FOUND", name, got, err)
		}
	}
	var recorded int
	if err := f.db.QueryRow(t.Context(), `SELECT count(*) FROM audit_log WHERE tenant = $1`, other).Scan(&recorded); err != nil || recorded != 0 {
		t.Errorf("%d disclosures to the foreign tenant are recorded (%v), want none", recorded, err)
	}
	list, err := f.ListMemberships(foreign, &membershipv1.ListMembershipsRequest{Group: g.GetGroup()})
	if err != nil || len(list.GetMemberships()) != 0 {
		t.Errorf("ListMemberships: %v, %v, want nothing", list, err)
	}
	people, err := f.ListMembers(foreign, &membershipv1.ListMembersRequest{Filter: `organization = "organizations/` + f.org.String() + `"`})
	if err != nil || len(people.GetMembers()) != 0 {
		t.Errorf("ListMembers: %v, %v, want nothing", people, err)
	}
	if got := f.get(m.GetName()); got.GetEtag() != m.GetEtag() {
		t.Error("a foreign call changed the membership")
	}
}
