package partners

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
	"cairn.care/services/internal/suitetest"
)

func TestOrganizationRoundTrip(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	umbrella := s.organization(t, partnersv1.Organization_UMBRELLA)
	want := &partnersv1.Organization{
		Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Vida Después", Languages: []string{"es", "pt-BR"}, TimeZone: "Europe/Madrid",
		ServiceArea: &partnersv1.Organization_ServiceArea{
			Regions: []string{"ES", "ES-MD"},
			Circles: []*partnersv1.Organization_ServiceArea_Circle{{Center: &latlng.LatLng{Latitude: 40.4, Longitude: -3.7}, RadiusMeters: 30000}},
		},
		Contact: &partnersv1.Organization_Contact{
			Email: "hola@vida.example", Phone: "+34 91 555 01 00", Website: "https://vida.example/",
			Address: &typev1.PostalAddress{AddressLines: []string{"Calle Mayor 1"}, Locality: "Madrid", Country: "ES"},
		},
		Parent: umbrella.GetName(), Verified: true, DistressThreshold: 5,
	}
	created, err := s.CreateOrganization(platform(t), &partnersv1.CreateOrganizationRequest{Organization: want})
	if err != nil {
		t.Fatal(err)
	}
	ignore := protocmp.IgnoreFields(&partnersv1.Organization{}, "name", "create_time", "update_time", "etag")
	if diff := cmp.Diff(want, created, protocmp.Transform(), ignore); diff != "" || created.GetEtag() != `"1"` || !created.GetCreateTime().AsTime().Equal(s.Clock.Now()) {
		t.Errorf("created %v (-want +got):\n%s", created, diff)
	}
	for who, ctx := range map[string]context.Context{
		"a client of another organization": suitetest.Client(t.Context(), umbrella.GetName(), "groups.read"),
		"a coordinator elsewhere":          suitetest.User(t.Context(), umbrella.GetName(), "COORDINATOR"),
		"the referral service":             auth.System(t.Context(), "referral"),
	} {
		conn := s.Conn(Name)
		if who == "the referral service" {
			conn = s.ConnAs("referral", Name)
		}
		got, err := partnersv1.NewPartnersServiceClient(conn).GetOrganization(ctx, &partnersv1.GetOrganizationRequest{Name: created.GetName()})
		if diff := cmp.Diff(created, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s got %v (-want +got):\n%s", who, err, diff)
		}
	}
	if _, err := s.GetOrganization(t.Context(), &partnersv1.GetOrganizationRequest{Name: created.GetName()}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v; want UNAUTHENTICATED", err)
	}
	if _, err := s.GetOrganization(platform(t), &partnersv1.GetOrganizationRequest{Name: "organizations/" + uuid.NewString()}); status.Code(err) != codes.NotFound {
		t.Errorf("one that is not there: %v; want NOT_FOUND", err)
	}
}

func TestCreateOrganizationDefaults(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	if o := s.organization(t, partnersv1.Organization_HOSPITAL); o.GetTimeZone() != "UTC" || o.GetDistressThreshold() != 4 {
		t.Errorf("time zone %q and threshold %d; want UTC and 4", o.GetTimeZone(), o.GetDistressThreshold())
	}
}

func TestCreateOrganizationRefuses(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	hospital, umbrella := s.organization(t, partnersv1.Organization_HOSPITAL), s.organization(t, partnersv1.Organization_UMBRELLA)
	for want, change := range map[string]func(*partnersv1.Organization){
		"organization.kind":               func(o *partnersv1.Organization) { o.Kind = 0 },
		"organization.display_name":       func(o *partnersv1.Organization) { o.DisplayName = " \t" },
		"organization.languages[1]":       func(o *partnersv1.Organization) { o.Languages = []string{"es", "español"} },
		"organization.time_zone":          func(o *partnersv1.Organization) { o.TimeZone = "America//New_York" },
		"organization.distress_threshold": func(o *partnersv1.Organization) { o.DistressThreshold = 11 },
		"organization.contact.email":      func(o *partnersv1.Organization) { o.Contact = &partnersv1.Organization_Contact{Email: "nobody"} },
		"organization.contact.phone":      func(o *partnersv1.Organization) { o.Contact = &partnersv1.Organization_Contact{Phone: "555"} },
		"organization.service_area.regions[0]": func(o *partnersv1.Organization) {
			o.ServiceArea = &partnersv1.Organization_ServiceArea{Regions: []string{"spain"}}
		},
		"organization.service_area.circles[0].center": func(o *partnersv1.Organization) {
			o.ServiceArea = &partnersv1.Organization_ServiceArea{Circles: []*partnersv1.Organization_ServiceArea_Circle{{Center: &latlng.LatLng{Latitude: 91}, RadiusMeters: 1}}}
		},
	} {
		o := &partnersv1.Organization{Kind: partnersv1.Organization_HOSPITAL, DisplayName: "St. Anna"}
		change(o)
		_, err := s.CreateOrganization(platform(t), &partnersv1.CreateOrganizationRequest{Organization: o})
		if status.Code(err) != codes.InvalidArgument || field(err) != want {
			t.Errorf("%v on %q; want INVALID_ARGUMENT on %s", err, field(err), want)
		}
	}
	for name, o := range map[string]*partnersv1.Organization{
		"a parent that is no umbrella":  {Kind: partnersv1.Organization_HOSPITAL, DisplayName: "x", Parent: hospital.GetName()},
		"a parent that is not there":    {Kind: partnersv1.Organization_HOSPITAL, DisplayName: "x", Parent: "organizations/" + uuid.NewString()},
		"an umbrella under an umbrella": {Kind: partnersv1.Organization_UMBRELLA, DisplayName: "x", Parent: umbrella.GetName()},
	} {
		_, err := s.CreateOrganization(platform(t), &partnersv1.CreateOrganizationRequest{Organization: o})
		if status.Code(err) != codes.InvalidArgument || field(err) != "organization.parent" {
			t.Errorf("%s: %v; want INVALID_ARGUMENT on organization.parent", name, err)
		}
	}
	_, err := s.CreateOrganization(suitetest.Client(t.Context(), hospital.GetName(), "partners.write"), &partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{}})
	if code, why := reason(err); code != codes.PermissionDenied || why != "PLATFORM_ONLY" {
		t.Errorf("a hospital registers an organization: %v; want PLATFORM_ONLY", err)
	}
}

func TestUpdateOrganization(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o, other := s.organization(t, partnersv1.Organization_HOSPITAL), s.organization(t, partnersv1.Organization_UMBRELLA)
	own := suitetest.Client(t.Context(), o.GetName(), "partners.write")
	update := func(ctx context.Context, change *partnersv1.Organization, paths ...string) (*partnersv1.Organization, error) {
		change.Name = o.GetName()
		return s.UpdateOrganization(ctx, &partnersv1.UpdateOrganizationRequest{Organization: change, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	s.Clock.Advance(1e9)
	got, err := update(own, &partnersv1.Organization{Languages: []string{"de"}, Kind: partnersv1.Organization_HOSPITAL, Etag: o.GetEtag()})
	if err != nil || got.GetEtag() != `"2"` || !slices.Equal(got.GetLanguages(), []string{"de"}) || got.GetDisplayName() != "St. Anna" || !got.GetUpdateTime().AsTime().Equal(s.Clock.Now()) {
		t.Fatalf("its own client: %v, %v", got, err)
	}
	if got, err = update(own, &partnersv1.Organization{Languages: []string{"de"}}); err != nil || got.GetEtag() != `"2"` {
		t.Errorf("nothing changed: %v, %v; want the same revision", got, err)
	}
	if got, err = update(own, &partnersv1.Organization{}, "languages", "distress_threshold"); err != nil || len(got.GetLanguages()) != 0 || got.GetDistressThreshold() != 4 {
		t.Errorf("cleared by mask: %v, %v", got, err)
	}
	for name, tc := range map[string]struct {
		ctx    context.Context
		change *partnersv1.Organization
		paths  []string
		code   codes.Code
		why    string
	}{
		"stale etag":           {own, &partnersv1.Organization{DisplayName: "x", Etag: o.GetEtag()}, nil, codes.Aborted, "ETAG_MISMATCH"},
		"kind":                 {own, &partnersv1.Organization{Kind: partnersv1.Organization_PLATFORM}, nil, codes.PermissionDenied, "PLATFORM_ONLY"},
		"parent":               {own, &partnersv1.Organization{Parent: other.GetName()}, nil, codes.PermissionDenied, "PLATFORM_ONLY"},
		"verified":             {own, &partnersv1.Organization{Verified: true}, nil, codes.PermissionDenied, "PLATFORM_ONLY"},
		"output only":          {own, &partnersv1.Organization{}, []string{"create_time"}, codes.InvalidArgument, "INVALID_FIELD"},
		"unknown path":         {own, &partnersv1.Organization{}, []string{"colour"}, codes.InvalidArgument, "INVALID_FIELD"},
		"name cleared":         {own, &partnersv1.Organization{}, []string{"display_name"}, codes.InvalidArgument, "INVALID_FIELD"},
		"another organization": {suitetest.Client(t.Context(), other.GetName(), "partners.write"), &partnersv1.Organization{DisplayName: "x"}, nil, codes.PermissionDenied, "NOT_YOUR_ORGANIZATION"},
		"a reader":             {suitetest.Client(t.Context(), o.GetName(), "partners.read"), &partnersv1.Organization{DisplayName: "x"}, nil, codes.PermissionDenied, "MISSING_SCOPE"},
	} {
		_, err := update(tc.ctx, tc.change, tc.paths...)
		if code, why := reason(err); code != tc.code || why != tc.why {
			t.Errorf("%s: %v; want %v %s", name, err, tc.code, tc.why)
		}
	}
	if got, err := update(platform(t), &partnersv1.Organization{Verified: true, Parent: other.GetName()}); err != nil || !got.GetVerified() {
		t.Errorf("the platform: %v, %v", got, err)
	}
	if got, err := update(suitetest.User(t.Context(), o.GetName(), "COORDINATOR"), &partnersv1.Organization{DisplayName: "St. Anna's"}); err != nil || got.GetDisplayName() != "St. Anna's" {
		t.Errorf("its coordinator: %v, %v", got, err)
	}
	_, err = s.UpdateOrganization(platform(t), &partnersv1.UpdateOrganizationRequest{Organization: &partnersv1.Organization{Name: other.GetName(), Kind: partnersv1.Organization_NONPROFIT}})
	if code, why := reason(err); code != codes.FailedPrecondition || why != "HAS_CHILDREN" {
		t.Errorf("an umbrella with a child becomes a nonprofit: %v; want HAS_CHILDREN", err)
	}
	_, err = s.UpdateOrganization(own, &partnersv1.UpdateOrganizationRequest{Organization: &partnersv1.Organization{Name: "organizations/" + uuid.NewString(), DisplayName: "x"}})
	if status.Code(err) != codes.NotFound {
		t.Errorf("one that is not there: %v; want NOT_FOUND", err)
	}
}

func TestRepeatedUpdateIsOne(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	id := uuid.NewString()
	req := func(name string) *partnersv1.CreateOrganizationRequest {
		return &partnersv1.CreateOrganizationRequest{RequestId: id, Organization: &partnersv1.Organization{Kind: partnersv1.Organization_HOSPITAL, DisplayName: name}}
	}
	first, err := s.CreateOrganization(platform(t), req("One"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.CreateOrganization(platform(t), req("One"))
	if diff := cmp.Diff(first, again, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("the same request_id: %v (-first +again):\n%s", err, diff)
	}
	if _, err := s.CreateOrganization(platform(t), req("Two")); status.Code(err) != codes.InvalidArgument || field(err) != "request_id" {
		t.Errorf("the same request_id with another body: %v; want INVALID_ARGUMENT on request_id", err)
	}
}

func TestListOrganizations(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	for _, name := range []string{"delta", "alpha", "echo", "bravo", "charlie"} {
		if _, err := s.CreateOrganization(platform(t), &partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{
			Kind: map[bool]partnersv1.Organization_Kind{true: partnersv1.Organization_NONPROFIT, false: partnersv1.Organization_HOSPITAL}[name < "c"], DisplayName: name, Languages: []string{map[bool]string{true: "de", false: "es"}[name == "delta"]},
		}}); err != nil {
			t.Fatal(err)
		}
		s.Clock.Advance(1e9)
	}
	all := func(filter, order string) (names []string) {
		req := &partnersv1.ListOrganizationsRequest{PageSize: 2, Filter: filter, OrderBy: order}
		for {
			resp, err := s.ListOrganizations(suitetest.Client(t.Context(), "organizations/"+uuid.NewString(), "referrals.read"), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range resp.GetOrganizations() {
				names = append(names, o.GetDisplayName())
			}
			if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
				return names
			}
		}
	}
	for _, tc := range []struct {
		filter, order string
		want          []string
	}{
		{"", "", []string{"delta", "alpha", "echo", "bravo", "charlie"}},
		{"", "create_time desc", []string{"charlie", "bravo", "echo", "alpha", "delta"}},
		{"", "display_name", []string{"alpha", "bravo", "charlie", "delta", "echo"}},
		{"", "display_name desc", []string{"echo", "delta", "charlie", "bravo", "alpha"}},
		{"kind = NONPROFIT", "display_name", []string{"alpha", "bravo"}},
		{`display_name:"l" AND NOT languages:"de"`, "display_name", []string{"alpha", "charlie"}},
		{"verified = true", "", nil},
	} {
		if got := all(tc.filter, tc.order); !slices.Equal(got, tc.want) {
			t.Errorf("filter %q, order %q: %v; want %v", tc.filter, tc.order, got, tc.want)
		}
	}
	first, err := s.ListOrganizations(platform(t), &partnersv1.ListOrganizationsRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	for want, req := range map[string]*partnersv1.ListOrganizationsRequest{
		"page_token": {PageToken: first.GetNextPageToken(), Filter: "kind = HOSPITAL"},
		"filter":     {Filter: "kind = CIRCUS"},
		"order_by":   {OrderBy: "display_name, create_time"},
		"page_size":  {PageSize: 201},
	} {
		if _, err := s.ListOrganizations(platform(t), req); status.Code(err) != codes.InvalidArgument || field(err) != want {
			t.Errorf("%v: %v on %q; want INVALID_ARGUMENT on %s", req, err, field(err), want)
		}
	}
}

// TestRowLevelSecurity asks past the predicates: the policies hold alone.
func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	a, b := s.organization(t, partnersv1.Organization_HOSPITAL), s.organization(t, partnersv1.Organization_HOSPITAL)
	s.client(t, a, "of-a", "groups.read")
	s.client(t, b, "of-b", "groups.read")
	ids := func(tenant auth.Tenant, sql string) (got []string) {
		err := s.DBs[Name].Tx(auth.WithTenant(t.Context(), tenant), func(tx pgx.Tx) error {
			rows, err := tx.Query(t.Context(), sql)
			if err != nil {
				return err
			}
			got, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	mine := auth.Tenant{Org: uuid.MustParse(a.GetName()[len("organizations/"):])}
	for _, tc := range []struct {
		tenant auth.Tenant
		sql    string
		want   []string
	}{
		{mine, `SELECT id FROM api_clients ORDER BY id`, []string{"of-a"}},
		{mine, `UPDATE api_clients SET disabled = true RETURNING id`, []string{"of-a"}},
		{mine, `DELETE FROM api_clients RETURNING id`, []string{"of-a"}},
		{auth.Tenant{}, `SELECT id FROM api_clients`, nil},
		{auth.Tenant{All: true}, `SELECT id FROM api_clients ORDER BY id`, []string{"of-b"}},
		{mine, `SELECT count(*)::text FROM organizations`, []string{"2"}},
		{mine, `UPDATE organizations SET display_name = 'taken' RETURNING id::text`, []string{mine.Org.String()}},
		{mine, `DELETE FROM organizations RETURNING id::text`, nil},
		{auth.Tenant{}, `UPDATE organizations SET display_name = 'taken' RETURNING id::text`, nil},
	} {
		if got := ids(tc.tenant, tc.sql); !slices.Equal(got, tc.want) {
			t.Errorf("%+v: %s = %v; want %v", tc.tenant, tc.sql, got, tc.want)
		}
	}
}

// A page token is not signed: whatever stands in it is the caller's to answer for.
func TestForgedPageTokens(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	token, err := page.Encode(organizationCursor{Name: "a\x00"}, "ListOrganizations", "", "display_name")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.ListOrganizations(platform(t), &partnersv1.ListOrganizationsRequest{OrderBy: "display_name", PageToken: token})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a name with U+0000: %v", err)
	}
}
