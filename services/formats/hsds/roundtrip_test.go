package hsds_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/hsds"
)

func organization() *partnersv1.Organization {
	return &partnersv1.Organization{
		Name: "organizations/0192d7a5-0000-7000-8000-00000000000a", DisplayName: "Hope & Co", Kind: partnersv1.Organization_NONPROFIT,
		Contact: &partnersv1.Organization_Contact{Website: "https://example.org", Email: "office@example.org", Phone: "+34 91 555 01 00"},
	}
}

// What is written is read as the same group, of either version, in every shape that HSDS has.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		g := formatstest.Group().Draw(rt, "group")
		l := formats.Listing{Group: g}
		if rapid.Bool().Draw(rt, "organization known") {
			l.Organization = organization()
		}
		full, losses, err := hsds.Write(l)
		if err != nil {
			rt.Fatal(err)
		}
		for _, loss := range losses {
			if loss.Field == "" || loss.Omitted || !strings.HasSuffix(loss.Reason, ".") {
				rt.Errorf("loss %+v", loss)
			}
		}
		feeds := map[string][]byte{"3.1": full}
		old, _, err := hsds.WriteService(l, hsds.V30)
		if err != nil {
			rt.Fatal(err)
		}
		feeds["3.0"] = encode(rt, old)
		feeds["page"] = encode(rt, map[string]any{"total_items": 1, "contents": []any{json.RawMessage(full)}, "last_page": true})
		feeds["organization"] = encode(rt, map[string]any{"id": "1", "name": "Org", "email": "other@example.org", "services": []any{json.RawMessage(full)}})
		at, err := hsds.WriteLocation(l, hsds.V31, true)
		if err != nil {
			rt.Fatal(err)
		}
		feeds["service_at_location"] = encode(rt, []any{at})
		g, _ = formats.Timed(g)
		for shape, feed := range feeds {
			f := formatstest.Read(t, hsds.Format{}, strings.NewReader(string(feed)), formats.Options{})
			if len(f.Entries) != 1 {
				rt.Fatalf("%s: read as %d groups, rejected %+v: %s", shape, len(f.Entries), f.Rejected, feed)
			}
			got := f.Entries[0]
			if d := cmp.Diff(formats.Said(g), formats.Said(got.Group), protocmp.Transform()); d != "" || got.Closed != formats.Closed(g) || got.Group.GetExternalId() != strings.TrimPrefix(g.GetName(), "groups/") {
				rt.Errorf("%s: closed %v, id %s (-written +read):\n%s\n%s", shape, got.Closed, got.Group.GetExternalId(), d, feed)
			}
			if x := got.Group.GetExtensions(); x != nil {
				rt.Errorf("%s: keeps %v of %s", shape, x, feed)
			}
		}
	})
}

func encode(t interface{ Fatal(...any) }, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
