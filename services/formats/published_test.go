package formats_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"cairn.care/services/formats"
)

func extensions(t *testing.T, text string) *structpb.Struct {
	t.Helper()
	s := &structpb.Struct{}
	if err := protojson.Unmarshal([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// What a feed published goes out again; people, ways to join and an owner's own columns do not.
func TestPublished(t *testing.T) {
	t.Parallel()
	got, heldBack := formats.Published(extensions(t, `{
		"hsds": {"alert": "Closed on Friday", "organization": {"name": "Org", "email": "office@example.org"}, "contacts": [{"name": "Ann"}],
			"service_at_locations": [{"location": {"url": "https://example.org/room", "external_identifier": "7"}}], "schedules": [{"attending_link": "x", "notes": "n"}],
			"licenses": "see https://zoom.us/j/1"},
		"meeting-guide": {"types": ["C", "X"], "append": " 24H", "conference_url_notes": "code 12", "contact_1_phone": "555"},
		"bmlt": {"formats": "O"},
		"csv": {"Leader's mobile": "555"},
		"cairn": {"name": "groups/1"}}`))
	want := extensions(t, `{
		"hsds": {"alert": "Closed on Friday", "organization": {"name": "Org", "email": "office@example.org"},
			"service_at_locations": [{"location": {"external_identifier": "7"}}], "schedules": [{"notes": "n"}]},
		"meeting-guide": {"types": ["C", "X"], "append": " 24H"},
		"bmlt": {"formats": "O"}}`)
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("published (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"csv", "hsds", "meeting-guide"}, heldBack); d != "" {
		t.Errorf("held back (-want +got):\n%s", d)
	}
	var fields []string
	for _, l := range formats.Unsaid("hsds", got, heldBack) {
		fields = append(fields, l.Field)
	}
	if d := cmp.Diff([]string{
		"extensions.bmlt.formats", "extensions.csv", "extensions.hsds", "extensions.meeting-guide", "extensions.meeting-guide.append", "extensions.meeting-guide.types",
	}, fields); d != "" {
		t.Errorf("unsaid in hsds (-want +got):\n%s", d)
	}
}
