package fhir

import (
	"context"
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
			{name: "name", kind: stringParam, modifiers: []string{"contains", "exact"}, doc: "The beginning of the name; with :contains any part of it. Case does not matter."},
			{name: "active", kind: tokenParam, doc: "true: every organization that is shown is active."},
			{name: "type", kind: tokenParam, or: true, doc: "What sort of organization it is, of " + kindSystem + ": hospital, nonprofit, umbrella, public-authority."},
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
			return nil, firstError(err, missing("Organization", id))
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

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// searchOrganizations goes through the organizations as the partners service lists them: there are some thousands at most.
func searchOrganizations(ctx context.Context, c *call, s *search) (*page, error) {
	keep, filter, err := organizationFilter(s)
	if err != nil {
		return nil, err
	}
	open := c.principal.Kind == auth.Anonymous
	if open {
		ctx = gateway(ctx)
	}
	req := &partnersv1.ListOrganizationsRequest{PageSize: int32(s.count), PageToken: s.cursor, Filter: filter} //nolint:gosec // at most 100
	if len(s.sort) > 0 {
		req.OrderBy = "display_name"
		if s.sort[0].descending {
			req.OrderBy += " desc"
		}
	}
	out := &page{}
	for range maxPages {
		resp, err := c.partners.ListOrganizations(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, o := range resp.GetOrganizations() {
			if !keep(o) {
				continue
			}
			if open {
				if shown, err := c.hasGroups(ctx, o.GetName()); err != nil || !shown {
					if err != nil {
						return nil, err
					}
					continue
				}
			}
			out.items = append(out.items, organizationItem(o))
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

// organizationFilter returns what of the search the service cannot do, and its filter for the rest.
func organizationFilter(s *search) (func(*partnersv1.Organization) bool, string, error) {
	when, err := s.span("_lastUpdated")
	if err != nil {
		return nil, "", err
	}
	active, err := s.truth("active")
	if err != nil {
		return nil, "", err
	}
	ids, byIDs := s.ids("_id")
	parents, byParent := s.ids("partof")
	var parts []string
	if byParent && len(parents) > 0 {
		parts = append(parts, `parent = "organizations/`+parents[0]+`"`)
	}
	kinds := s.values("type")
	return func(o *partnersv1.Organization) bool {
		_, id, _ := strings.Cut(o.GetName(), "/")
		switch {
		case active != nil && !*active, byParent && len(parents) == 0, byIDs && !contains(ids, id), !when.holds(o.GetUpdateTime().AsTime()):
			return false
		case kinds != nil && !hasToken(kinds, kindSystem, codeFor(o.GetKind())):
			return false
		}
		for _, cl := range s.clausesOf("name") {
			if !matchesText(cl, o.GetDisplayName()) {
				return false
			}
		}
		return true
	}, strings.Join(parts, " AND "), nil
}

// hasToken tells whether one of the tokens is the code of the system.
func hasToken(values []value, system, code string) bool {
	for _, v := range values {
		if isToken(v, system, code) {
			return true
		}
	}
	return false
}

// matchesText tells whether a text is what a string parameter asks for.
func matchesText(cl clause, text string) bool {
	for _, v := range cl.values {
		have, want := strings.ToLower(text), strings.ToLower(v.text)
		switch {
		case cl.modifier == "exact" && text == v.text,
			cl.modifier == "contains" && strings.Contains(have, want),
			cl.modifier == "" && strings.HasPrefix(have, want):
			return true
		}
	}
	return false
}

func organizationItem(o *partnersv1.Organization) *item {
	_, id, _ := strings.Cut(o.GetName(), "/")
	version, updated := strings.Trim(o.GetEtag(), `"`), o.GetUpdateTime().AsTime()
	yes := true
	out := &r4.Organization{
		ResourceType: "Organization", Id: id, Meta: meta(version, updated, usCore+"us-core-organization"), Active: &yes, Name: o.GetDisplayName(),
		Type: []r4.CodeableConcept{{Coding: append(organizationTypes(o.GetKind()), r4.Coding{System: kindSystem, Code: codeFor(o.GetKind()), Display: wordsFor(o.GetKind())})}},
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

// organizationTypes are the codes of HL7 for a kind of organization.
func organizationTypes(k partnersv1.Organization_Kind) []r4.Coding {
	const system = "http://terminology.hl7.org/CodeSystem/organization-type"
	switch k {
	case partnersv1.Organization_HOSPITAL:
		return []r4.Coding{{System: system, Code: "prov", Display: "Healthcare Provider"}}
	case partnersv1.Organization_NONPROFIT:
		return []r4.Coding{{System: system, Code: "cg", Display: "Community Group"}}
	case partnersv1.Organization_PUBLIC_AUTHORITY:
		return []r4.Coding{{System: system, Code: "govt", Display: "Government"}}
	}
	return []r4.Coding{{System: system, Code: "other", Display: "Other"}}
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
