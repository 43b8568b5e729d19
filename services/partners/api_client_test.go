package partners

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/internal/suitetest"
)

func TestAPIClientRoundTrip(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	own := suitetest.Client(t.Context(), o.GetName(), "partners.write", "groups.read")
	want := &partnersv1.ApiClient{
		Organization: o.GetName(), DisplayName: "EHR", Scopes: []string{"groups.read"}, FhirProfile: partnersv1.ApiClient_SDOHCC,
		Keys: inline(t, jose.JSONWebKey{Key: newKey(t).Public(), KeyID: "k", Use: "sig"}),
	}
	created, err := s.CreateApiClient(own, &partnersv1.CreateApiClientRequest{ApiClient: &partnersv1.ApiClient{DisplayName: "EHR", Scopes: want.GetScopes(), Keys: want.GetKeys()}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, created, protocmp.Transform(), protocmp.IgnoreFields(want, "name", "create_time", "update_time", "etag")); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	got, err := s.GetApiClient(own, &partnersv1.GetApiClientRequest{Name: created.GetName()})
	if diff := cmp.Diff(created, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("got %v (-created +got):\n%s", err, diff)
	}
	foreign := suitetest.Client(t.Context(), s.organization(t, partnersv1.Organization_HOSPITAL).GetName(), "partners.write")
	for what, err := range map[string]error{
		"get": second(s.GetApiClient(foreign, &partnersv1.GetApiClientRequest{Name: created.GetName()})),
		"update": second(s.UpdateApiClient(foreign, &partnersv1.UpdateApiClientRequest{
			ApiClient: &partnersv1.ApiClient{Name: created.GetName(), Disabled: true},
		})),
		"get one that is not there": second(s.GetApiClient(own, &partnersv1.GetApiClientRequest{Name: "apiClients/nobody"})),
	} {
		if status.Code(err) != codes.NotFound {
			t.Errorf("%s by a stranger: %v; want NOT_FOUND", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestCreateAPIClientRefuses(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	s.client(t, o, "taken", "groups.read")
	key := newKey(t)
	small, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := func() *partnersv1.ApiClient {
		return &partnersv1.ApiClient{Organization: o.GetName(), DisplayName: "EHR", Keys: inline(t, jose.JSONWebKey{Key: key.Public(), KeyID: "k"})}
	}
	for name, tc := range map[string]struct {
		change func(*partnersv1.ApiClient)
		want   string
	}{
		"no name":       {func(c *partnersv1.ApiClient) { c.DisplayName = "" }, "api_client.display_name"},
		"no keys":       {func(c *partnersv1.ApiClient) { c.Keys = nil }, "api_client.jwks"},
		"no key set":    {func(c *partnersv1.ApiClient) { c.Keys = &partnersv1.ApiClient_Jwks{Jwks: &structpb.Struct{}} }, "api_client.jwks"},
		"empty key set": {func(c *partnersv1.ApiClient) { c.Keys = inline(t) }, "api_client.jwks"},
		"a private key": {func(c *partnersv1.ApiClient) { c.Keys = inline(t, jose.JSONWebKey{Key: key, KeyID: "k"}) }, "api_client.jwks.keys[0]"},
		"a shared secret": {func(c *partnersv1.ApiClient) {
			c.Keys = inline(t, jose.JSONWebKey{Key: []byte("0123456789abcdef"), KeyID: "k"})
		}, "api_client.jwks.keys[0]"},
		"P-256 only": {func(c *partnersv1.ApiClient) { c.Keys = inline(t, jose.JSONWebKey{Key: small.Public(), KeyID: "k"}) }, "api_client.jwks.keys"},
		"no kid":     {func(c *partnersv1.ApiClient) { c.Keys = inline(t, jose.JSONWebKey{Key: key.Public()}) }, "api_client.jwks.keys"},
		"a kid twice": {func(c *partnersv1.ApiClient) {
			c.Keys = inline(t, jose.JSONWebKey{Key: key.Public(), KeyID: "k"}, jose.JSONWebKey{Key: newKey(t).Public(), KeyID: "k"})
		}, "api_client.jwks.keys"},
		"http": {func(c *partnersv1.ApiClient) {
			c.Keys = &partnersv1.ApiClient_JwksUri{JwksUri: "http://ehr.example/keys"}
		}, "api_client.jwks_uri"},
		"unknown scope":    {func(c *partnersv1.ApiClient) { c.Scopes = []string{"everything"} }, "api_client.scopes[0]"},
		"half a scope":     {func(c *partnersv1.ApiClient) { c.Scopes = []string{"groups.read", "system/Task.sr"} }, "api_client.scopes[1]"},
		"unknown guide":    {func(c *partnersv1.ApiClient) { c.FhirProfile = 9 }, "api_client.fhir_profile"},
		"bad organization": {func(c *partnersv1.ApiClient) { c.Organization = "St. Anna" }, "api_client.organization"},
	} {
		c := good()
		tc.change(c)
		if _, err := s.CreateApiClient(platform(t), &partnersv1.CreateApiClientRequest{ApiClient: c}); status.Code(err) != codes.InvalidArgument || field(err) != tc.want {
			t.Errorf("%s: %v on %q; want INVALID_ARGUMENT on %s", name, err, field(err), tc.want)
		}
	}
	nowhere := good()
	nowhere.Organization = "organizations/" + uuid.NewString()
	wide := good()
	wide.Scopes = []string{"groups.read", "members.read"}
	own := suitetest.Client(t.Context(), o.GetName(), "partners.write", "groups.read")
	for name, tc := range map[string]struct {
		ctx  context.Context
		req  *partnersv1.CreateApiClientRequest
		code codes.Code
		why  string
	}{
		"a taken id":                       {platform(t), &partnersv1.CreateApiClientRequest{ApiClientId: "taken", ApiClient: good()}, codes.AlreadyExists, "ALREADY_EXISTS"},
		"an organization that is none":     {platform(t), &partnersv1.CreateApiClientRequest{ApiClient: nowhere}, codes.NotFound, "NOT_FOUND"},
		"an id of one's own":               {own, &partnersv1.CreateApiClientRequest{ApiClientId: "mine", ApiClient: good()}, codes.InvalidArgument, "INVALID_FIELD"},
		"another's organization":           {suitetest.Client(t.Context(), "organizations/"+uuid.NewString(), "partners.write"), &partnersv1.CreateApiClientRequest{ApiClient: good()}, codes.PermissionDenied, "NOT_YOUR_ORGANIZATION"},
		"scopes that one has not":          {own, &partnersv1.CreateApiClientRequest{ApiClient: wide}, codes.PermissionDenied, "SCOPE_NOT_HELD"},
		"a coordinator":                    {suitetest.User(t.Context(), o.GetName(), "COORDINATOR"), &partnersv1.CreateApiClientRequest{ApiClient: good()}, codes.PermissionDenied, "MISSING_ROLE"},
		"an operator without organization": {suitetest.User(t.Context(), "", "OPERATOR"), &partnersv1.CreateApiClientRequest{ApiClient: &partnersv1.ApiClient{DisplayName: "x"}}, codes.InvalidArgument, "INVALID_FIELD"},
	} {
		if code, why := reason(second(s.CreateApiClient(tc.ctx, tc.req))); code != tc.code || why != tc.why {
			t.Errorf("%s: %v %s; want %v %s", name, code, why, tc.code, tc.why)
		}
	}
	if _, err := s.CreateApiClient(suitetest.User(t.Context(), "", "OPERATOR"), &partnersv1.CreateApiClientRequest{ApiClientId: "by-operator", ApiClient: wide}); err != nil {
		t.Errorf("an operator: %v", err)
	}
}

func TestUpdateAPIClient(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	o := s.organization(t, partnersv1.Organization_HOSPITAL)
	s.client(t, o, "ehr", "groups.read", "members.read")
	narrow := suitetest.Client(t.Context(), o.GetName(), "partners.write", "groups.read")
	wide := suitetest.Client(t.Context(), o.GetName(), "partners.write", "groups.read", "members.read")
	newKeys := inline(t, jose.JSONWebKey{Key: newKey(t).Public(), KeyID: "k2"})
	update := func(ctx context.Context, c *partnersv1.ApiClient, paths ...string) (*partnersv1.ApiClient, error) {
		c.Name = "apiClients/ehr"
		return s.UpdateApiClient(ctx, &partnersv1.UpdateApiClientRequest{ApiClient: c, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	for _, step := range []struct {
		name  string
		ctx   context.Context
		c     *partnersv1.ApiClient
		paths []string
		code  codes.Code
		why   string
	}{
		{"a name needs no scope", narrow, &partnersv1.ApiClient{DisplayName: "EHR 2"}, nil, codes.OK, ""},
		{"keys need all its scopes", narrow, &partnersv1.ApiClient{Keys: newKeys}, nil, codes.PermissionDenied, "SCOPE_NOT_HELD"},
		{"a URL for keys too", narrow, &partnersv1.ApiClient{Keys: &partnersv1.ApiClient_JwksUri{JwksUri: "https://ehr.example/keys"}}, nil, codes.PermissionDenied, "SCOPE_NOT_HELD"},
		{"disabling needs none", narrow, &partnersv1.ApiClient{Disabled: true}, nil, codes.OK, ""},
		{"enabling needs all", narrow, &partnersv1.ApiClient{}, []string{"disabled"}, codes.PermissionDenied, "SCOPE_NOT_HELD"},
		{"who has them all may", wide, &partnersv1.ApiClient{Keys: newKeys}, []string{"disabled", "jwks"}, codes.OK, ""},
		{"but gives no more", wide, &partnersv1.ApiClient{Scopes: []string{"groups.read", "members.write"}}, nil, codes.PermissionDenied, "SCOPE_NOT_HELD"},
		{"taking needs none", narrow, &partnersv1.ApiClient{Scopes: []string{"groups.read"}}, nil, codes.OK, ""},
		{"no keys at all", wide, &partnersv1.ApiClient{}, []string{"jwks"}, codes.InvalidArgument, "INVALID_FIELD"},
		{"another organization", platform(t), &partnersv1.ApiClient{Organization: "organizations/" + uuid.NewString()}, nil, codes.InvalidArgument, "INVALID_FIELD"},
		{"a stale etag", wide, &partnersv1.ApiClient{DisplayName: "x", Etag: `"1"`}, nil, codes.Aborted, "ETAG_MISMATCH"},
		{"an output field", wide, &partnersv1.ApiClient{}, []string{"create_time"}, codes.InvalidArgument, "INVALID_FIELD"},
	} {
		if code, why := reason(second(update(step.ctx, step.c, step.paths...))); code != step.code || why != step.why {
			t.Errorf("%s: %v %s; want %v %s", step.name, code, why, step.code, step.why)
		}
	}
	want := &partnersv1.ApiClient{Name: "apiClients/ehr", Organization: o.GetName(), DisplayName: "EHR 2", FhirProfile: partnersv1.ApiClient_SDOHCC, Scopes: []string{"groups.read"}, Keys: newKeys, Etag: `"5"`}
	got, err := s.GetApiClient(narrow, &partnersv1.GetApiClientRequest{Name: "apiClients/ehr"})
	if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(want, "create_time", "update_time")); err != nil || diff != "" {
		t.Errorf("in the end %v (-want +got):\n%s", err, diff)
	}
	if got, err = update(platform(t), &partnersv1.ApiClient{DisplayName: "EHR", Scopes: []string{"members.write"}, Keys: &partnersv1.ApiClient_JwksUri{JwksUri: "https://ehr.example/keys"}}, "*"); err != nil || got.GetJwks() != nil || got.GetJwksUri() == "" || got.GetDisabled() {
		t.Errorf("replaced by the platform: %v, %v", got, err)
	}
}

func TestListAPIClients(t *testing.T) {
	t.Parallel()
	s := setup(t, nil)
	a, b := s.organization(t, partnersv1.Organization_HOSPITAL), s.organization(t, partnersv1.Organization_NONPROFIT)
	for i, id := range []string{"z1", "a1", "m1", "z2", "a2"} {
		s.client(t, []*partnersv1.Organization{a, b}[i%2], id, []string{"groups.read", "members.read"}[i%2])
	}
	list := func(ctx context.Context, filter string) (ids []string) {
		req := &partnersv1.ListApiClientsRequest{PageSize: 2, Filter: filter}
		for {
			resp, err := s.ListApiClients(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range resp.GetApiClients() {
				ids = append(ids, c.GetName()[len(apiClients):])
			}
			if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
				return ids
			}
		}
	}
	ofA := suitetest.Client(t.Context(), a.GetName(), "partners.read")
	for _, tc := range []struct {
		ctx    context.Context
		filter string
		want   []string
	}{
		{ofA, "", []string{"a2", "m1", "z1"}}, // all of one instant: by id
		{ofA, `organization = "` + b.GetName() + `"`, nil},
		{platform(t), "", []string{"a1", "a2", "m1", "z1", "z2"}},
		{platform(t), `organization = "` + b.GetName() + `"`, []string{"a1", "z2"}},
		{platform(t), `scopes:"groups.read" OR disabled = true`, []string{"a2", "m1", "z1"}},
	} {
		if got := list(tc.ctx, tc.filter); !slices.Equal(got, tc.want) {
			t.Errorf("filter %q: %v; want %v", tc.filter, got, tc.want)
		}
	}
	first, err := s.ListApiClients(platform(t), &partnersv1.ListApiClientsRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ListApiClients(ofA, &partnersv1.ListApiClientsRequest{PageToken: first.GetNextPageToken()}); field(err) != "page_token" {
		t.Errorf("another tenant's page token: %v; want INVALID_ARGUMENT on page_token", err)
	}
}
