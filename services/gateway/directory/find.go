package directory

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/formats/hsds"
)

// What is found by words and terms is bounded: who wants more narrows the search, or lists all.
const (
	maxFound = 1000
	maxCalls = 50 // pages of the search
)

// find returns the groups on a page, of those that the parameters ask for, and how many there are in all.
func (f *faces) find(ctx context.Context, q *query, s span) ([]*groupsv1.Group, int, error) {
	search, organization, after := q.text("search"), q.id("organization_id"), q.instant("modified_after")
	terms := q.terms()
	q.jsonOnly()
	if err := q.err(); err != nil {
		return nil, 0, err
	}
	if organization != "" {
		organization = "organizations/" + organization
	}
	if search == "" && terms == nil {
		req := &groupsv1.ListDirectoryRequest{PageSize: int32(s.size), Skip: int32(s.skip()), Organization: organization}
		if !after.IsZero() {
			req.UpdatedAfter = timestamppb.New(modified(after))
		}
		resp, err := f.sync.ListDirectory(anonymous(ctx), req)
		if err != nil {
			return nil, 0, err
		}
		return resp.GetGroups(), int(resp.GetTotalSize()), nil
	}
	if terms != nil && len(terms) == 0 {
		return nil, 0, nil // no such term: nobody carries it
	}
	req := &groupsv1.SearchGroupsRequest{Query: search, Organization: organization, PageSize: 100}
	narrow(req, terms)
	var found []*groupsv1.Group
	for range maxCalls {
		resp, err := f.search.SearchGroups(anonymous(ctx), req)
		if err != nil {
			return nil, 0, err
		}
		for _, r := range resp.GetResults() {
			g := r.GetGroup()
			if (after.IsZero() || !g.GetUpdateTime().AsTime().Before(after)) && carries(g, terms) {
				found = append(found, g)
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" || len(found) >= maxFound {
			break
		}
	}
	total := len(found)
	if req.GetPageToken() != "" {
		total++ // there are more
		if s.skip()+s.size > len(found) {
			return nil, 0, fault.Invalid(fault.Field("page", "is beyond the first %d that search and terms find; narrow them, or list all services", len(found)))
		}
	}
	return part(s, found), total, nil
}

// carries reports whether the group has one of the terms; with none, every group does.
func carries(g *groupsv1.Group, terms []hsds.Term) bool {
	if terms == nil {
		return true
	}
	ids := hsds.TermsOf(g)
	return slices.ContainsFunc(terms, func(t hsds.Term) bool { return slices.Contains(ids, t.ID) })
}

// terms returns the terms that taxonomy_term_id or taxonomy_id ask for, with those below them; nil if they do not ask.
func (q *query) terms() []hsds.Term {
	term, taxonomy := q.id("taxonomy_term_id"), q.id("taxonomy_id")
	if term == "" && taxonomy == "" {
		return nil
	}
	out := []hsds.Term{}
	wanted := map[string]bool{term: term != ""}
	for _, t := range hsds.Terms() { // parents before children
		if wanted[t.ParentID] {
			wanted[t.ID] = true
		}
		if (term == "" || wanted[t.ID]) && (taxonomy == "" || t.TaxonomyID == taxonomy) {
			out = append(out, t)
		}
	}
	switch {
	case len(out) == 0:
	case !searchable(out[0]):
		q.refuse("taxonomy_term_id", "terms of %q cannot be searched by", out[0].Taxonomy)
	case term == "" && field(out[0]) == "accessibility":
		q.refuse("taxonomy_id", "is of %q, of which one term must be named in taxonomy_term_id", out[0].Taxonomy)
	}
	return out
}

// field returns the path of a term's taxonomy in its term_uri, such as "kinds".
func field(t hsds.Term) string {
	path := strings.Split(t.URI, "/")
	return path[len(path)-2]
}

func searchable(t hsds.Term) bool {
	return slices.Contains([]string{
		"cancer-types", "kinds", "facilitation", "formats", "phases", "side-effects", "audiences", "demographics", "accessibility",
	}, field(t))
}

// narrow lets the search find first what carries one of the terms. Some facets also find what names none: [carries]
// decides.
func narrow(req *groupsv1.SearchGroupsRequest, terms []hsds.Term) {
	if len(terms) == 0 {
		return
	}
	switch name := field(terms[0]); name {
	case "cancer-types":
		req.CancerTypes, req.CancerTypeReach = []string{terms[0].Code}, groupsv1.SearchGroupsRequest_SUBTREE
	case "accessibility":
		req.Accessibility = append(req.Accessibility, groupsv1.Group_Accessibility(groupsv1.Group_Accessibility_value[terms[0].Code]))
	default:
		for _, t := range terms {
			switch name {
			case "kinds":
				req.Kinds = append(req.Kinds, groupsv1.Group_Kind(groupsv1.Group_Kind_value[t.Code]))
			case "facilitation":
				req.Facilitations = append(req.Facilitations, groupsv1.Group_Facilitation(groupsv1.Group_Facilitation_value[t.Code]))
			case "formats":
				req.Formats = append(req.Formats, groupsv1.Group_Format(groupsv1.Group_Format_value[t.Code]))
			case "phases":
				req.Phases = append(req.Phases, groupsv1.Group_Phase(groupsv1.Group_Phase_value[t.Code]))
			case "side-effects":
				req.SideEffects = append(req.SideEffects, groupsv1.Group_SideEffect(groupsv1.Group_SideEffect_value[t.Code]))
			case "audiences":
				req.Audiences = append(req.Audiences, groupsv1.Group_Audience(groupsv1.Group_Audience_value[t.Code]))
			case "demographics":
				req.Demographics = append(req.Demographics, groupsv1.Group_Demographic(groupsv1.Group_Demographic_value[t.Code]))
			}
		}
	}
}
