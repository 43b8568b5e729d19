package partners

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/jwks"
	"cairn.care/services/chassis/outbound"
	"cairn.care/services/partners/smart"
)

const (
	apiClients = "apiClients/"

	maxClientKeys = 20
)

// apiClientMutable are the fields of a client that an update may name.
var apiClientMutable = []string{"display_name", "jwks", "jwks_uri", "scopes", "disabled", "fhir_profile"}

// checkAPIClient checks what the contract's field rules cannot.
func checkAPIClient(c *partnersv1.ApiClient) error {
	var bad []*fault.Violation
	if strings.TrimSpace(c.GetDisplayName()) == "" {
		bad = append(bad, fault.Field("api_client.display_name", "is required"))
	}
	switch k := c.GetKeys().(type) {
	case *partnersv1.ApiClient_Jwks:
		bad = append(bad, checkJWKS(k.Jwks)...)
	case *partnersv1.ApiClient_JwksUri:
		if err := outbound.CheckURL(k.JwksUri); err != nil {
			bad = append(bad, fault.Field("api_client.jwks_uri", "must be an https URL with no user name and no fragment"))
		}
	default:
		bad = append(bad, fault.Field("api_client.jwks", "one of jwks and jwks_uri is required"))
	}
	if bad != nil {
		return fault.Invalid(bad...)
	}
	return nil
}

func defaultProfile(c *partnersv1.ApiClient) {
	if c.GetFhirProfile() == partnersv1.ApiClient_FHIR_PROFILE_UNSPECIFIED {
		c.FhirProfile = partnersv1.ApiClient_SDOHCC
	}
}

// checkJWKS checks a client's own key set: public keys with a kid each, and at least one
// that SMART's algorithms can use.
func checkJWKS(s *structpb.Struct) []*fault.Violation {
	doc, err := protojson.Marshal(s)
	if err != nil {
		return []*fault.Violation{fault.Field("api_client.jwks", "is not a JSON object")}
	}
	set, rejected, err := jwks.Parse(doc)
	if err != nil {
		return []*fault.Violation{fault.Field("api_client.jwks", "%v", err)}
	}
	var bad []*fault.Violation
	for _, r := range rejected {
		bad = append(bad, fault.Field(fmt.Sprintf("api_client.jwks.keys[%d]", r.Index), "%s", r.Reason))
	}
	if len(set) > maxClientKeys {
		bad = append(bad, fault.Field("api_client.jwks.keys", "more than %d keys", maxClientKeys))
	}
	kids, usable := map[string]bool{}, false
	for i := range set {
		kid := set[i].KeyID
		switch {
		case kid == "":
			bad = append(bad, fault.Field("api_client.jwks.keys", "a key has no kid"))
		case kids[kid]:
			bad = append(bad, fault.Field("api_client.jwks.keys", "two keys have the kid %q", kid))
		}
		kids[kid] = true
		usable = usable || slices.ContainsFunc(smart.Algorithms(), func(alg jose.SignatureAlgorithm) bool { return jwks.Suits(&set[i], alg) })
	}
	if !usable && bad == nil {
		bad = append(bad, fault.Field("api_client.jwks.keys", "no key can verify RS384 (RSA) or ES384 (EC, P-384)"))
	}
	return bad
}

// mayGrant refuses to let a caller give powers that it does not have itself: whoever holds
// a client's keys has its scopes.
func mayGrant(ctx context.Context, scopes []string) error {
	if auth.TenantFrom(ctx).All {
		return nil
	}
	p := auth.PrincipalFrom(ctx)
	for _, s := range scopes {
		if !auth.Covers(p.Scopes, s) {
			return fault.Denied("SCOPE_NOT_HELD", "your token does not hold %s itself: only the platform may give what the giver does not have", s)
		}
	}
	return nil
}

// apiClientRow is a row of api_clients.
type apiClientRow struct {
	ID           string
	OrgID        uuid.UUID
	Revision     int64
	DisplayName  string
	JWKS         []byte
	JWKSURI      *string
	Scopes       []string
	FHIRProfile  string // as ApiClient.FhirProfile names it
	Disabled     bool
	LastUsedTime *time.Time
	CreateTime   time.Time
	UpdateTime   time.Time
}

// newAPIClientRow returns the row of a checked client.
func newAPIClientRow(c *partnersv1.ApiClient) (*apiClientRow, error) {
	r := &apiClientRow{
		ID: strings.TrimPrefix(c.GetName(), apiClients), DisplayName: c.GetDisplayName(), Scopes: list(c.GetScopes()), Disabled: c.GetDisabled(), FHIRProfile: c.GetFhirProfile().String(),
		CreateTime: c.GetCreateTime().AsTime(), UpdateTime: c.GetUpdateTime().AsTime(),
	}
	var err error
	if r.OrgID, err = aip.ParseName("api_client.organization", organizations, c.GetOrganization()); err != nil {
		return nil, err
	}
	switch k := c.GetKeys().(type) {
	case *partnersv1.ApiClient_Jwks:
		if r.JWKS, err = protojson.Marshal(k.Jwks); err != nil {
			return nil, fmt.Errorf("encode key set: %w", err)
		}
	case *partnersv1.ApiClient_JwksUri:
		r.JWKSURI = &k.JwksUri
	}
	return r, nil
}

func (r *apiClientRow) toProto() (*partnersv1.ApiClient, error) {
	c := &partnersv1.ApiClient{
		Name: apiClients + r.ID, Organization: aip.Name(organizations, r.OrgID), DisplayName: r.DisplayName,
		Scopes: r.Scopes, Disabled: r.Disabled, FhirProfile: partnersv1.ApiClient_FhirProfile(partnersv1.ApiClient_FhirProfile_value[r.FHIRProfile]), Etag: aip.ETag(r.Revision),
		CreateTime: timestamppb.New(r.CreateTime), UpdateTime: timestamppb.New(r.UpdateTime),
	}
	if r.LastUsedTime != nil {
		c.LastUsedTime = timestamppb.New(*r.LastUsedTime)
	}
	if r.JWKSURI != nil {
		c.Keys = &partnersv1.ApiClient_JwksUri{JwksUri: *r.JWKSURI}
		return c, nil
	}
	set := new(structpb.Struct)
	if err := protojson.Unmarshal(r.JWKS, set); err != nil {
		return nil, fmt.Errorf("decode key set of %s: %w", c.GetName(), err)
	}
	c.Keys = &partnersv1.ApiClient_Jwks{Jwks: set}
	return c, nil
}

// apiClientChanged returns the event of a change.
func apiClientChanged(what string, c *partnersv1.ApiClient, revision int64) events.Event {
	return events.Event{
		Type: "care.cairn.partners.api_client." + what + ".v1", Subject: c.GetName(), Revision: revision,
		Data: &partnersv1.ApiClientChanged{
			ApiClient: c.GetName(), Organization: c.GetOrganization(), Scopes: c.GetScopes(), Disabled: c.GetDisabled(),
			Revision: revision, ChangeTime: c.GetUpdateTime(),
		},
	}
}
