// Package auth knows who calls and whose rows the call may touch.
package auth

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Kind is what sort of caller a Principal is.
type Kind int

// The kinds of caller.
const (
	Anonymous Kind = iota // no token: public RPCs only
	Client                // a system, for its organization
	User                  // a person, through a trusted OIDC issuer
	Service               // a Cairn service, on its own account
)

// String returns the kind as the audit log writes it.
func (k Kind) String() string {
	return [...]string{"anonymous", "client", "user", "service"}[k]
}

// Principal is the caller of an RPC.
type Principal struct {
	Kind         Kind     `json:"kind"`
	Subject      string   `json:"sub,omitempty"`      // "apiClients/demo-hospital", a user's subject, or a service's name
	Organization string   `json:"org,omitempty"`      // "organizations/<uuid>"; empty for services and anonymous callers
	Platform     bool     `json:"platform,omitempty"` // client of the platform organization: sees every tenant
	Scopes       []string `json:"scopes,omitempty"`   // OAuth scopes of a client
	Roles        []string `json:"roles,omitempty"`    // roles of a user, as policy.v1.Role names them
	Member       string   `json:"member,omitempty"`   // who a user with role MEMBER is, "members/<uuid>"
	Facilitator  string   `json:"lead,omitempty"`     // who a user with role FACILITATOR is, "facilitators/<uuid>"
	Profile      string   `json:"profile,omitempty"`  // implementation guide that a client speaks on the FHIR face: "SDOHCC" or "BSER"; empty: SDOHCC
	Expires      int64    `json:"exp,omitempty"`      // Unix seconds at which the token by which the caller is known ends; 0: never
	Purpose      string   `json:"pou,omitempty"`      // why, as the caller says: a code of HL7 v3 PurposeOfUse; empty: it does not say
	Service      string   `json:"svc,omitempty"`      // the Cairn service that passed the call on, or that calls itself

	// OnBehalfOf is the caller for whom a service makes this call on its own account.
	OnBehalfOf *Principal `json:"obo,omitempty"`
}

// HasScope tells whether the caller holds the scope.
func (p Principal) HasScope(scope string) bool { return slices.Contains(p.Scopes, scope) }

// OrganizationID returns the caller's organization's id, uuid.Nil if it has none.
func (p Principal) OrganizationID() uuid.UUID {
	id, err := uuid.Parse(strings.TrimPrefix(p.Organization, "organizations/"))
	if err != nil {
		return uuid.Nil
	}
	return id
}

// Tenant says whose rows a query may touch. The zero Tenant touches public rows only.
type Tenant struct {
	Org uuid.UUID // rows of this organization
	All bool      // rows of every organization
}

// Self is who a person is that was let in for herself only: by role MEMBER, FACILITATOR or both, and no other.
type Self struct {
	Member      string // "members/<uuid>"; empty when she was not let in as a member
	Facilitator string // "facilitators/<uuid>"; empty when she was not let in as a facilitator
}

type (
	principalKey struct{}
	tenantKey    struct{}
	selfKey      struct{}
)

// WithSelf returns a context whose caller may touch her own things only.
func WithSelf(ctx context.Context, s Self) context.Context {
	return context.WithValue(ctx, selfKey{}, s)
}

// SelfFrom tells whether the caller may touch her own things only, and who she is. An RPC that lets in MEMBER or
// FACILITATOR must ask; false means that the caller is bounded by the tenant alone.
func SelfFrom(ctx context.Context) (Self, bool) {
	s, ok := ctx.Value(selfKey{}).(Self)
	return s, ok
}

// WithPrincipal returns a context whose caller is p.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns the caller; the zero Principal is anonymous.
func PrincipalFrom(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// WithTenant returns a context whose queries may touch t's rows.
func WithTenant(ctx context.Context, t Tenant) context.Context {
	return context.WithValue(ctx, tenantKey{}, t)
}

// TenantFrom returns whose rows queries may touch.
func TenantFrom(ctx context.Context) Tenant {
	t, _ := ctx.Value(tenantKey{}).(Tenant)
	return t
}

// System returns a context in which the service acts on its own account, on every
// tenant's rows: for jobs, event consumers and calls to peers. The present caller,
// if any, is kept as the one on whose behalf it acts.
func System(ctx context.Context, service string) context.Context {
	p := Principal{Kind: Service, Subject: service, Service: service}
	if caller := PrincipalFrom(ctx); caller.Kind != Anonymous && caller.Kind != Service {
		p.OnBehalfOf = &caller
	} else if caller.OnBehalfOf != nil {
		p.OnBehalfOf = caller.OnBehalfOf
	}
	return WithTenant(WithPrincipal(context.WithValue(ctx, selfKey{}, nil), p), Tenant{All: true})
}
