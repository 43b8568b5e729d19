package hsds_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/hsds"
)

// schema reads one of the published schemas.
func schema(t *testing.T, version, file string) *jsonschema.Schema {
	t.Helper()
	dir := filepath.Join(formatstest.SharedData(t), "hsds", version, "schema")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the published schemas are not here")
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is written is valid by the published schemas.
func TestSchemas(t *testing.T) {
	t.Parallel()
	for version, dir := range map[hsds.Version]string{hsds.V30: "3.0", hsds.V31: "3.1-dev"} {
		full, summary := schema(t, dir, "service.json"), schema(t, dir, "compiled/service_list.json")
		compiled := schema(t, dir, "compiled/service_with_definitions.json")
		at, atSummary := schema(t, dir, "service_at_location.json"), schema(t, dir, "compiled/service_at_location_list.json")
		organizations, organizationFull := schema(t, dir, "compiled/organization_list.json"), schema(t, dir, "organization.json")
		taxonomies, terms := schema(t, dir, "taxonomy.json"), schema(t, dir, "taxonomy_term.json")
		for seed := range 30 {
			l := formats.Listing{Group: formatstest.Group().Example(seed), Organization: organization()}
			service, _, err := hsds.WriteService(l, version)
			if err != nil {
				t.Fatal(err)
			}
			validate(t, full, service)
			validate(t, compiled, service)
			validate(t, summary, hsds.WriteSummary(l))
			for schema, full := range map[*jsonschema.Schema]bool{at: true, atSummary: false} {
				doc, err := hsds.WriteLocation(l, version, full)
				if err != nil {
					t.Fatal(err)
				}
				validate(t, schema, doc)
			}
		}
		for _, x := range hsds.Taxonomies() {
			validate(t, taxonomies, x)
		}
		for _, x := range hsds.Terms() {
			validate(t, terms, x)
			validate(t, terms, hsds.FullTerm(x))
		}
		validate(t, organizations, hsds.WriteOrganization(organization(), false))
		validate(t, organizationFull, hsds.WriteOrganization(organization(), true))
	}
}

func validate(t *testing.T, s *jsonschema.Schema, doc any) {
	t.Helper()
	raw := encode(t, doc)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%v\n%s", err, raw)
	}
}

// The field's own examples are read: each row gives a group, or is rejected with the field and the reason.
func TestPublishedExamples(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(formatstest.SharedData(t), "hsds")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the published examples are not here")
	}
	for file, want := range map[string][]string{
		"3.0/examples/service_full.json":                 {`1 service_at_locations[0].location.latitude "100"`},
		"3.1-dev/examples/service_full.json":             {`1 service_at_locations[0].location.latitude "100"`, `1 capacities[0].available "12"`},
		"3.0/examples/organization_full.json":            {`1 service_at_locations[0].location.latitude "100"`},
		"3.1-dev/examples/organization_full.json":        {`1 service_at_locations[0].location.latitude "100"`, `1 capacities[0].available "12"`},
		"3.0/examples/service_at_location_full.json":     {`1 service_at_locations[0].location.latitude "100"`},
		"3.1-dev/examples/service_at_location_full.json": {`1 service_at_locations[0].location.latitude "100"`, `1 capacities[0].available "12"`},
		"3.0/examples/service_at_location_list.json":     {`1 service_at_locations[0].location.latitude "100"`},
		"3.1-dev/examples/service_list.json":             nil,
		"3.0/examples/service_list.json":                 nil,
		"3.0/examples/location.json":                     {"1 location_type"},
		"3.0/examples/organization_list.json":            {"1 status"},
		"3.0/examples/tabular.json":                      {"1 "},
		"mock-root.json":                                 {"1 "},
	} {
		raw, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		f := formatstest.Read(t, hsds.Format{}, bytes.NewReader(raw), formats.Options{})
		got := f.Refused()
		if len(got) != len(want) || len(f.Entries)+min(len(want), 1) != 1 {
			t.Errorf("%s gives %d groups and rejects %q, want %q", file, len(f.Entries), got, want)
			continue
		}
		for i := range want {
			if len(got[i]) < len(want[i]) || got[i][:len(want[i])] != want[i] {
				t.Errorf("%s rejects %q, want %q", file, got[i], want[i])
			}
		}
		repaired := bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte(`"latitude": 100`), []byte(`"latitude": 10`)), []byte(`"available": 12`), []byte(`"available": 8`))
		if f := formatstest.Read(t, hsds.Format{}, bytes.NewReader(repaired), formats.Options{}); len(want) > 0 && strings.HasPrefix(want[0], "1 service_at_locations") && len(f.Entries) != 1 {
			t.Errorf("%s, repaired, is rejected: %v", file, f.Refused())
		}
	}
}
