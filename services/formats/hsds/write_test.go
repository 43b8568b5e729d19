package hsds_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/formatstest"
	"cairn.care/services/formats/hsds"
)

func rich() *groupsv1.Group {
	hour := &durationpb.Duration{Seconds: 3600}
	return &groupsv1.Group{
		Name: "groups/0192d7a5-0000-7000-8000-000000000001", Title: "Circle", Summary: "We meet.", Languages: []string{"es", "pt-BR"}, State: groupsv1.Group_PAUSED,
		Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_HYBRID, CancerTypes: []string{"breast"},
		Venue: &groupsv1.Group_Venue{
			Kind: groupsv1.Group_Venue_HOSPITAL, Label: "Clinic", Directions: "Back door",
			Address: &typev1.PostalAddress{AddressLines: []string{"Calle 1", "Piso 2", "Puerta 3"}, Locality: "Madrid", Country: "ES"},
		},
		Online:    &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.us/j/secret", Phone: "secret", JoinInstructions: "secret"},
		AgeLimits: &groupsv1.Group_AgeLimits{MinYears: 18, Strictness: groupsv1.Group_AgeLimits_STRICT},
		Cost:      &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FEE, Amount: &money.Money{CurrencyCode: "EUR", Units: 12, Nanos: 500_000_000}},
		Capacity:  &groupsv1.Group_Capacity{Seats: 10}, TimeZone: "Europe/Madrid", UpdateTime: timestamppb.New(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
		Guidelines:   &groupsv1.Group_Guidelines{Version: 2, Text: "Be kind."},
		Facilitators: []*groupsv1.Group_FacilitatorRole{{Facilitator: "facilitators/0192d7a5-0000-7000-8000-000000000001", Role: groupsv1.Group_FacilitatorRole_LEAD}},
		RegularTimes: []*groupsv1.Group_RegularTime{
			{Rrule: "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU", StartTime: "18:00", Duration: hour, StartDate: &date.Date{Year: 2026, Month: 3, Day: 3}},
			{Rrule: "FREQ=MONTHLY;BYDAY=2WE,-1FR", StartTime: "23:30", Duration: hour, TimeZone: "Asia/Tokyo"},
			{Rrule: "FREQ=DAILY", StartTime: "09:00", Duration: &durationpb.Duration{Seconds: 90}},
			{Rrule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=4", StartTime: "10:00", Duration: hour},
			{Rrule: "FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1", StartTime: "10:00", Duration: hour},
		},
		Availability: &groupsv1.Group_Availability{OpenSeats: new(int32(3)), WaitlistLength: 2, NextSessions: []*timestamppb.Timestamp{timestamppb.New(time.Unix(0, 0))}},
		Extensions:   &structpb.Struct{Fields: map[string]*structpb.Value{"meeting-guide": structpb.NewStringValue("x")}},
	}
}

// What HSDS has members for stands in them, for readers who know nothing of Cairn.
func TestWritten(t *testing.T) {
	t.Parallel()
	s, losses, err := hsds.WriteService(formats.Listing{Group: rich(), Organization: organization()}, hsds.V31)
	if err != nil {
		t.Fatal(err)
	}
	if s.Status != "temporarily closed" || s.Description != "We meet." || s.MinimumAge != 18 || s.FeesDescription != "12.5 EUR for one session." ||
		s.LastModified != "2026-03-01T12:00:00.000Z" || s.Organization.Name != "Hope & Co" {
		t.Errorf("the service is %+v", s)
	}
	type schedule struct{ dtstart, freq, byday, opens, closes, words string }
	var got []schedule
	for _, x := range s.Schedules {
		got = append(got, schedule{x.DTStart, x.Freq, x.ByDay, x.OpensAt, x.ClosesAt, x.Description})
	}
	want := []schedule{
		{"2026-03-03", "WEEKLY", "TU", "18:00", "19:00", "Every 2 weeks on Tuesday, 18:00–19:00 (Europe/Madrid)"},
		{"", "MONTHLY", "2WE,-1FR", "23:30", "00:30", "Every month on the second Wednesday and the last Friday, 23:30–00:30 (Asia/Tokyo)"},
		{"", "WEEKLY", "MO,TU,WE,TH,FR,SA,SU", "09:00", "09:01", "Every day, 09:00–09:01 (Europe/Madrid)"},
		{"", "", "", "10:00", "11:00", "By the rule FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=4, 10:00–11:00 (Europe/Madrid)"},
		{"", "", "", "10:00", "11:00", "By the rule FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1, 10:00–11:00 (Europe/Madrid)"},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(schedule{})); d != "" {
		t.Errorf("schedules (-want +got):\n%s", d)
	}
	if s.Schedules[0].Interval != 2 || len(s.Schedules[0].Attributes) != 0 || s.Schedules[0].Timezone != nil || s.Schedules[1].Timezone == nil || *s.Schedules[1].Timezone != 9 {
		t.Errorf("schedules are %+v", s.Schedules[:2])
	}
	if len(s.Capacities) != 1 || s.Capacities[0].Available != 3 || s.Capacities[0].Maximum != 10 || s.CostOptions[0].Amount != "12.5" || s.CostOptions[0].Currency != "EUR" {
		t.Errorf("capacities %+v, costs %+v", s.Capacities, s.CostOptions)
	}
	if l := s.ServiceAtLocations[0].Location; l.Type != "physical" || l.Name != "Clinic" || l.Addresses[0].Address1 != "Calle 1" || l.Addresses[0].Address2 != "Piso 2\nPuerta 3" {
		t.Errorf("the location is %+v", l)
	}
	if s.Languages[1].Code != "pt" || s.Languages[1].Name != "Brazilian Portuguese" {
		t.Errorf("languages are %+v", s.Languages)
	}
	var lost []string
	for _, l := range losses {
		lost = append(lost, l.Field)
	}
	if d := cmp.Diff([]string{
		"regular_times[3].rrule", "regular_times[4].rrule", "facilitators", "online", "availability.next_sessions", "availability.waitlist_length",
	}, lost); d != "" {
		t.Errorf("lost (-want +got):\n%s", d)
	}
	raw := string(encode(t, s))
	if strings.Contains(raw, "secret") || strings.Contains(raw, "facilitators/") || strings.Contains(raw, `"code":"rest"`) {
		t.Errorf("written is %s", raw)
	}
	f := formatstest.Read(t, hsds.Format{}, strings.NewReader(raw), formats.Options{})
	if d := cmp.Diff(formats.Said(rich()), formats.Said(f.Entries[0].Group), protocmp.Transform()); d != "" {
		t.Errorf("read back (-written +read):\n%s", d)
	}
}

// Where the owner gives no regular times, the schedules are what Cairn plans.
func TestPlanned(t *testing.T) {
	t.Parallel()
	at := func(rrule, zone string) *groupsv1.Group_RegularTime {
		return &groupsv1.Group_RegularTime{Rrule: rrule, StartTime: "18:30", Duration: &durationpb.Duration{Seconds: 5400}, TimeZone: zone, StartDate: &date.Date{Year: 2026, Month: 3, Day: 2}}
	}
	const zone, monday, eight, yearly = "Asia/Tokyo", "FREQ=WEEKLY;BYDAY=MO", "FREQ=WEEKLY;BYDAY=MO;COUNT=8", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=4"
	type times = []*groupsv1.Group_RegularTime
	for what, c := range map[string]struct {
		regular, planned times
		schedules, lost  []string
	}{
		"weekly": {nil, times{at(monday, zone)}, []string{"2026-03-02 WEEKLY MO 0 18:30 20:00"}, nil},
		"two": {
			nil, times{at(eight, zone), at(yearly, zone)}, []string{"2026-03-02 WEEKLY MO 8 18:30 20:00", "2026-03-02   0 18:30 20:00"},
			[]string{"availability.planned_times[1].rrule: HSDS has no members for the rule " + yearly + "; it stands in the schedule's description and in an attribute of Cairn's."},
		},
		"both given": {
			times{at(monday, "")}, times{at(eight, zone)}, []string{"2026-03-02 WEEKLY MO 0 18:30 20:00"},
			[]string{"availability.planned_times: the schedules are the group's regular times, not what is planned beside them."},
		},
	} {
		g := &groupsv1.Group{
			Name: "groups/0192d7a5-0000-7000-8000-000000000001", Title: "Circle", Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED,
			Format: groupsv1.Group_ONLINE, TimeZone: zone, RegularTimes: c.regular, Availability: &groupsv1.Group_Availability{PlannedTimes: c.planned},
		}
		s, losses, err := hsds.WriteService(formats.Listing{Group: g}, hsds.V31)
		if err != nil {
			t.Fatal(err)
		}
		var schedules, lost []string
		for _, x := range s.Schedules {
			schedules = append(schedules, fmt.Sprintf("%s %s %s %d %s %s", x.DTStart, x.Freq, x.ByDay, x.Count, x.OpensAt, x.ClosesAt))
		}
		for _, l := range losses {
			lost = append(lost, l.Field+": "+l.Reason)
		}
		if d := cmp.Diff([2][]string{c.schedules, c.lost}, [2][]string{schedules, lost}); d != "" {
			t.Errorf("%s: schedules and losses (-want +got):\n%s", what, d)
		}
		want := c.planned
		if c.regular != nil {
			want = c.regular
		}
		f := formatstest.Read(t, hsds.Format{}, strings.NewReader(string(encode(t, s))), formats.Options{})
		if d := cmp.Diff(want, f.Entries[0].Group.GetRegularTimes(), protocmp.Transform(), protocmp.IgnoreFields(&groupsv1.Group_RegularTime{}, "time_zone")); d != "" || f.Entries[0].Group.GetTimeZone() != zone {
			t.Errorf("%s: read back in %s (-want +got):\n%s", what, f.Entries[0].Group.GetTimeZone(), d)
		}
	}
}

// 3.0 has no capacities and no labels; that seats are lost is told.
func TestWrittenAs30(t *testing.T) {
	t.Parallel()
	s, losses, err := hsds.WriteService(formats.Listing{Group: rich()}, hsds.V30)
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for _, l := range losses {
		told = told || l.Field == "availability.open_seats"
	}
	if raw := string(encode(t, s)); s.Capacities != nil || strings.Contains(raw, `"label"`) || !told {
		t.Errorf("losses %+v, written is %s", losses, raw)
	}
}

func BenchmarkWrite(b *testing.B) {
	l := formats.Listing{Group: rich(), Organization: organization()}
	for b.Loop() {
		if raw, _, err := hsds.Write(l); err != nil || len(raw) < 1000 {
			b.Fatal(len(raw), err)
		}
	}
}

func BenchmarkEntry(b *testing.B) {
	raw, _, err := hsds.Write(formats.Listing{Group: rich(), Organization: organization()})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if e, rejected := (hsds.Format{}).Entry(formats.Record{Row: 1, ID: "1", Raw: raw}, formats.Options{}); e == nil {
			b.Fatal(rejected)
		}
	}
}
