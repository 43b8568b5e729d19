package formatstest

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
)

// Group draws a group as the public sees it, with any of the fields that feeds may say.
func Group() *rapid.Generator[*groupsv1.Group] {
	return rapid.Custom(func(t *rapid.T) *groupsv1.Group {
		g := &groupsv1.Group{
			Name:         fmt.Sprintf("groups/0192d7a5-0000-7000-8000-%012x", rapid.Uint32().Draw(t, "id")),
			Organization: "organizations/0192d7a5-0000-7000-8000-00000000000a",
			State:        rapid.SampledFrom([]groupsv1.Group_State{groupsv1.Group_PUBLISHED, groupsv1.Group_PUBLISHED, groupsv1.Group_PAUSED}).Draw(t, "state"),
			UpdateTime:   timestamppb.New(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),

			Title:       words(1, 200).Draw(t, "title"),
			Summary:     words(0, 500).Draw(t, "summary"),
			Description: words(0, 3000).Draw(t, "description"),
			Languages:   rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"en", "es", "de", "zh-Hant", "pt-BR", "tl", "fr"}), 0, 3, rapid.ID).Draw(t, "languages"),
			CancerTypes: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"any", "breast", "lung", "leukaemia", "prostate"}), 0, 3, rapid.ID).Draw(t, "cancer types"),
			TimeZone:    rapid.SampledFrom([]string{"America/Chicago", "Europe/Madrid", "Asia/Kolkata"}).Draw(t, "zone"),
		}
		g.AcceptsIntake = g.GetState() == groupsv1.Group_PUBLISHED
		m := g.ProtoReflect()
		for _, name := range []string{"kind", "facilitation", "format"} {
			fd := m.Descriptor().Fields().ByTextName(name)
			m.Set(fd, protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.IntRange(1, fd.Enum().Values().Len()-1).Draw(t, name))))
		}
		for _, name := range []string{"confidentiality", "intake"} {
			fd := m.Descriptor().Fields().ByTextName(name)
			m.Set(fd, protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.IntRange(0, fd.Enum().Values().Len()-1).Draw(t, name))))
		}
		for _, name := range []string{"accessibility", "phases", "side_effects", "audiences", "demographics", "activities"} {
			fd := m.Descriptor().Fields().ByTextName(name)
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, fd.Enum().Values().Len()-1), 0, 4, rapid.ID).Draw(t, name) {
				m.Mutable(fd).List().Append(protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)))
			}
		}
		if rapid.Bool().Draw(t, "noted") {
			g.DemographicNote = words(1, 100).Draw(t, "demographic note")
		}
		parts(t, g)
		for i := range rapid.IntRange(0, 3).Draw(t, "times") {
			g.RegularTimes = append(g.RegularTimes, regularTime(t, i))
		}
		if a := g.GetAvailability(); a != nil {
			for i := range rapid.IntRange(0, 2).Draw(t, "planned times") {
				a.PlannedTimes = append(a.PlannedTimes, plannedTime(t, i, g.GetTimeZone()))
			}
		}
		return g
	})
}

// parts draws the messages of a group.
func parts(t *rapid.T, g *groupsv1.Group) {
	some := func(what string) bool { return rapid.IntRange(0, 2).Draw(t, what) > 0 }
	if some("venue") {
		g.Venue = venue(t)
	}
	if some("online") {
		g.Online = &groupsv1.Group_Online{Platform: words(0, 80).Draw(t, "platform")}
	}
	if some("age limits") {
		g.AgeLimits = &groupsv1.Group_AgeLimits{
			MinYears: rapid.Int32Range(0, 60).Draw(t, "from"), MaxYears: rapid.SampledFrom([]int32{0, 60, 99}).Draw(t, "to"),
			Strictness: groupsv1.Group_AgeLimits_Strictness(rapid.Int32Range(0, 2).Draw(t, "strictness")),
		}
	}
	if some("structure") {
		g.Structure = &groupsv1.Group_Structure{Type: groupsv1.Group_Structure_Type(rapid.Int32Range(0, 2).Draw(t, "structure type"))}
		if g.GetStructure().GetType() == groupsv1.Group_Structure_CLOSED {
			g.Structure.StartDate = &date.Date{Year: 2026, Month: 4, Day: 7}
			g.Structure.SessionCount = rapid.Int32Range(0, 12).Draw(t, "sessions")
			g.Structure.Goals = rapid.SliceOfN(words(1, 80), 0, 2).Draw(t, "goals")
		}
	}
	if some("capacity") {
		g.Capacity = &groupsv1.Group_Capacity{Seats: rapid.Int32Range(0, 30).Draw(t, "seats"), Waitlist: rapid.Bool().Draw(t, "waitlist")}
	}
	if some("cost") {
		g.Cost = &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_Type(rapid.Int32Range(0, 3).Draw(t, "cost type")), SlidingScale: rapid.Bool().Draw(t, "sliding"), InsuranceAccepted: rapid.Bool().Draw(t, "insurance")}
		if g.GetCost().GetType() == groupsv1.Group_Cost_FEE {
			g.Cost.Amount = &money.Money{CurrencyCode: "EUR", Units: rapid.Int64Range(0, 50).Draw(t, "units"), Nanos: rapid.SampledFrom([]int32{0, 500000000, 990000000}).Draw(t, "nanos")}
			g.Cost.Payers = rapid.SliceOfNDistinct(words(1, 40), 0, 2, rapid.ID).Draw(t, "payers")
		}
	}
	if some("guidelines") {
		g.Guidelines = &groupsv1.Group_Guidelines{Version: 3, Text: words(0, 300).Draw(t, "guidelines")}
	}
	if some("contact") {
		g.Contact = &groupsv1.Group_Contact{
			Uri:   rapid.SampledFrom([]string{"", "https://example.org/g?a=1&b=2", "http://example.org/"}).Draw(t, "uri"),
			Email: rapid.SampledFrom([]string{"", "office@example.org"}).Draw(t, "email"),
			Phone: rapid.SampledFrom([]string{"", "+34 915 550 100", "212-555-0100"}).Draw(t, "phone"),
		}
	}
	if some("availability") {
		g.Availability = &groupsv1.Group_Availability{OpenSeats: new(int32(3)), NextSessions: []*timestamppb.Timestamp{timestamppb.New(time.Date(2026, 3, 5, 18, 0, 0, 0, time.UTC))}, TimeZone: g.GetTimeZone()}
	}
}

func venue(t *rapid.T) *groupsv1.Group_Venue {
	v := &groupsv1.Group_Venue{
		Kind: groupsv1.Group_Venue_Kind(rapid.SampledFrom([]int32{0, 1, 2, 3, 5}).Draw(t, "venue kind")), Label: words(0, 60).Draw(t, "label"),
		Directions: words(0, 200).Draw(t, "directions"), Precision: groupsv1.Group_Venue_Precision(rapid.Int32Range(0, 2).Draw(t, "precision")),
	}
	if rapid.Bool().Draw(t, "address") {
		v.Address = &typev1.PostalAddress{
			AddressLines: rapid.SliceOfN(words(1, 80), 0, 2).Draw(t, "lines"), Locality: words(0, 60).Draw(t, "locality"),
			AdministrativeArea: rapid.SampledFrom([]string{"", "MO", "Comunidad de Madrid"}).Draw(t, "area"), PostalCode: rapid.SampledFrom([]string{"", "64111", "SW1A 1AA", "08001"}).Draw(t, "postal code"),
			Country: rapid.SampledFrom([]string{"", "US", "ES", "IN"}).Draw(t, "country"),
		}
	}
	if rapid.Bool().Draw(t, "located") {
		v.Location = &latlng.LatLng{Latitude: rapid.Float64Range(-90, 90).Draw(t, "latitude"), Longitude: rapid.Float64Range(-180, 180).Draw(t, "longitude")}
	}
	return v
}

// regularTime draws times that are weekly or not.
func regularTime(t *rapid.T, i int) *groupsv1.Group_RegularTime {
	at := func(what string) string { return fmt.Sprintf("%s %d", what, i) }
	r := &groupsv1.Group_RegularTime{
		Rrule: rapid.SampledFrom([]string{
			"FREQ=WEEKLY;BYDAY=TU", "FREQ=WEEKLY;BYDAY=TU,TH", "FREQ=WEEKLY;BYDAY=SU", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "FREQ=MONTHLY;BYDAY=2WE",
			"FREQ=WEEKLY;INTERVAL=1;BYDAY=FR", "FREQ=WEEKLY;BYDAY=MO;COUNT=8", "FREQ=MONTHLY;BYMONTHDAY=15", "FREQ=WEEKLY;BYDAY=TH,TU",
		}).Draw(t, at("rule")),
		StartTime: fmt.Sprintf("%02d:%02d", rapid.IntRange(0, 23).Draw(t, at("hour")), rapid.IntRange(0, 59).Draw(t, at("minute"))),
		Duration:  durationpb.New(time.Duration(rapid.SampledFrom([]int{60, 90, 45, 1, 600, 800, 24 * 60}).Draw(t, at("minutes"))) * time.Minute),
		TimeZone:  rapid.SampledFrom([]string{"", "", "Asia/Tokyo"}).Draw(t, at("zone")),
	}
	if strings.Contains(r.GetRrule(), "INTERVAL=2") || strings.Contains(r.GetRrule(), "COUNT") {
		r.StartDate = &date.Date{Year: 2026, Month: 3, Day: 2}
	}
	return r
}

// plannedTime draws a time as scheduling tells it: with its zone, and from when.
func plannedTime(t *rapid.T, i int, zone string) *groupsv1.Group_RegularTime {
	r := regularTime(t, 10+i)
	r.StartDate = &date.Date{Year: 2026, Month: 3, Day: 2}
	if r.GetTimeZone() == "" {
		r.TimeZone = zone
	}
	return r
}

// words draws text that feeds may trip over, without white space around it.
func words(least, most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		piece := rapid.OneOf(
			rapid.StringN(1, 12, 40),
			rapid.SampledFrom([]string{
				"Tuesday circle", "=1+1", "@SUM(A1)", "'", "\"", "\"\"", ",", ";", "\t", "\n", "\r\n", "|", "a|b", "&amp;", "<b>", "&lt", "é", "日本", "\ufeff", "-", "+", "\\", "\\n", "'=1", "null", "0", "1e5", "a; b", " ; ", "--",
			}),
		)
		s := strings.Join(rapid.SliceOfN(piece, least, 6).Draw(t, "pieces"), " ")
		s = strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", ""))
		if r := []rune(s); len(r) > most {
			s = strings.TrimSpace(string(r[:most]))
		}
		if len(s) < least {
			s = "x"
		}
		return s
	})
}
