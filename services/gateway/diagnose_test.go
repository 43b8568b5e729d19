package gateway

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// FuzzDiagnose feeds any bytes to the diagnosis: it must end, must not blame a body that the
// decoder takes, and must stay brief.
func FuzzDiagnose(f *testing.F) {
	for _, seed := range []string{
		`{"title": "a", "languages": ["es"], "capacity": {"seats": 12}}`, `{"titel": 1}`, `[`, `{"venue": {"address": {"city": null}}}`,
		"{\"title\": \"\xff\"}", `{"title": "\u0000"}`, `{"extensions": {"a": [[[[1]]]]}}`, `{"capacity": {"seats": 1e3, "waitlist": "true"}} x`,
		`{"kind": "PARTY", "kind": 1}`, `{"createTime": "yesterday", "updateTime": "2026-12-01T18:00:00Z"}`, `nul`, ``, `{"availability": null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		violations := diagnose(body, (&groupsv1.Group{}).ProtoReflect().Descriptor())
		if len(violations) > maxViolations {
			t.Errorf("%d violations", len(violations))
		}
		for _, v := range violations {
			if v.GetField() == "" || v.GetDescription() == "" || len(v.GetDescription()) > 2000 {
				t.Errorf("violation %q: %q", v.GetField(), v.GetDescription())
			}
		}
		err := protojson.UnmarshalOptions{RecursionLimit: maxDepth}.Unmarshal(body, &groupsv1.Group{})
		if err == nil && len(violations) > 0 && violations[0].GetDescription() != "must not contain the character U+0000" {
			t.Errorf("%q is a group, but %v", body, violations)
		}
	})
}
