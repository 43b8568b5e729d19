package chassis_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/partners"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestProcessServes(t *testing.T) {
	t.Parallel()
	s := suitetest.Start(t, []chassis.Component{partners.Component()})
	conn := dial(t, s.GRPCAddr)
	h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "cairn.partners.v1.PartnersService"})
	if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health = %v, %v; want SERVING", h, err)
	}
	for path, want := range map[string]string{"/healthz": "SERVING", "/readyz": `"partners":"ok"`, "/metrics": "go_goroutines"} {
		if code, body := get(t, "http://"+s.HTTPAddr+path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s = %d %.200s; want 200 with %s", path, code, body, want)
		}
	}
	orgs := partnersv1.NewPartnersServiceClient(conn)
	_, err = orgs.ListOrganizations(t.Context(), &partnersv1.ListOrganizationsRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v; want UNAUTHENTICATED", err)
	}
}

func TestProcessRefusesForgedCallers(t *testing.T) {
	t.Parallel()
	s := suitetest.Start(t, []chassis.Component{partners.Component()})
	orgs := partnersv1.NewPartnersServiceClient(dial(t, s.GRPCAddr))
	forged, err := auth.NewIdentities(clock.System{}).Sign(auth.Principal{Kind: auth.Service, Subject: "referral", Service: "referral"}, "partners")
	if err != nil {
		t.Fatal(err)
	}
	for name, md := range map[string]metadata.MD{
		"identity under another key": metadata.Pairs(auth.IdentityHeader, forged),
		"identity that is none":      metadata.Pairs(auth.IdentityHeader, "x"),
		"two identities":             metadata.Pairs(auth.IdentityHeader, "x", auth.IdentityHeader, "y"),
		"no bearer":                  metadata.Pairs("authorization", "Basic eDp5"),
		"token that is none":         metadata.Pairs("authorization", "Bearer x.y.z"),
		"empty token":                metadata.Pairs("authorization", "Bearer "),
	} {
		_, err := orgs.ListOrganizations(metadata.NewOutgoingContext(t.Context(), md), &partnersv1.ListOrganizationsRequest{})
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %v; want UNAUTHENTICATED", name, err)
		}
	}
}

func TestProcessAuthorizes(t *testing.T) {
	t.Parallel()
	s := suitetest.Start(t, []chassis.Component{partners.Component()})
	orgs := partnersv1.NewPartnersServiceClient(s.Conn("partners"))
	create := &partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{DisplayName: "New", Kind: partnersv1.Organization_NONPROFIT}}
	for name, tc := range map[string]struct {
		ctx  context.Context
		want codes.Code
	}{
		"a client without the scope": {suitetest.Platform(t.Context(), "groups.read"), codes.PermissionDenied},
		"a client of no platform":    {suitetest.Client(t.Context(), "organizations/0192d7a5-0000-7000-8000-000000000001", "partners.write"), codes.PermissionDenied},
		"a person without the role":  {suitetest.User(t.Context(), "organizations/0192d7a5-0000-7000-8000-000000000001", "COORDINATOR"), codes.PermissionDenied},
		"a client that may":          {suitetest.Platform(t.Context(), "partners.write"), codes.OK},
	} {
		if _, err := orgs.CreateOrganization(tc.ctx, create); status.Code(err) != tc.want {
			t.Errorf("%s: %v; want %v", name, err, tc.want)
		}
	}
}

func TestBootRefusesAnUnguardedRPC(t *testing.T) {
	t.Parallel()
	desc := grpc.ServiceDesc{ServiceName: "grpc.health.v1.Health", HandlerType: (*healthpb.HealthServer)(nil)}
	if _, err := auth.RulesOf(&desc); err == nil || !strings.Contains(err.Error(), "no policy") {
		t.Errorf("RulesOf a service without policies = %v; want an error that says so", err)
	}
	rules, err := auth.RulesOf(&groupsv1.GroupsService_ServiceDesc)
	if err != nil || len(rules) != len(groupsv1.GroupsService_ServiceDesc.Methods) {
		t.Errorf("RulesOf(GroupsService) = %d rules, %v; want one for each of %d methods", len(rules), err, len(groupsv1.GroupsService_ServiceDesc.Methods))
	}
}
