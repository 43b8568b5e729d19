package directory_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/hsds"
	"cairn.care/services/formats/meetingguide"
)

const counselling = `{"id": "ac148810-d857-441c-9679-408f346de14b", "name": "Community Counselling", "alternate_name": "MyCity Counselling", "description": "Talks.",
	"url": "http://example.com/counselling", "status": "active", "interpretation_services": "In Urdu, Polish, and Slovak", "application_process": "Ask your GP.",
	"fees_description": "50 per hour.", "accreditations": "BASC", "alert": "Online for now.", "contacts": [{"id": "c", "name": "Ann Private"}],
	"organization": {"id": "d9d5e0f5-d3ce-4f73-9a2f-4dd0ecc6c610", "name": "Example Organization Inc.", "description": "Non-profit."},
	"program": {"id": "e7ec2e57-4540-43fa-b2c7-6be5a0ef7f42", "name": "Mental Health", "description": "All of it."}}`

// A service that came from a record of HSDS is given out with what the record had, in each of its shapes, and in no other format,
// which the loss report tells.
func TestRecordsAreGivenBack(t *testing.T) {
	t.Parallel()
	s := setup(t)
	record := counselling
	if b, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "shared", "data", "hsds", "3.0", "examples", "service_list.json")); err == nil {
		var page struct {
			Contents []json.RawMessage `json:"contents"`
		}
		if err := json.Unmarshal(b, &page); err != nil {
			t.Fatal(err)
		}
		record = string(page.Contents[0])
	}
	f := formatstest.Read(t, hsds.Format{}, strings.NewReader(record), formats.Options{})
	read := f.Entries[0].Group
	g := s.group(s.organization("Owner"), "x", func(g *groupsv1.Group) {
		proto.Reset(g)
		proto.Merge(g, read) // as a feed makes it, but for who leads
		g.Facilitation, g.CancerTypes = groupsv1.Group_PROFESSIONALLY_LED, []string{"any"}
	})
	var want map[string]any
	if err := json.Unmarshal([]byte(record), &want); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(g.GetName(), "groups/")
	detail := s.json("/hsds/v3/services/" + id)
	at := s.json("/hsds/v3/services?full=true")["contents"].([]any)[0].(map[string]any)
	listed := s.json("/hsds/v3/services")["contents"].([]any)[0].(map[string]any)
	place := s.json("/hsds/v3/service_at_locations/" + hsds.LocationID(id))["service"].(map[string]any)
	for shape, got := range map[string]map[string]any{"detail": detail, "full": at, "listed": listed, "at its location": place} {
		for key, value := range want {
			if slices.Contains([]string{"id", "last_modified", "assurer_email", "contacts"}, key) {
				continue
			}
			if d := cmp.Diff(value, got[key]); d != "" {
				t.Errorf("%s: %s (-record +given):\n%s", shape, key, d)
			}
		}
		if got["contacts"] != nil || got["assurer_email"] != nil {
			t.Errorf("%s: gives out people: %v", shape, got)
		}
	}
	if whole := s.json("/v1/" + g.GetName()); whole["extensions"] != nil {
		t.Errorf("the public group has extensions: %v", whole["extensions"])
	}
	lost := map[string]bool{}
	for _, total := range s.json("/v1/directory:lossReport?format=meeting-guide")["totals"].([]any) {
		lost[total.(map[string]any)["field"].(string)] = true
	}
	for _, field := range []string{"extensions.hsds.application_process", "extensions.hsds.program", "extensions.hsds.alert"} {
		if !lost[field] {
			t.Errorf("%s is not in the loss report: %v", field, lost)
		}
	}
}

// A row of Meeting Guide goes out with its types and with what only its publisher knows, but for how to join.
func TestRowsAreGivenBack(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const row = `[{"name": "Noon", "slug": "noon", "day": 1, "time": "12:00", "end_time": "13:00", "timezone": "America/Chicago", "address": "1 Main St", "city": "Austin", "state": "TX",
		"types": ["C", "X"], "append": " 24H", "conference_url": "https://zoom.us/j/99", "conference_url_notes": "Passcode 7", "contact_1_name": "Ann"}]`
	read := formatstest.Read(t, meetingguide.Format{}, strings.NewReader(row), formats.Options{}).Entries[0].Group
	s.group(s.organization("Owner"), "x", func(g *groupsv1.Group) {
		proto.Reset(g)
		proto.Merge(g, read)
		g.Facilitation, g.CancerTypes = groupsv1.Group_PROFESSIONALLY_LED, []string{"any"}
		g.Extensions.Fields["csv"] = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"Leader's mobile": structpb.NewStringValue("816-777")}})
	})
	_, body := s.get("/feeds/meetings.json")
	var got []map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]any{"EN", "X", "C"}, got[0]["types"]); d != "" || got[0]["append"] != " 24H" {
		t.Errorf("types (-want +got):\n%sappend %q", d, got[0]["append"])
	}
	for _, secret := range []string{"zoom.us", "Passcode", "Ann", "816-777"} {
		if strings.Contains(string(body), secret) {
			t.Errorf("%q is given out: %s", secret, body)
		}
	}
}
