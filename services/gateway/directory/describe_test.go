package directory_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"cairn.care/gen/openapi"
	"cairn.care/services/gateway/directory"
)

// Every public route is in the API's description, with the parameters that it takes.
func TestDescribed(t *testing.T) {
	t.Parallel()
	s := setup(t)
	text, err := directory.Describe(openapi.JSON())
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Tags  []struct{ Name string }
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Tags        []string
			Parameters  []struct {
				Name, In, Description string
				Example               any
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &api); err != nil {
		t.Fatal(err)
	}
	if api.Paths["/v1/groups:search"]["get"].OperationID != "SearchGroups" {
		t.Error("the description has lost SearchGroups")
	}
	var served map[string]any
	if _, body := s.get("/openapi.json"); json.Unmarshal(body, &served) != nil || served["paths"].(map[string]any)["/feeds/groups.csv"] == nil {
		t.Error("/openapi.json does not describe /feeds/groups.csv")
	}
	routes := directory.Handlers(directory.Options{Peer: func(string) grpc.ClientConnInterface { return nil }})
	for _, r := range slices.Concat(routes.Pages, routes.Streams) {
		path := strings.TrimSuffix(r.Path, "{$}")
		if path == "/hsds/v3" {
			continue // the root, without its slash
		}
		op, ok := api.Paths[path]["get"]
		if !ok || !slices.ContainsFunc(api.Tags, func(tag struct{ Name string }) bool { return tag.Name == op.Tags[0] }) {
			t.Errorf("%s is not described, or its tag is not", path)
			continue
		}
		for _, p := range op.Parameters {
			if p.Description == "" {
				t.Errorf("%s: %s has no description", path, p.Name)
			}
			if p.In == "path" || p.Example == nil || strings.Contains(path, "{") {
				continue
			}
			if resp, body := s.get(fmt.Sprintf("%s?%s=%v", path, p.Name, p.Example)); resp.StatusCode != 200 {
				t.Errorf("%s does not take %s=%s: %s", path, p.Name, p.Example, body)
			}
		}
	}
}
