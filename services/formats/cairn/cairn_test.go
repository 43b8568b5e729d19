package cairn_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/cairn"
)

const (
	one   = "groups/0192d7a5-0000-7000-8000-000000000001"
	two   = "groups/0192d7a5-0000-7000-8000-000000000002"
	three = "groups/0192d7a5-0000-7000-8000-000000000003"
	org   = "organizations/0192d7a5-0000-7000-8000-00000000000a"
)

// page is an answer of another Cairn.
func page(t testing.TB) string {
	t.Helper()
	times := func(rule string) []*groupsv1.Group_RegularTime {
		return []*groupsv1.Group_RegularTime{{Rrule: rule, StartTime: "18:00", Duration: durationpb.New(3600e9), TimeZone: "UTC"}}
	}
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(&groupsv1.ListChangesResponse{
		Changes: []*groupsv1.Change{
			{Change: &groupsv1.Change_Group{Group: &groupsv1.Group{
				Name: one, Organization: org, Title: "One", State: groupsv1.Group_PAUSED, Etag: `"3"`, SourceSystem: "hsds", ExternalId: "77",
				RegularTimes: times("FREQ=DAILY"), Availability: &groupsv1.Group_Availability{PlannedTimes: times("FREQ=WEEKLY;BYDAY=TU")},
				Facilitators: []*groupsv1.Group_FacilitatorRole{{Facilitator: "facilitators/0192d7a5-0000-7000-8000-000000000009"}},
			}}},
			{Change: &groupsv1.Change_Group{Group: &groupsv1.Group{Name: two, Title: "Taken from elsewhere", SourceSystem: "cairn:east"}}},
			{Change: &groupsv1.Change_Removal{Removal: &groupsv1.Removal{Group: three, Organization: org}}},
		},
		NextSyncToken: "t2", HasMore: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestChangesAreRead(t *testing.T) {
	t.Parallel()
	var ids []string
	for r, err := range (cairn.Format{}).Records(strings.NewReader(page(t)), formats.Options{}) {
		if err != nil || r.Rejected != nil {
			t.Fatal(err, r.Rejected)
		}
		ids = append(ids, r.ID)
		if r.Removed != (r.ID == three) {
			t.Errorf("%s: removed %t", r.ID, r.Removed)
		}
		if r.Removed {
			continue
		}
		e, bad := cairn.Format{}.Entry(r, formats.Options{})
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		g := e.Group
		if !e.Closed || g.GetTitle() != "One" || g.GetExternalId() != one || g.GetSourceSystem() != "cairn" || len(g.GetRegularTimes()) != 2 {
			t.Errorf("read %v, closed %t", g, e.Closed)
		}
		if g.GetName() != "" || g.GetEtag() != "" || g.GetState() != 0 || g.GetAvailability() != nil || g.GetFacilitators() != nil {
			t.Errorf("what is not the origin's to say was taken over: %v", g)
		}
		from := g.GetExtensions().GetFields()["cairn"].GetStructValue().AsMap()
		if from["name"] != one || from["organization"] != org || from["sourceSystem"] != "hsds" || from["externalId"] != "77" {
			t.Errorf("origin: %v", from)
		}
	}
	if !slices.Equal(ids, []string{one, three}) {
		t.Errorf("records %v, want %s and %s: what the other follows itself is left out", ids, one, three)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	p, err := cairn.ReadPage([]byte(page(t)))
	if err != nil || p.Token != "t2" || !p.More || !slices.Equal(p.Groups, []string{one, three}) {
		t.Errorf("page %+v, %v", p, err)
	}
	for _, bad := range []string{"", "<html>", "[]", "{}", `{"changes": [], "nextSyncToken": ""}`, `{"changes": {}}`} {
		if _, err := cairn.ReadPage([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a page", bad)
		}
	}
	base, err := url.Parse("https://cairn.example/v1/directory:changes?organization=" + org + "&syncToken=old")
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{"": "", "a b": "a b"} {
		q := cairn.PageAt(base, token).Query()
		if q.Get("syncToken") != want || q.Has("syncToken") != (want != "") || q.Get("organization") != org || q.Get("pageSize") == "" {
			t.Errorf("with the token %q: %v", token, q)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(page(f))
	f.Add(`{"changes": [{"group": {}}, {"removal": {}}, {}, 1, {"group": {"name": "x"}, "removal": {}}]}`)
	f.Add(`{"changes": [{"group": {"name": "x", "availability": {"plannedTimes": [null]}}}`)
	f.Fuzz(func(t *testing.T, feed string) {
		for r, err := range (cairn.Format{}).Records(strings.NewReader(feed), formats.Options{}) {
			if err != nil {
				return
			}
			if r.Rejected != nil || r.Removed {
				continue
			}
			if e, bad := (cairn.Format{}).Entry(r, formats.Options{}); (e == nil) == (len(bad) == 0) {
				t.Errorf("%q: entry %v and rejections %v", r.Raw, e, bad)
			}
		}
	})
}
