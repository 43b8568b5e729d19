package auth

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	policyv1 "cairn.care/gen/cairn/policy/v1"
	"cairn.care/services/chassis/fault"
)

// Rules holds the access rule of every RPC of a server, by full method
// ("/cairn.groups.v1.GroupsService/GetGroup").
type Rules map[string]*policyv1.Rule

// RulesOf reads the rules of a service's RPCs from their method options. It is an error
// if one has none, does not say whose rows it touches, or lets nobody in.
func RulesOf(desc *grpc.ServiceDesc) (Rules, error) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", desc.ServiceName, err)
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("service %s is no service", desc.ServiceName)
	}
	rules := Rules{}
	for i := range sd.Methods().Len() {
		m := sd.Methods().Get(i)
		method := "/" + desc.ServiceName + "/" + string(m.Name())
		rule, ok := proto.GetExtension(m.Options(), policyv1.E_Rule).(*policyv1.Rule)
		switch {
		case !ok || !proto.HasExtension(m.Options(), policyv1.E_Rule):
			return nil, fmt.Errorf("%s has no policy option", method)
		case rule.GetTenant() == policyv1.Tenant_TENANT_UNSPECIFIED:
			return nil, fmt.Errorf("%s: its policy does not say whose rows it touches", method)
		case !rule.GetPublic() && len(rule.GetScopes())+len(rule.GetRoles())+len(rule.GetServices()) == 0:
			return nil, fmt.Errorf("%s: its policy lets nobody in", method)
		case rule.GetPhi() != policyv1.Phi_PHI_NONE && (rule.GetPublic() || slices.Contains(rule.GetRoles(), policyv1.Role_OPERATOR)):
			return nil, fmt.Errorf("%s: personal data is never public, nor the operator's", method)
		}
		rules[method] = rule
	}
	return rules, nil
}

// Authorize returns a context bounded to the tenant that the rule gives the caller, or
// why the caller may not call.
func Authorize(ctx context.Context, rule *policyv1.Rule) (context.Context, error) {
	p := PrincipalFrom(ctx)
	if rule == nil {
		return nil, fault.Denied("NO_POLICY", "this method has no policy")
	}
	if p.Kind == Service && slices.Contains(rule.GetServices(), p.Service) {
		return WithTenant(ctx, Tenant{All: true}), nil
	}
	operator := false
	switch {
	case rule.GetPublic():
	case p.Kind == Anonymous:
		return nil, fault.Unauthenticated("TOKEN_REQUIRED", "this call needs an access token: Authorization: Bearer …")
	case p.Kind == Client && slices.ContainsFunc(rule.GetScopes(), p.HasScope):
	case p.Kind == User && (held(p, rule, policyv1.Role_COORDINATOR) || held(p, rule, policyv1.Role_OPERATOR)):
		operator = held(p, rule, policyv1.Role_OPERATOR)
	case p.Kind == User && (held(p, rule, policyv1.Role_MEMBER) || held(p, rule, policyv1.Role_FACILITATOR)):
		var self Self
		if held(p, rule, policyv1.Role_MEMBER) {
			self.Member = p.Member
		}
		if held(p, rule, policyv1.Role_FACILITATOR) {
			self.Facilitator = p.Facilitator
		}
		if self == (Self{}) {
			return nil, fault.Denied("PERSON_UNKNOWN", "the token does not say which member or facilitator you are")
		}
		ctx = WithSelf(ctx, self)
	default:
		return nil, denied(p, rule)
	}
	all := p.Platform || operator || p.Kind == Service
	if rule.GetTenant() == policyv1.Tenant_PLATFORM && !all {
		return nil, fault.Denied("PLATFORM_ONLY", "only clients of the platform organization may call this")
	}
	return WithTenant(ctx, Tenant{Org: p.OrganizationID(), All: all}), nil
}

// held tells whether the rule lets the role in and the caller has it.
func held(p Principal, rule *policyv1.Rule, role policyv1.Role) bool {
	return slices.Contains(rule.GetRoles(), role) && slices.Contains(p.Roles, role.String())
}

func denied(p Principal, rule *policyv1.Rule) error {
	switch {
	case p.Kind == Client && len(rule.GetScopes()) > 0:
		return fault.Denied("MISSING_SCOPE", "this call needs the scope %s; the token has %q", strings.Join(rule.GetScopes(), " or "), strings.Join(p.Scopes, " "))
	case p.Kind == User && len(rule.GetRoles()) > 0:
		return fault.Denied("MISSING_ROLE", "this call needs another role than yours")
	}
	return fault.Denied("NOT_FOR_CALLER", "this call is not open to a %s", p.Kind)
}

// Merge adds other's rules.
func (r Rules) Merge(other Rules) { maps.Copy(r, other) }
