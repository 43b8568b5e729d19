package meetingguide_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/meetingguide"
)

// What is written is read as the same group; what is not written is told.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var feed []string
		var want []*groupsv1.Group
		for i := range rapid.IntRange(1, 3).Draw(rt, "groups") {
			g := formatstest.Group().Draw(rt, "group")
			g.Name = g.GetName()[:len(g.GetName())-1] + string(rune('a'+i))
			out, losses, err := meetingguide.Write(formats.Listing{Group: g})
			if err != nil {
				rt.Fatal(err)
			}
			omitted := false
			for _, l := range losses {
				omitted = omitted || l.Omitted
				if l.Field == "" || !strings.HasSuffix(l.Reason, ".") {
					rt.Errorf("loss %+v", l)
				}
			}
			if omitted != (out == nil) {
				rt.Fatalf("%q is written, and told is %+v", out, losses)
			}
			if out != nil {
				feed, want = append(feed, string(out)), append(want, g)
			}
		}
		f := formatstest.Read(t, meetingguide.Format{}, strings.NewReader("["+strings.Join(feed, ",")+"]"), formats.Options{})
		if len(f.Entries) != len(want) || len(f.Rejected) > 0 {
			rt.Fatalf("%d groups are read as %d, rejected %+v:\n%s", len(want), len(f.Entries), f.Rejected, feed)
		}
		for i, g := range want {
			g, _ = formats.Timed(g)
			got := f.Entries[i]
			if d := cmp.Diff(formats.Said(g), formats.Said(got.Group), protocmp.Transform()); d != "" || got.Closed != formats.Closed(g) || got.Group.GetExternalId() != strings.TrimPrefix(g.GetName(), "groups/") {
				rt.Errorf("closed %v, id %s (-written +read):\n%s\n%s", got.Closed, got.Group.GetExternalId(), d, feed[i])
			}
		}
	})
}

func weekly(rrule string) *groupsv1.Group_RegularTime {
	return &groupsv1.Group_RegularTime{Rrule: rrule, StartTime: "18:30", Duration: durationpb.New(90 * time.Minute)}
}

func circle(times ...*groupsv1.Group_RegularTime) *groupsv1.Group {
	return &groupsv1.Group{
		Name: "groups/0192d7a5-0000-7000-8000-000000000001", Title: "Circle & Friends", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED,
		Format: groupsv1.Group_IN_PERSON, Languages: []string{"es"}, TimeZone: "America/Chicago", RegularTimes: times, Description: "Bring a friend.",
		Venue: &groupsv1.Group_Venue{Label: "Library", Address: &typev1.PostalAddress{AddressLines: []string{"12 Main Street"}, Locality: "Kansas City", AdministrativeArea: "MO", PostalCode: "64111", Country: "US"}},
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	org := &partnersv1.Organization{DisplayName: "Example Alliance", Contact: &partnersv1.Organization_Contact{Email: "office@example.org", Website: "https://example.org"}}
	g := circle(weekly("FREQ=WEEKLY;BYDAY=TU,TH"), weekly("FREQ=MONTHLY;BYDAY=2WE"), weekly("FREQ=WEEKLY;BYDAY=SA"))
	out, losses, err := meetingguide.Write(formats.Listing{Group: g, Organization: org})
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal([]byte("["+string(out)+"]"), &rows); err != nil {
		t.Fatal(err)
	}
	delete(rows[0], "cairn")
	common := map[string]any{
		"name": "Circle & Friends", "slug": "0192d7a5-0000-7000-8000-000000000001", "day": []any{2.0, 4.0}, "time": "18:30", "end_time": "20:00", "timezone": "America/Chicago",
		"address": "12 Main Street", "city": "Kansas City", "state": "MO", "postal_code": "64111", "country": "US", "types": []any{"S"}, "notes": "Bring a friend.", "location": "Library",
		"entity": "Example Alliance", "entity_email": "office@example.org", "entity_website_url": "https://example.org",
	}
	if d := cmp.Diff(common, rows[0]); d != "" {
		t.Errorf("the row (-want +got):\n%s", d)
	}
	if len(rows) != 2 || rows[1]["slug"] != "0192d7a5-0000-7000-8000-000000000001-2" || rows[1]["part_of"] != rows[0]["slug"] || rows[1]["day"] != 6.0 {
		t.Errorf("the further time %v", rows[1:])
	}
	if len(losses) != 1 || losses[0].Field != "regular_times[1].rrule" || losses[0].Omitted {
		t.Errorf("losses %+v, want the monthly time", losses)
	}

	for field, g := range map[string]*groupsv1.Group{
		"regular_times[0].rrule":    circle(weekly("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO")),
		"regular_times[0].duration": circle(&groupsv1.Group_RegularTime{Rrule: "FREQ=WEEKLY;BYDAY=MO", StartTime: "12:00", Duration: durationpb.New(24 * time.Hour)}),
		"format":                    {Name: "groups/1", Title: "Forum", Format: groupsv1.Group_ASYNCHRONOUS},
		"venue":                     {Name: "groups/1", Title: "Nowhere", Format: groupsv1.Group_IN_PERSON},
	} {
		out, losses, err := meetingguide.Write(formats.Listing{Group: g})
		if err != nil || out != nil || len(losses) != 1 || losses[0].Field != field || !losses[0].Omitted {
			t.Errorf("%s: written %q, losses %+v, %v; want it left out and told", field, out, losses, err)
		}
	}
}

// Where the owner gives no regular times, the rows have what Cairn plans.
func TestPlanned(t *testing.T) {
	t.Parallel()
	const zone, monday, fortnightly, saturday = "America/Chicago", "FREQ=WEEKLY;BYDAY=MO", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "FREQ=WEEKLY;BYDAY=SA"
	const from = "availability.planned_times[0].start_date: Meeting Guide cannot say from which day on a meeting takes place; readers take it that it already does."
	at := func(rrule string) *groupsv1.Group_RegularTime {
		r := weekly(rrule)
		r.TimeZone, r.StartDate = zone, &date.Date{Year: 2026, Month: 3, Day: 2}
		return r
	}
	type times = []*groupsv1.Group_RegularTime
	for what, c := range map[string]struct {
		regular, planned times
		rows, lost       []string
	}{
		"weekly": {nil, times{at(monday)}, []string{"1 18:30 20:00 " + zone}, []string{from}},
		"two": {
			nil, times{at(monday), at(fortnightly), at(saturday)}, []string{"1 18:30 20:00 " + zone, "6 18:30 20:00 " + zone},
			[]string{from, "availability.planned_times[1].rrule: Meeting Guide knows meetings of every week only; " + fortnightly + " would be shown as one.", strings.Replace(from, "[0]", "[2]", 1)},
		},
		"fortnightly": {
			nil, times{at(fortnightly)}, []string{"<nil> <nil> <nil> " + zone},
			[]string{"availability.planned_times[0].rrule: Meeting Guide knows meetings of every week only; " + fortnightly + " would be shown as one. The group is shown as by appointment."},
		},
		"both given": {
			times{weekly(saturday)}, times{at(monday)}, []string{"6 18:30 20:00 " + zone},
			[]string{"availability.planned_times: The rows have the group's regular times, not what is planned beside them."},
		},
		"sessions": {nil, nil, []string{"<nil> <nil> <nil> " + zone}, []string{"availability.next_sessions: Meeting Guide has weekly times only; what is planned session by session is shown as by appointment."}},
	} {
		g := circle(c.regular...)
		g.Availability = &groupsv1.Group_Availability{NextSessions: []*timestamppb.Timestamp{timestamppb.New(time.Unix(0, 0))}, PlannedTimes: c.planned}
		out, losses, err := meetingguide.Write(formats.Listing{Group: g})
		if err != nil {
			t.Fatal(err)
		}
		var rows []map[string]any
		if err := json.Unmarshal([]byte("["+string(out)+"]"), &rows); err != nil {
			t.Fatal(err)
		}
		var said, lost []string
		for _, r := range rows {
			said = append(said, fmt.Sprint(r["day"], " ", r["time"], " ", r["end_time"], " ", r["timezone"]))
		}
		for _, l := range losses {
			lost = append(lost, l.Field+": "+l.Reason)
			if l.Omitted {
				t.Errorf("%s: the group is left out: %+v", what, l)
			}
		}
		if d := cmp.Diff([2][]string{c.rows, c.lost}, [2][]string{said, lost}); d != "" {
			t.Errorf("%s: rows and losses (-want +got):\n%s", what, d)
		}
		want := c.planned
		if c.regular != nil {
			want = c.regular
		}
		f := read(t, "["+string(out)+"]", formats.Options{})
		if d := cmp.Diff(want, f.Entries[0].Group.GetRegularTimes(), protocmp.Transform(), protocmp.IgnoreFields(&groupsv1.Group_RegularTime{}, "time_zone")); d != "" || f.Entries[0].Group.GetTimeZone() != zone {
			t.Errorf("%s: read back in %s (-want +got):\n%s", what, f.Entries[0].Group.GetTimeZone(), d)
		}
	}
}

// What a row has that no field holds is given back.
func TestGivenBack(t *testing.T) {
	t.Parallel()
	f := read(t, `[{"name":"A","slug":"a","address":"1 A","state":"MO","types":["O","S","11"],"region":"North","paypal":{"x":[1]},"venmo":"@a"}]`, formats.Options{})
	g := f.Entries[0].Group
	g.Name = "groups/0192d7a5-0000-7000-8000-000000000001"
	out, _, err := meetingguide.Write(formats.Listing{Group: g})
	if err != nil {
		t.Fatal(err)
	}
	var row map[string]any
	if err := json.Unmarshal(out, &row); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]any{"region": "North", "venmo": "@a", "paypal": map[string]any{"x": []any{1.0}}, "types": []any{"S", "MED", "O"}} {
		if d := cmp.Diff(want, row[k]); d != "" {
			t.Errorf("%s (-want +got):\n%s", k, d)
		}
	}
}

// A row may say of its group what our writer puts there, and nothing else.
func TestOwnMember(t *testing.T) {
	t.Parallel()
	for own, want := range map[string]string{
		`{"kind":"EDUCATION","cost":null,"paused":true}`: "",
		`{"organization":"organizations/x"}`:             "what no feed can say",
		`{"organization":null}`:                          "what no feed can say",
		`{"online":{"joinUri":"https://example.org"}}`:   "what no feed can say",
		`{"guidelines":{"version":7}}`:                   "what no feed can say",
		`{"extensions":{}}`:                              "what no feed can say",
		`{"kind":"CLUB"}`:                                "does not say fields",
		`{"kindness":1}`:                                 "does not say fields",
		`[]`:                                             "must be a JSON object",
		`null`:                                           "must be a JSON object",
		`"x"`:                                            "must be a JSON object",
		`{"venue":7}`:                                    "does not say fields",
		`{"venue":{"kind":"HOSPITAL"},"title":"Another A"}`: "",
	} {
		f := read(t, `[{"name":"A","slug":"a","address":"1 A","state":"MO","cairn":`+own+`}]`, formats.Options{})
		switch {
		case want == "" && len(f.Entries) != 1, want != "" && (len(f.Rejected) != 1 || f.Rejected[0].Field != "cairn" || !strings.Contains(f.Rejected[0].Reason, want)):
			t.Errorf("%s: rejected %+v, want %q", own, f.Rejected, want)
		}
	}
}
