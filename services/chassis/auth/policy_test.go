package auth_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	policyv1 "cairn.care/gen/cairn/policy/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

func TestSelf(t *testing.T) {
	t.Parallel()
	const org, ana, lea = "organizations/0192d7a5-0000-7000-8000-000000000001", "members/0192d7a5-0000-7000-8000-0000000000aa", "facilitators/0192d7a5-0000-7000-8000-0000000000bb"
	rule := &policyv1.Rule{Roles: []policyv1.Role{policyv1.Role_COORDINATOR, policyv1.Role_MEMBER}, Tenant: policyv1.Tenant_CALLER}
	both := &policyv1.Rule{Roles: []policyv1.Role{policyv1.Role_FACILITATOR, policyv1.Role_MEMBER}, Tenant: policyv1.Tenant_CALLER}
	person := func(member, facilitator string, roles ...string) auth.Principal {
		return auth.Principal{Kind: auth.User, Organization: org, Member: member, Facilitator: facilitator, Roles: roles}
	}
	for name, tt := range map[string]struct {
		rule *policyv1.Rule
		who  auth.Principal
		want auth.Self
		self bool
		code codes.Code
	}{
		"a member is bounded to herself":                {rule, person(ana, "", "MEMBER"), auth.Self{Member: ana}, true, codes.OK},
		"what a role does not open is not hers":         {rule, person(ana, lea, "MEMBER", "FACILITATOR"), auth.Self{Member: ana}, true, codes.OK},
		"both":                                          {both, person(ana, lea, "MEMBER", "FACILITATOR"), auth.Self{Member: ana, Facilitator: lea}, true, codes.OK},
		"a coordinator who is a member too is not":      {rule, person(ana, "", "MEMBER", "COORDINATOR"), auth.Self{}, false, codes.OK},
		"a coordinator is not":                          {rule, person("", "", "COORDINATOR"), auth.Self{}, false, codes.OK},
		"a member of whom the token says not who":       {rule, person("", "", "MEMBER"), auth.Self{}, false, codes.PermissionDenied},
		"a claim without its role opens nothing":        {rule, person(ana, lea), auth.Self{}, false, codes.PermissionDenied},
		"a facilitator where only members are let in":   {rule, person("", lea, "FACILITATOR"), auth.Self{}, false, codes.PermissionDenied},
		"a facilitator's token that names a member too": {both, person(ana, lea, "FACILITATOR"), auth.Self{Facilitator: lea}, true, codes.OK},
	} {
		ctx, err := auth.Authorize(auth.WithPrincipal(t.Context(), tt.who), tt.rule)
		if got := fault.From(err).Code(); err != nil && got != tt.code || err == nil && tt.code != codes.OK {
			t.Errorf("%s: %v; want %v", name, err, tt.code)
			continue
		}
		if err != nil {
			continue
		}
		if got, self := auth.SelfFrom(ctx); got != tt.want || self != tt.self {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, self, tt.want, tt.self)
		}
		if _, self := auth.SelfFrom(auth.System(ctx, "membership")); self {
			t.Errorf("%s: the service on its own account is still bounded to a person", name)
		}
	}
}
