package e2e_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

const goldenHeader = `# Who may call which RPC, and whose rows the call may then touch: those of the caller's own
# organization, of all, or public ones only (an RPC of tenant "none" touches no tenant's rows).
# Every role stands in one line of every RPC.
#
# client    a system of an organization, with one scope alone, or as hospitals and nonprofits have them
# platform  a client of the platform's organization
# user      a person with a role, by a trusted OIDC issuer
# service   one of Cairn's services, on its own account
# via       a service that passes a client without scopes on
#
# Written by: go test ./e2e -run TestAuthorizationMatrix -update
`

// update is the flag of golden tests.
var update = flag.Bool("update", false, "write testdata/*.golden")

// role is a kind of caller in the matrix.
type role struct {
	kind, name string
	principal  auth.Principal
	via        string // the service that calls; "": the test
}

var (
	hospitalScopes = []string{"referrals.read", "referrals.write", "groups.read", "schedule.read", "partners.read"}
	serviceNames   = []string{"gateway", "groups", "membership", "partners", "referral", "scheduling"}
)

func roles() []role {
	org := aip.Name("organizations", aip.NewID())
	client := func(scopes ...string) auth.Principal {
		return auth.Principal{Kind: auth.Client, Subject: "apiClients/matrix", Organization: org, Scopes: scopes}
	}
	all := []role{{kind: "anonymous"}, {kind: "client", name: "-", principal: client()}, {kind: "client", name: "hospital", principal: client(hospitalScopes...)}, {kind: "client", name: "nonprofit", principal: client(everything...)},
		{kind: "client", name: "FHIR", principal: client("system/*.cruds")}} // whose scopes open the FHIR face only
	for _, scope := range everything {
		all = append(all, role{kind: "client", name: scope, principal: client(scope)})
	}
	for _, scope := range append([]string{"-"}, everything...) {
		p := client(scope)
		p.Platform = true
		all = append(all, role{kind: "platform", name: scope, principal: p})
	}
	for _, name := range []string{"-", "COORDINATOR", "OPERATOR", "MEMBER", "FACILITATOR"} {
		all = append(all, role{kind: "user", name: name, principal: auth.Principal{
			Kind: auth.User, Subject: "person", Organization: org, Roles: []string{name},
			Member: aip.Name("members", aip.NewID()), Facilitator: aip.Name("facilitators", aip.NewID()),
		}})
	}
	for _, name := range serviceNames {
		all = append(all,
			role{kind: "service", name: name, principal: auth.PrincipalFrom(auth.System(context.Background(), name)), via: name},
			role{kind: "via", name: name, principal: client(), via: name})
	}
	return all
}

// rules returns the policy of every RPC that Cairn has, by full method.
func rules(t *testing.T) auth.Rules {
	t.Helper()
	all := auth.Rules{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			if name := string(f.Services().Get(i).FullName()); strings.HasPrefix(name, "cairn.") {
				r, err := auth.RulesOf(&grpc.ServiceDesc{ServiceName: name})
				if err != nil {
					t.Error(err)
				}
				all.Merge(r)
			}
		}
		return true
	})
	if len(all) < 60 {
		t.Fatalf("%d RPCs are registered; are all services linked in?", len(all))
	}
	return all
}

// verdict is what a role gets: "own", "all" or "public" rows, "self" for those of the person herself, or why it is refused.
func (r role) verdict(method string, all auth.Rules) string {
	p := r.principal
	p.Service = r.via
	ctx, err := auth.Authorize(auth.WithPrincipal(context.Background(), p), all[method])
	if err != nil {
		return "refused " + reasonOf(err)
	}
	_, self := auth.SelfFrom(ctx)
	switch tenant := auth.TenantFrom(ctx); {
	case self:
		return "self"
	case tenant.All:
		return "all"
	case tenant.Org == p.OrganizationID() && p.Organization != "":
		return "own"
	}
	return "public"
}

// TestAuthorizationMatrix compares who may call what with testdata/authorization.golden.
func TestAuthorizationMatrix(t *testing.T) {
	t.Parallel()
	all := rules(t)
	var out bytes.Buffer
	out.WriteString(goldenHeader)
	for _, method := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&out, "\n%s  tenant: %s  personal data: %s\n", method,
			strings.ToLower(all[method].GetTenant().String()), strings.ToLower(strings.TrimPrefix(all[method].GetPhi().String(), "PHI_")))
		got := map[string][]string{} // verdict and kind to names
		for _, r := range roles() {
			key := r.verdict(method, all) + "\t" + r.kind
			got[key] = append(got[key], r.name)
		}
		lines := map[string][]string{}
		for _, key := range slices.Sorted(maps.Keys(got)) {
			verdict, kind, _ := strings.Cut(key, "\t")
			if names := strings.Join(got[key], " "); names != "" {
				kind += "[" + names + "]"
			}
			lines[verdict] = append(lines[verdict], kind)
		}
		for _, verdict := range slices.Sorted(maps.Keys(lines)) {
			fmt.Fprintf(&out, "  %-23s %s\n", verdict, strings.Join(lines[verdict], " "))
		}
	}
	path := filepath.Join("testdata", "authorization.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("who may call what has changed; if that is meant, run this test with -update (-golden +now):\n%s", d)
	}
}

// TestAuthorizationIsEnforced calls every RPC in every role over the real services, with an
// empty request: who the matrix refuses is refused for that reason, everybody else is not.
func TestAuthorizationIsEnforced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := rules(t)
	for _, r := range roles() {
		self := r.via
		if self == "" {
			self = "test"
		}
		ctx := auth.WithPrincipal(t.Context(), r.principal)
		for method := range all {
			service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
			peer := strings.Split(service, ".")[1]
			err := call(ctx, w.ConnAs(self, peer), method, request(t, service, name), answer(t, service, name))
			want, got := r.verdict(method, all), "allowed"
			switch reason := reasonOf(err); reason {
			case "TOKEN_REQUIRED", "MISSING_SCOPE", "MISSING_ROLE", "NOT_FOR_CALLER", "PLATFORM_ONLY", "NO_POLICY":
				got = "refused " + reason
			}
			if !strings.HasPrefix(want, "refused") {
				want = "allowed"
			}
			if got != want {
				t.Errorf("%s[%s] calls %s: %s, want %s: %v", r.kind, r.name, method, got, want, err)
			}
			switch status.Code(err) {
			case codes.Internal, codes.Unknown, codes.Unavailable, codes.Unimplemented, codes.DeadlineExceeded:
				t.Errorf("%s[%s] calls %s with an empty request: %v", r.kind, r.name, method, err)
			}
		}
	}

	// The same over the sockets, with real tokens.
	hospital := w.hospital(t, "Bayou Regional")
	w.send(t, "GET", "/v1/members", "").want(t, 401, "TOKEN_REQUIRED")
	w.send(t, "GET", "/v1/groups:search", "").ok(t)
	hospital.get(t, "/v1/members").want(t, 403, "MISSING_SCOPE")
	hospital.get(t, "/v1/referrals").ok(t)
	hospital.post(t, "/v1/groups", circle()).want(t, 403, "MISSING_SCOPE")
	hospital.post(t, "/v1/memberships:placeReferral", obj{}).want(t, 403, "NOT_FOR_CALLER")
	w.nonprofit(t, "Puentes").post(t, "/v1/organizations", obj{"kind": "HOSPITAL", "displayName": "Mine"}).want(t, 403, "PLATFORM_ONLY")
}

func method(t *testing.T, service, name string) protoreflect.MethodDescriptor {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		t.Fatalf("%s.%s is no method", service, name)
	}
	return m
}

// request and answer make the empty messages of an RPC.
func request(t *testing.T, service, name string) proto.Message {
	t.Helper()
	return message(t, method(t, service, name).Input())
}

func answer(t *testing.T, service, name string) proto.Message {
	t.Helper()
	return message(t, method(t, service, name).Output())
}

func message(t *testing.T, d protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	m, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return m.New().Interface()
}
