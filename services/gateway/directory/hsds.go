package directory

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats"
	"cairn.care/services/formats/hsds"
)

// hsdsRoot is where the API of HSDS is. Its version 3 has the shapes of HSDS 3.1, which those who know 3.0 can read.
const hsdsRoot = "/hsds/v3/"

// maxNested bounds the services that stand in an organization.
const maxNested = 1000

// hsds returns the API that HSDS describes (https://docs.openreferral.org, "API Reference").
func (f *faces) hsds() []Route {
	return []Route{
		{hsdsRoot + "{$}", f.root},
		{strings.TrimSuffix(hsdsRoot, "/"), f.root},
		{hsdsRoot + "services", f.services},
		{hsdsRoot + "services/{id}", f.service},
		{hsdsRoot + "organizations", f.organizations},
		{hsdsRoot + "organizations/{id}", f.organization},
		{hsdsRoot + "service_at_locations", f.locations},
		{hsdsRoot + "service_at_locations/{id}", f.location},
		{hsdsRoot + "taxonomies", f.taxonomies},
		{hsdsRoot + "taxonomies/{id}", f.taxonomy},
		{hsdsRoot + "taxonomy_terms", f.terms},
		{hsdsRoot + "taxonomy_terms/{id}", f.term},
	}
}

func (f *faces) root(w http.ResponseWriter, r *http.Request) error {
	if err := readQuery(r).err(); err != nil {
		return err
	}
	return writeJSON(w, map[string]string{
		"version": string(hsds.V31), "profile": strings.TrimSuffix(f.publicURL, "/") + "/docs",
		"openapi_url": "https://raw.githubusercontent.com/openreferral/specification/3.1/schema/openapi.json",
	})
}

func (f *faces) services(w http.ResponseWriter, r *http.Request) error {
	q := readQuery(r, "page", "per_page", "search", "taxonomy_term_id", "taxonomy_id", "organization_id", "modified_after", "full", "minimal", "format")
	full, minimal := q.truth("full"), q.truth("minimal")
	s := q.span(full)
	if full && minimal {
		q.refuse("minimal", "does not go with full")
	}
	groups, total, err := f.find(r.Context(), q, s)
	if err != nil {
		return err
	}
	if minimal {
		type entry struct {
			ID       string `json:"id"`
			Modified string `json:"last_modified"`
		}
		var list []entry
		for _, g := range groups {
			summary := hsds.WriteSummary(formats.Listing{Group: g})
			list = append(list, entry{summary.ID, summary.LastModified})
		}
		return writeJSON(w, pageOf(s, total, list))
	}
	listings, err := f.listings(r.Context(), groups)
	if err != nil {
		return err
	}
	if err := f.publishedOf(r.Context(), listings); err != nil {
		return err
	}
	list := make([]json.RawMessage, len(listings))
	for i, l := range listings {
		if list[i], err = hsds.WriteListed(l); full {
			list[i], _, err = hsds.Write(l)
		}
		if err != nil {
			return err
		}
	}
	return writeJSON(w, pageOf(s, total, list))
}

func (f *faces) service(w http.ResponseWriter, r *http.Request) error {
	l, err := f.listing(r, "services", r.PathValue("id"))
	if err != nil {
		return err
	}
	service, err := hsds.WriteDetail(*l)
	if err != nil {
		return err
	}
	return writeJSON(w, service)
}

// listing returns the public group with an id.
func (f *faces) listing(r *http.Request, kind, id string) (*formats.Listing, error) {
	if err := readQuery(r).err(); err != nil {
		return nil, err
	}
	service, ok := canonical(id)
	if kind == "service_at_locations" && ok {
		service, ok = hsds.ServiceOf(service)
	}
	if !ok {
		return nil, missing(kind, id)
	}
	g, err := f.groups.GetGroup(anonymous(r.Context()), &groupsv1.GetGroupRequest{Name: "groups/" + service})
	if status.Code(err) == codes.NotFound {
		return nil, missing(kind, id)
	}
	if err != nil {
		return nil, err
	}
	list, err := f.listings(r.Context(), []*groupsv1.Group{g})
	if err != nil {
		return nil, err
	}
	return &list[0], f.publishedOf(r.Context(), list)
}

// publishedOf gives groups what the records that they came from published and a group has no field for.
func (f *faces) publishedOf(ctx context.Context, listings []formats.Listing) error {
	if len(listings) == 0 {
		return nil
	}
	at := map[string]*groupsv1.Group{}
	req := &groupsv1.ListDirectoryRequest{PageSize: int32(len(listings)), Extras: groupsv1.ListDirectoryRequest_PUBLISHED}
	for _, l := range listings {
		at[l.Group.GetName()] = l.Group
		req.Groups = append(req.Groups, l.Group.GetName())
	}
	resp, err := f.sync.ListDirectory(anonymous(ctx), req)
	if err != nil {
		return err
	}
	for _, g := range resp.GetGroups() {
		at[g.GetName()].Extensions = g.GetExtensions()
	}
	return nil
}

func (f *faces) locations(w http.ResponseWriter, r *http.Request) error {
	q := readQuery(r, "page", "per_page", "search", "taxonomy_term_id", "taxonomy_id", "organization_id", "modified_after", "full", "format")
	full := q.truth("full")
	s := q.span(full)
	groups, total, err := f.find(r.Context(), q, s)
	if err != nil {
		return err
	}
	listings, err := f.listings(r.Context(), groups)
	if err != nil {
		return err
	}
	if full {
		if err := f.publishedOf(r.Context(), listings); err != nil {
			return err
		}
	}
	var list []any
	for _, l := range listings {
		if full {
			at, err := hsds.WriteDetailAt(l)
			if err != nil {
				return err
			}
			list = append(list, at)
			continue
		}
		at, err := hsds.WriteLocation(l, hsds.V31, false)
		if err != nil {
			return err
		}
		list = append(list, at)
	}
	return writeJSON(w, pageOf(s, total, list))
}

func (f *faces) location(w http.ResponseWriter, r *http.Request) error {
	l, err := f.listing(r, "service_at_locations", r.PathValue("id"))
	if err != nil {
		return err
	}
	at, err := hsds.WriteDetailAt(*l)
	if err != nil {
		return err
	}
	return writeJSON(w, at)
}

func (f *faces) organizations(w http.ResponseWriter, r *http.Request) error {
	q := readQuery(r, "page", "per_page", "search", "full", "format")
	full, search := q.truth("full"), strings.ToLower(q.text("search"))
	s := q.span(false)
	q.jsonOnly()
	if err := q.err(); err != nil {
		return err
	}
	owners, err := f.publicOwners(r.Context())
	if err != nil {
		return err
	}
	var found []*partnersv1.Organization
	for _, o := range owners {
		if strings.Contains(strings.ToLower(o.GetDisplayName()), search) {
			found = append(found, o)
		}
	}
	var list []*hsds.Organization
	for _, o := range part(s, found) {
		list = append(list, hsds.WriteOrganization(o, full))
	}
	return writeJSON(w, pageOf(s, len(found), list))
}

func (f *faces) organization(w http.ResponseWriter, r *http.Request) error {
	q := readQuery(r, "full_service")
	nested := q.truth("full_service")
	if err := q.err(); err != nil {
		return err
	}
	id, ok := canonical(r.PathValue("id"))
	if !ok {
		return missing("organizations", r.PathValue("id"))
	}
	groups, err := f.sync.ListDirectory(anonymous(r.Context()), &groupsv1.ListDirectoryRequest{PageSize: maxNested, Organization: "organizations/" + id})
	if err != nil {
		return err
	}
	if len(groups.GetGroups()) == 0 {
		return missing("organizations", id)
	}
	o, err := f.partners.GetOrganization(gateway(r.Context()), &partnersv1.GetOrganizationRequest{Name: "organizations/" + id})
	if status.Code(err) == codes.NotFound {
		return missing("organizations", id)
	}
	if err != nil {
		return err
	}
	out := hsds.WriteOrganization(o, true)
	if !nested {
		return writeJSON(w, out)
	}
	if groups.GetNextPageToken() != "" {
		return fault.Invalid(fault.Field("full_service", "the organization has more than %d services; list them with %sservices?organization_id=%s", maxNested, hsdsRoot, id))
	}
	for _, g := range groups.GetGroups() {
		service, _, err := hsds.WriteService(formats.Listing{Group: g}, hsds.V31)
		if err != nil {
			return err
		}
		out.Services = append(out.Services, *service)
	}
	return writeJSON(w, out)
}

func (f *faces) taxonomies(w http.ResponseWriter, r *http.Request) error {
	q := readQuery(r, "page", "per_page", "search", "format")
	search, s := strings.ToLower(q.text("search")), q.span(false)
	q.jsonOnly()
	if err := q.err(); err != nil {
		return err
	}
	found := slices.DeleteFunc(hsds.Taxonomies(), func(t hsds.Taxonomy) bool {
		return !strings.Contains(strings.ToLower(t.Name+" "+t.Description), search)
	})
	return writeJSON(w, pageOf(s, len(found), part(s, found)))
}

func (f *faces) taxonomy(w http.ResponseWriter, r *http.Request) error {
	if err := readQuery(r).err(); err != nil {
		return err
	}
	for _, t := range hsds.Taxonomies() {
		if t.ID == strings.ToLower(r.PathValue("id")) {
			return writeJSON(w, t)
		}
	}
	return missing("taxonomies", r.PathValue("id"))
}

func (f *faces) terms(w http.ResponseWriter, r *http.Request) error {
	q := readQuery(r, "page", "per_page", "search", "taxonomy_id", "top_only", "parent_id", "format")
	search, taxonomy, parent, top, s := strings.ToLower(q.text("search")), q.id("taxonomy_id"), q.id("parent_id"), q.truth("top_only"), q.span(false)
	q.jsonOnly()
	if err := q.err(); err != nil {
		return err
	}
	var found []hsds.Term
	for _, t := range hsds.Terms() {
		if (taxonomy == "" || t.TaxonomyID == taxonomy) && (parent == "" || t.ParentID == parent) && (!top || t.ParentID == "") &&
			strings.Contains(strings.ToLower(t.Name), search) {
			found = append(found, hsds.FullTerm(t))
		}
	}
	return writeJSON(w, pageOf(s, len(found), part(s, found)))
}

func (f *faces) term(w http.ResponseWriter, r *http.Request) error {
	if err := readQuery(r).err(); err != nil {
		return err
	}
	for _, t := range hsds.Terms() {
		if t.ID == strings.ToLower(r.PathValue("id")) {
			return writeJSON(w, hsds.FullTerm(t))
		}
	}
	return missing("taxonomy_terms", r.PathValue("id"))
}

// modified is what updated_after must be for a group that was modified at or after an instant to be found: the database
// counts microseconds.
func modified(after time.Time) time.Time { return after.Add(-time.Microsecond) }
