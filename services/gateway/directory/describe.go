package directory

import (
	"encoding/json"
	"fmt"
	"strings"
)

// operation is a route as the API's description tells it.
type operation struct {
	path, id, summary, content string
	parameters                 []string // names in parameters
}

// parameters of the faces: what they mean, and an example.
var parameters = map[string][2]string{
	"page":             {"Which page; 1 is the first.", "1"},
	"per_page":         {"How many a page has.", "50"},
	"search":           {"Words to search for.", "breast"},
	"taxonomy_term_id": {"Only what carries this term of /hsds/v3/taxonomy_terms, or one below it.", ""},
	"taxonomy_id":      {"Only what carries a term of this taxonomy.", ""},
	"organization_id":  {"Only services of this organization.", "0192d7a5-1000-7000-8000-000000000001"},
	"modified_after":   {"Only what was modified at or after this instant, RFC 3339.", "2026-11-01T00:00:00Z"},
	"full":             {"true: each with all its parts.", "true"},
	"minimal":          {"true: ids and instants of modification only.", "true"},
	"format":           {"json, which is all there is.", "json"},
	"full_service":     {"true: with the services.", "true"},
	"top_only":         {"true: only terms with none above.", "true"},
	"parent_id":        {"Only terms right below this one.", ""},
	"organization":     {"Only groups of this organization.", "organizations/0192d7a5-1000-7000-8000-000000000001"},
	"updated_after":    {"Only groups that were changed after this instant, RFC 3339.", "2026-11-01T00:00:00Z"},
}

// operations describes the public routes of [Handlers].
func operations() []operation {
	list := []string{"page", "per_page", "search", "taxonomy_term_id", "taxonomy_id", "organization_id", "modified_after", "full"}
	const doc = "application/json"
	return []operation{
		{hsdsRoot, "HSDSRoot", "Tells the version of HSDS", doc, nil},
		{hsdsRoot + "services", "HSDSListServices", "Lists public groups as services of HSDS 3.1", doc, append(list[:len(list):len(list)], "minimal", "format")},
		{hsdsRoot + "services/{id}", "HSDSGetService", "Gets a public group as a service of HSDS 3.1, with all its parts", doc, nil},
		{hsdsRoot + "organizations", "HSDSListOrganizations", "Lists the organizations that have public groups", doc, []string{"page", "per_page", "search", "full", "format"}},
		{hsdsRoot + "organizations/{id}", "HSDSGetOrganization", "Gets an organization", doc, []string{"full_service"}},
		{hsdsRoot + "service_at_locations", "HSDSListServiceAtLocations", "Lists where services are", doc, append(list[:len(list):len(list)], "format")},
		{hsdsRoot + "service_at_locations/{id}", "HSDSGetServiceAtLocation", "Gets a service at its location", doc, nil},
		{hsdsRoot + "taxonomies", "HSDSListTaxonomies", "Lists the taxonomies whose terms services carry", doc, []string{"page", "per_page", "search", "format"}},
		{hsdsRoot + "taxonomies/{id}", "HSDSGetTaxonomy", "Gets a taxonomy", doc, nil},
		{hsdsRoot + "taxonomy_terms", "HSDSListTaxonomyTerms", "Lists terms", doc, []string{"page", "per_page", "search", "taxonomy_id", "top_only", "parent_id", "format"}},
		{hsdsRoot + "taxonomy_terms/{id}", "HSDSGetTaxonomyTerm", "Gets a term", doc, nil},
		{"/feeds/meetings.json", "MeetingGuideFeed", "Gives all public groups as Meeting Guide JSON", doc, []string{"organization", "updated_after"}},
		{"/feeds/groups.csv", "CSVFeed", "Gives all public groups as a table", "text/csv", []string{"organization", "updated_after"}},
		{"/calendars/groups/{file}", "GroupCalendar", "Gives the sessions of a public group as iCalendar; the file is {id}.ics", "text/calendar", nil},
	}
}

const tag = "Directory in the field's formats"

// Describe adds the public routes to the API's description, an OpenAPI document.
func Describe(api string) (string, error) {
	var b strings.Builder
	for _, o := range operations() {
		described, err := json.Marshal(map[string]any{"get": o.described()})
		if err != nil {
			return "", fmt.Errorf("describe %s: %w", o.path, err)
		}
		fmt.Fprintf(&b, "\n    %q: %s,", o.path, described)
	}
	out := api
	for _, add := range [][2]string{
		{`"paths": {`, b.String()},
		{`"tags": [`, fmt.Sprintf("\n    {%q: %q, %q: %q},", "name", tag, "description", "Gives the public directory to programs that read HSDS, Meeting Guide, CSV or iCalendar; no token needed. What each cannot say, GET /v1/directory:lossReport tells.")},
	} {
		before, after, ok := strings.Cut(out, "\n  "+add[0])
		if !ok {
			return "", fmt.Errorf("the API's description has no %s", add[0])
		}
		out = before + "\n  " + add[0] + add[1] + after
	}
	return out, nil
}

// described is the operation as OpenAPI has it.
func (o *operation) described() map[string]any {
	params := []any{}
	rest := o.path
	for {
		_, behind, ok := strings.Cut(rest, "{")
		if !ok {
			break
		}
		name, after, _ := strings.Cut(behind, "}")
		meaning := "The id."
		if name == "file" {
			meaning = `The id of the group, with ".ics" behind it.`
		}
		params = append(params, map[string]any{"name": name, "in": "path", "required": true, "description": meaning, "schema": map[string]any{"type": "string"}})
		rest = after
	}
	for _, name := range o.parameters {
		p := map[string]any{"name": name, "in": "query", "description": parameters[name][0], "schema": map[string]any{"type": "string"}}
		if example := parameters[name][1]; example != "" {
			p["example"] = example
		}
		params = append(params, p)
	}
	answer := map[string]any{"description": "What was asked for.", "content": map[string]any{o.content: map[string]any{"schema": map[string]any{}}}}
	responses := map[string]any{"200": answer, "400": map[string]any{"$ref": "#/components/responses/BadRequest"}, "default": map[string]any{"$ref": "#/components/responses/Error"}}
	if strings.Contains(o.path, "{") {
		responses["404"] = map[string]any{"$ref": "#/components/responses/NotFound"}
	}
	return map[string]any{
		"tags": []string{tag}, "operationId": o.id, "summary": o.summary, "description": "Open to everybody; no token needed.", "security": []any{},
		"parameters": params, "responses": responses,
	}
}
