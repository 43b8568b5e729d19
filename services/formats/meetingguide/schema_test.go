package meetingguide_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/meetingguide"
)

// schema compiles the published schema of a feed. The patterns of the parts of an address are left out: they allow nothing
// but unaccented letters and the postal codes of the United States, and the field's own feeds do not keep to them.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	url := ""
	for _, file := range []string{"meeting-type", "meeting", "feed"} {
		raw, err := os.ReadFile(filepath.Join(formatstest.SharedData(t), "meeting-guide", "spec", file+".schema.json"))
		if err != nil {
			t.Skipf("the published schemas are not here: %v", err)
		}
		var doc map[string]any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		properties, _ := doc["properties"].(map[string]any)
		for _, part := range []string{"address", "city", "state", "postal_code"} {
			if p, ok := properties[part].(map[string]any); ok {
				delete(p, "pattern")
			}
		}
		url, _ = doc["$id"].(string)
		if err := c.AddResource(url, doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile(url)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is written is valid by the published schema.
func TestSchema(t *testing.T) {
	t.Parallel()
	feed := schema(t)
	org := &partnersv1.Organization{DisplayName: "Example Alliance", Contact: &partnersv1.Organization_Contact{Email: "office@example.org", Phone: "+34 915 550 100", Website: "https://example.org"}}
	rapid.Check(t, func(rt *rapid.T) {
		out, _, err := meetingguide.Write(formats.Listing{Group: formatstest.Group().Draw(rt, "group"), Organization: org})
		if err != nil {
			rt.Fatal(err)
		}
		rows, err := jsonschema.UnmarshalJSON(strings.NewReader("[" + string(out) + "]"))
		if err != nil {
			rt.Fatalf("%v in %s", err, out)
		}
		if err := feed.Validate(rows); err != nil {
			rt.Errorf("%v\n%s", err, out)
		}
	})
}
