package fhir

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/formats/fhir/r4"
)

// organization is the organizations that take part: of the partners service. Without a token only those are shown that have public
// groups; the others are nobody's business.
func organization() *resource {
	return &resource{
		kind: "Organization", public: true, versions: true, reads: []string{"partners.read"},
		doc:      "The organizations that take part: hospitals, nonprofits, umbrellas, authorities. Without a token only those that have groups in the public directory.",
		profiles: []string{usCore + "us-core-organization"},
		read:     readOrganization, search: searchOrganizations,
		params: []param{
			byID(), byUpdate(),
			{name: "name", kind: stringParam, modifiers: []string{"contains", "exact"}, doc: "The beginning of the name; with :contains any part of it. Case and accents do not matter."},
			{name: "active", kind: tokenParam, doc: "true: every organization that is shown is active."},
			{name: "type", kind: tokenParam, or: true, doc: "What sort of organization it is: prov, cg, govt or other of HL7's organization-type, or of " + kindSystem + ": hospital, nonprofit, umbrella, public-authority, platform."},
			{name: "partof", kind: referenceParam, targets: []string{"Organization"}, doc: "The umbrella that it belongs to."},
		},
		sorts: []string{"name"},
		includes: []include{{param: "partof", target: "Organization", of: func(body any) []string {
			if o, ok := body.(*r4.Organization); ok && o.PartOf != nil {
				return []string{o.PartOf.Reference}
			}
			return nil
		}}},
	}
}

const (
	usCore     = "http://hl7.org/fhir/us/core/StructureDefinition/"
	kindSystem = ownCodes + "organization-kind"
)

func readOrganization(ctx context.Context, c *call, id string) (*item, error) {
	if !isUUID(id) {
		return nil, missing("Organization", id)
	}
	name := "organizations/" + id
	if c.principal.Kind == auth.Anonymous {
		ctx = gateway(ctx)
		if shown, err := c.hasGroups(ctx, name); err != nil || !shown {
			return nil, cmp.Or(err, missing("Organization", id))
		}
	}
	o, err := c.partners.GetOrganization(ctx, &partnersv1.GetOrganizationRequest{Name: name})
	if status.Code(err) == codes.NotFound {
		return nil, missing("Organization", id)
	}
	if err != nil {
		return nil, err
	}
	return organizationItem(o), nil
}

// hasGroups tells whether an organization has groups in the public directory.
func (c *call) hasGroups(ctx context.Context, name string) (bool, error) {
	resp, err := c.sync.ListDirectory(anonymous(ctx), &groupsv1.ListDirectoryRequest{Organization: name, PageSize: 1})
	return len(resp.GetGroups()) > 0, err
}

// searchOrganizations finds organizations as the partners service lists them, and leaves out what it cannot tell apart.
func searchOrganizations(ctx context.Context, c *call, s *search) (*page, error) {
	keep, filter, err := organizationFilter(s)
	if err != nil {
		return nil, err
	}
	if c.principal.Kind == auth.Anonymous {
		listed, err := c.face.owners.listed(ctx)
		if err != nil {
			return nil, err
		}
		ctx, keep = gateway(ctx), append(keep, func(o *partnersv1.Organization) bool { return listed[o.GetName()] })
	}
	shown := func(o *partnersv1.Organization) bool {
		return !slices.ContainsFunc(keep, func(k func(*partnersv1.Organization) bool) bool { return !k(o) })
	}
	out := &page{}
	if ids, ok := s.ids("_id"); ok {
		for _, id := range ids {
			o, err := c.partners.GetOrganization(ctx, &partnersv1.GetOrganizationRequest{Name: "organizations/" + id})
			if err != nil && status.Code(err) != codes.NotFound {
				return nil, err
			}
			if err == nil && shown(o) {
				out.items = append(out.items, organizationItem(o))
			}
		}
		return out, nil
	}
	req := &partnersv1.ListOrganizationsRequest{PageSize: int32(s.count), PageToken: s.cursor, Filter: filter}
	if len(s.sort) > 0 {
		req.OrderBy = "display_name"
		if s.sort[0].descending {
			req.OrderBy += " desc"
		}
	}
	for range maxPages {
		resp, err := c.partners.ListOrganizations(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, o := range resp.GetOrganizations() {
			if shown(o) {
				out.items = append(out.items, organizationItem(o))
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" || len(out.items) > 0 {
			break
		}
	}
	out.next = req.PageToken
	return out, nil
}

// maxPages is how many pages of a service are gone through for one of ours before what was found so far is given.
const maxPages = 20

// organizationFilter returns what the service finds, and what is left out of that.
func organizationFilter(s *search) (keep []func(*partnersv1.Organization) bool, filter string, err error) {
	when, err := s.span("_lastUpdated")
	if err != nil {
		return nil, "", err
	}
	active, err := s.truth("active")
	if err != nil {
		return nil, "", err
	}
	keep = append(keep, func(o *partnersv1.Organization) bool {
		return (active == nil || *active) && when.holds(o.GetUpdateTime().AsTime())
	})
	var parts []string
	if parents, ok := s.ids("partof"); ok {
		keep = append(keep, func(o *partnersv1.Organization) bool { return slices.Contains(parents, idIn(o.GetParent())) })
		if len(parents) > 0 {
			parts = append(parts, `parent = "organizations/`+parents[0]+`"`)
		}
	}
	if kinds := s.values("type"); kinds != nil {
		keep = append(keep, func(o *partnersv1.Organization) bool {
			return hasCoding(organizationType(o.GetKind()), kinds)
		})
		var either []string
		for k, name := range partnersv1.Organization_Kind_name {
			if k != 0 && hasCoding(organizationType(partnersv1.Organization_Kind(k)), kinds) {
				either = append(either, "kind = "+name)
			}
		}
		if len(either) > 0 {
			parts = append(parts, "("+strings.Join(either, " OR ")+")")
		}
	}
	for _, cl := range s.clausesOf("name") {
		keep = append(keep, func(o *partnersv1.Organization) bool { return cl.matches(o.GetDisplayName(), strings.HasPrefix) })
		if text := cl.values[0].text; cl.modifier == "exact" && !strings.ContainsAny(text, "\"\\") && strings.TrimSpace(text) != "" {
			parts = append(parts, `display_name:"`+text+`"`)
		}
	}
	return keep, strings.Join(parts, " AND "), nil
}

func organizationItem(o *partnersv1.Organization) *item {
	_, id, _ := strings.Cut(o.GetName(), "/")
	version, updated := strings.Trim(o.GetEtag(), `"`), o.GetUpdateTime().AsTime()
	yes := true
	out := &r4.Organization{
		ResourceType: "Organization", Id: id, Meta: meta(version, updated, usCore+"us-core-organization"), Active: &yes, Name: o.GetDisplayName(),
		Type: organizationType(o.GetKind()),
	}
	contact := o.GetContact()
	for _, t := range []r4.ContactPoint{{System: "phone", Value: contact.GetPhone()}, {System: "email", Value: contact.GetEmail()}, {System: "url", Value: contact.GetWebsite()}} {
		if t.Value != "" {
			out.Telecom = append(out.Telecom, t)
		}
	}
	if a := address(contact.GetAddress()); a != nil {
		out.Address = []r4.Address{*a}
	}
	if o.GetParent() != "" {
		out.PartOf = &r4.Reference{Reference: "Organization/" + strings.TrimPrefix(o.GetParent(), "organizations/")}
	}
	return &item{kind: "Organization", id: id, version: version, updated: updated, body: out}
}

// organizationType says what sort of organization it is.
func organizationType(k partnersv1.Organization_Kind) []r4.CodeableConcept {
	coding := r4.Coding{System: "http://terminology.hl7.org/CodeSystem/organization-type", Code: "other", Display: "Other"}
	switch k {
	case partnersv1.Organization_HOSPITAL:
		coding.Code, coding.Display = "prov", "Healthcare Provider"
	case partnersv1.Organization_NONPROFIT:
		coding.Code, coding.Display = "cg", "Community Group"
	case partnersv1.Organization_PUBLIC_AUTHORITY:
		coding.Code, coding.Display = "govt", "Government"
	}
	return []r4.CodeableConcept{{Coding: []r4.Coding{coding, {System: kindSystem, Code: codeFor(k), Display: wordsFor(k)}}}}
}

// address writes a postal address; nil if there is none.
func address(a *typev1.PostalAddress) *r4.Address {
	if a == nil {
		return nil
	}
	out := &r4.Address{Line: a.GetAddressLines(), City: a.GetLocality(), State: a.GetAdministrativeArea(), PostalCode: a.GetPostalCode(), Country: a.GetCountry()}
	if len(out.Line) == 0 && out.City+out.State+out.PostalCode+out.Country == "" {
		return nil
	}
	return out
}
