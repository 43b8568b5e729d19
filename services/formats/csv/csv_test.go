package csv_test

import (
	encodingcsv "encoding/csv"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/csv"
	"cairn.care/services/formats/formatstest"
)

func read(t testing.TB, feed string, o formats.Options) *formatstest.Feed {
	t.Helper()
	return formatstest.Read(t, csv.Format{}, strings.NewReader(feed), o)
}

// What is written is read as the same group.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		feed := string(csv.Header())
		var want []*groupsv1.Group
		for i := range rapid.IntRange(1, 3).Draw(rt, "groups") {
			g := formatstest.Group().Draw(rt, "group")
			g.Name = g.GetName()[:len(g.GetName())-1] + string(rune('a'+i))
			row, losses, err := csv.Write(formats.Listing{Group: g})
			if err != nil {
				rt.Fatal(err)
			}
			for _, l := range losses {
				if l.Field == "" || !strings.HasSuffix(l.Reason, ".") || l.Omitted {
					rt.Errorf("loss %+v", l)
				}
			}
			feed, want = feed+string(row), append(want, g)
		}
		f := read(t, feed, formats.Options{})
		if len(f.Entries) != len(want) || len(f.Rejected) > 0 {
			rt.Fatalf("%d groups are read as %d, rejected %+v:\n%s", len(want), len(f.Entries), f.Rejected, feed)
		}
		for i, g := range want {
			g, _ = formats.Timed(g)
			got := f.Entries[i]
			if d := cmp.Diff(formats.Said(g), formats.Said(got.Group), protocmp.Transform()); d != "" || got.Closed != formats.Closed(g) || got.Group.GetExternalId() != strings.TrimPrefix(g.GetName(), "groups/") {
				rt.Errorf("closed %v, id %s (-written +read):\n%s\n%s", got.Closed, got.Group.GetExternalId(), d, feed)
			}
		}
	})
}

// Where the owner gives no regular times, the row has what Cairn plans.
func TestPlanned(t *testing.T) {
	t.Parallel()
	const zone = "America/Chicago"
	at := func(rrule, zone string) *groupsv1.Group_RegularTime {
		return &groupsv1.Group_RegularTime{Rrule: rrule, StartTime: "18:30", Duration: durationpb.New(90 * time.Minute), TimeZone: zone, StartDate: &date.Date{Year: 2026, Month: 3, Day: 2}}
	}
	const monday, first, beside = "FREQ=WEEKLY;BYDAY=MO", "FREQ=MONTHLY;BYDAY=1FR", "availability.planned_times"
	type times = []*groupsv1.Group_RegularTime
	for what, c := range map[string]struct {
		regular, planned times
		cells, lost      string // days, start_time, end_time, rrule, first_date, time_zone
	}{
		"weekly":     {nil, times{at(monday, zone)}, "Monday 18:30 20:00  2026-03-02 " + zone, ""},
		"monthly":    {nil, times{at(first, zone)}, " 18:30 20:00 " + first + " 2026-03-02 " + zone, ""},
		"two":        {nil, times{at(monday, zone), at(first, zone)}, "Monday 18:30 20:00  2026-03-02 " + zone, beside + `: Its column cannot say it all; the column "cairn" does, as JSON, which Cairn reads.`},
		"both given": {times{at(monday, "")}, times{at(first, zone)}, "Monday 18:30 20:00  2026-03-02 " + zone, beside + ": The row has the group's regular times, not what is planned beside them."},
		"sessions":   {nil, nil, "     " + zone, "availability.next_sessions: The table says how times come again, not single sessions."},
	} {
		g := &groupsv1.Group{
			Name: "groups/1", Title: "Circle", Format: groupsv1.Group_ONLINE, TimeZone: zone, RegularTimes: c.regular,
			Availability: &groupsv1.Group_Availability{NextSessions: []*timestamppb.Timestamp{timestamppb.New(time.Unix(0, 0))}, PlannedTimes: c.planned},
		}
		row, losses, err := csv.Write(formats.Listing{Group: g})
		if err != nil {
			t.Fatal(err)
		}
		var lost []string
		for _, l := range losses {
			lost = append(lost, l.Field+": "+l.Reason)
		}
		if got := strings.Join(lost, "\n"); got != c.lost {
			t.Errorf("%s: lost is %q, want %q", what, got, c.lost)
		}
		table, err := encodingcsv.NewReader(strings.NewReader(string(csv.Header()) + string(row))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var cells []string
		for _, heading := range []string{"days", "start_time", "end_time", "rrule", "first_date", "time_zone"} {
			cells = append(cells, table[1][slices.Index(table[0], heading)])
		}
		if got := strings.Join(cells, " "); got != c.cells {
			t.Errorf("%s: cells are %q, want %q", what, got, c.cells)
		}
		want := c.planned
		if c.regular != nil {
			want = c.regular
		}
		f := read(t, string(csv.Header())+string(row), formats.Options{})
		if len(f.Entries) != 1 {
			t.Fatalf("%s: rejected %+v", what, f.Rejected)
		}
		if d := cmp.Diff(want, f.Entries[0].Group.GetRegularTimes(), protocmp.Transform(), protocmp.IgnoreFields(&groupsv1.Group_RegularTime{}, "time_zone")); d != "" || f.Entries[0].Group.GetTimeZone() != zone {
			t.Errorf("%s: read back in %s (-want +got):\n%s", what, f.Entries[0].Group.GetTimeZone(), d)
		}
	}
}

const sheet = "\xef\xbb\xbf;;;;;;;;\r\n" +
	"Our groups, spring 2026;;;;;;;;\r\n" +
	"Group Name;Cancer;Town;Address;State;Day;Time;Website;Volunteer;;\r\n" +
	"Tuesday circle;Breast cancer;Kansas City;\"12 Main Street\nSuite 4\";MO;Tuesdays, Thu;6:30 pm;https://example.org/c;Ana;;\r\n" +
	";;;;;;;;;;\r\n" +
	"Two cells\r\n" +
	"Too wide;any;Kansas City;1 A;MO;Mon;10:00;;;;surplus;x\r\n" +
	"Odd day;any;Kansas City;1 A;MO;Someday;10:00;;;;\r\n" +
	"Odd cancer;Gout;Kansas City;1 A;MO;Mon;10:00;;;;\r\n" +
	"No zone;any;Perth;1 A;WA?;Mon;10:00;;;;\r\n" +
	"Half \"quoted\" name;any;Kansas City;1 A;MO;Mon;10:00;;;;\r\n" +
	"\"Wrong\" quotes;any;Kansas City;1 A;MO;Mon;10:00;;;;\r\n" +
	"Tuesday circle;any;Kansas City;\"12 Main Street\nSuite 4\";MO;Mon;10:00;;;;\r\n" +
	";any;Kansas City;1 A;MO;Mon;10:00;;;;\r\n" +
	"Nul\x00;any;Kansas City;1 A;MO;Mon;10:00;;;;\r\n"

func TestSheet(t *testing.T) {
	t.Parallel()
	f := read(t, sheet, formats.Options{})
	if len(f.Entries) != 2 {
		t.Fatalf("%d entries, rejected %+v", len(f.Entries), f.Rejected)
	}
	g := f.Entries[0].Group
	if g.GetTitle() != "Tuesday circle" || g.GetCancerTypes()[0] != "breast" || g.GetFormat() != groupsv1.Group_IN_PERSON || g.GetTimeZone() != "America/Chicago" ||
		g.GetRegularTimes()[0].GetRrule() != "FREQ=WEEKLY;BYDAY=TU,TH" || g.GetRegularTimes()[0].GetStartTime() != "18:30" ||
		len(g.GetVenue().GetAddress().GetAddressLines()) != 2 || g.GetExtensions().GetFields()["csv"].GetStructValue().GetFields()["Volunteer"].GetStringValue() != "Ana" {
		t.Errorf("the first row is %v", g)
	}
	if got := f.Entries[1].Group.GetTitle(); got != `Half "quoted" name` {
		t.Errorf("the second is %q", got)
	}
	want := []string{
		`2  "Two cells"`, `3  "Too wide;any;Kansas City;1 A;MO;Mon;10:00;;;;surplus;x"`, `4 Day "Someday"`, `5 Cancer "Gout"`, `6 time_zone ""`,
		`8  "Wrongany"`, `9 title "Tuesday circle"`, `10 title ""`, `11  "Nul�anyKansas City1 AMOMon10:00"`,
	}
	got := f.Refused()
	for i := range got {
		if strings.HasPrefix(got[i], "8 ") {
			got[i] = `8  "Wrongany"`
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rejected (-want +got):\n%s\n%+v", d, f.Rejected)
	}
	if r := f.Rejected[6].Reason; !strings.Contains(r, "row 1 has the same title, place and format") || !strings.Contains(r, "column id") || !strings.Contains(r, "Tuesday; Thursday") {
		t.Errorf("reason %q", r)
	}
	if r := f.Rejected[0].Reason; !strings.Contains(r, "line 7: the row has 1 cells, but there are 11 headings") {
		t.Errorf("reason %q", r)
	}
}

// Fees, times, links and coordinates are read as people write them.
func TestAsPeopleWrite(t *testing.T) {
	t.Parallel()
	for cells, want := range map[string]string{
		"Free,,7.30pm,example.org/b,\"29,76\",\"-95,37\"":  `type:FREE 19:30 https://example.org/b 29.76 -95.37`,
		"5 USD,,7:30 p.m.,www.example.org,29.76,-95.37":    `type:FEE amount:{currency_code:"USD" units:5} 19:30 https://www.example.org 29.76 -95.37`,
		"0,,19h30,https://example.org,29.76,-95.37":        `type:FREE 19:30 https://example.org 29.76 -95.37`,
		"$5.50,,19.30,https://example.org,29.76,-95.37":    `type:FEE amount:{currency_code:"USD" units:5 nanos:500000000} 19:30 https://example.org 29.76 -95.37`,
		"12,EUR,19:30,https://example.org,29.76,-95.37":    `type:FEE amount:{currency_code:"EUR" units:12} 19:30 https://example.org 29.76 -95.37`,
		"£3,,7pm,https://example.org,29.76,-95.37":         `type:FEE amount:{currency_code:"GBP" units:3} 19:00 https://example.org 29.76 -95.37`,
		"donation,,7pm,https://example.org,29.76,-95.37":   `type:DONATION 19:00 https://example.org 29.76 -95.37`,
		"-5,,7pm,https://example.org,29.76,-95.37":         `fee "-5"`,
		"5 bananas,,7pm,https://example.org,29.76,-95.37":  `fee "5 bananas"`,
		"Free,,half past,https://example.org,29.76,-95.37": `start_time "half past"`,
		"Free,,7pm,ask ann@example.org,29.76,-95.37":       `url "ask ann@example.org"`,
	} {
		f := read(t, "title,fee,currency,start_time,url,latitude,longitude,days,address\nCircle,"+cells+",Tue,\"6501 Memorial Dr, Houston, TX 77007, USA\"\n", formats.Options{})
		if len(f.Entries) == 0 {
			if got := f.Refused(); len(got) != 1 || got[0] != "1 "+want {
				t.Errorf("%s: rejected %q, want %q", cells, got, want)
			}
			continue
		}
		g := f.Entries[0].Group
		cost := strings.Join(strings.Fields(fmt.Sprint(g.GetCost())), " ")
		got := fmt.Sprint(cost, " ", g.GetRegularTimes()[0].GetStartTime(), " ", g.GetContact().GetUri(), " ", g.GetVenue().GetLocation().GetLatitude(), " ", g.GetVenue().GetLocation().GetLongitude())
		if got != want {
			t.Errorf("%s: read as %q, want %q", cells, got, want)
		}
		if a := g.GetVenue().GetAddress(); a.GetLocality() != "Houston" || a.GetPostalCode() != "77007" || g.GetSummary() != "Peer support meeting, Houston." || len(g.GetCancerTypes()) > 0 {
			t.Errorf("%s: %v", cells, g)
		}
	}
}

// Delimiters and encodings are found out.
func TestFoundOut(t *testing.T) {
	t.Parallel()
	plain := "id,title,city,street,state,description\n1,Café de la mañana,Málaga,Calle 1,MO,\"a, b; c\"\n2,Plain,X,Y,MO,\n"
	encode := func(e interface{ String(string) (string, error) }, s string) string {
		out, err := e.String(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for what, feed := range map[string]string{
		"commas": plain, "bars": strings.ReplaceAll(strings.ReplaceAll(plain, ",", "|"), "a| b", "a, b"), "semicolons": strings.ReplaceAll(strings.ReplaceAll(plain, ",", ";"), "a; b", "a, b"),
		"tabs": strings.ReplaceAll(strings.ReplaceAll(plain, ",", "\t"), "a\t b", "a, b"), "byte order mark": "\ufeff" + plain, "old line ends": strings.ReplaceAll(plain, "\n", "\r"),
		"said": "sep=,\r\n" + plain, "Windows-1252": encode(charmap.Windows1252.NewEncoder(), plain),
		"UTF-16": encode(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder(), plain), "UTF-16 without mark": encode(unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewEncoder(), plain),
		"no last line end": strings.TrimSuffix(plain, "\n"), "quotes everywhere": `"` + strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(strings.ReplaceAll(plain, `"a, b; c"`, "@")), ",", `","`), "\n", "\"\n\""), "@", "a, b; c") + "\"\n",
	} {
		f := read(t, feed, formats.Options{})
		if len(f.Entries) != 2 || len(f.Rejected) > 0 {
			t.Errorf("%s: %d entries, rejected %+v", what, len(f.Entries), f.Rejected)
			continue
		}
		if g := f.Entries[0].Group; g.GetTitle() != "Café de la mañana" || g.GetVenue().GetAddress().GetLocality() != "Málaga" || g.GetDescription() != "a, b; c" || g.GetExternalId() != "1" {
			t.Errorf("%s: %v", what, g)
		}
	}
}

func TestColumnMap(t *testing.T) {
	t.Parallel()
	feed := "Nr;Bezeichnung;Titel;title;Ort;Sprache\n7;Frauen nach Krebs;x;y;Berlin;de\n"
	o := formats.Options{Columns: map[string]string{"external_id": "nr", "title": "Bezeichnung", "venue.label": "Ort", "languages": "Sprache"}}
	f := read(t, feed, o)
	if len(f.Entries) != 1 || f.Entries[0].Group.GetTitle() != "Frauen nach Krebs" || f.Entries[0].Group.GetExternalId() != "7" || f.Entries[0].Group.GetLanguages()[0] != "de" {
		t.Errorf("got %v, rejected %v", f.Entries, f.Rejected)
	}
	for want, o := range map[string]formats.Options{
		`has "titel", which is no field`:                    {Columns: map[string]string{"titel": "Titel"}},
		`title stands under "Name", and none of the first`:  {Columns: map[string]string{"title": "Name"}},
		`city stands under "Stadt"`:                         {Columns: map[string]string{"venue.address.locality": "Stadt"}},
		`none of the first 20 rows has a column "title"; x`: {},
	} {
		in := feed
		if want, _, ok := strings.Cut(want, "; x"); ok {
			in = "a;b\n1;2\n"
			if _, err := formatstest.TryRead(t, csv.Format{}, strings.NewReader(in), o); err == nil || !strings.Contains(err.Error(), want[:20]) {
				t.Errorf("got %v, want %q", err, want)
			}
			continue
		}
		if _, err := formatstest.TryRead(t, csv.Format{}, strings.NewReader(in), o); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "city")) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// What is in words of the table's own, or has no column of ours, is kept and given back.
func TestKept(t *testing.T) {
	t.Parallel()
	f := read(t, "id,title,street,city,state,Audience,Topics,Cost,Capacity,Cancer,Led by,Volunteer\n1,A,1 A,Kansas City,MO,\"Anybody, caregivers\",=Grief,free,about 12,lung,peer led,Ana\n", formats.Options{})
	if len(f.Entries) != 1 {
		t.Fatalf("rejected %+v", f.Rejected)
	}
	g := f.Entries[0].Group
	want := map[string]any{"Audience": "Anybody, caregivers", "Topics": "=Grief", "Capacity": "about 12", "Volunteer": "Ana"}
	if d := cmp.Diff(want, g.GetExtensions().GetFields()["csv"].GetStructValue().AsMap()); d != "" {
		t.Errorf("kept (-want +got):\n%s", d)
	}
	if g.GetAudiences()[0] != groupsv1.Group_CAREGIVERS || g.GetCost().GetType() != groupsv1.Group_Cost_FREE || g.GetFacilitation() != groupsv1.Group_PEER_LED || g.GetCapacity() != nil {
		t.Errorf("read as %v", g)
	}
	g.Name = "groups/1"
	row, _, err := csv.Write(formats.Listing{Group: g})
	if err != nil {
		t.Fatal(err)
	}
	again := read(t, string(csv.Header())+string(row), formats.Options{})
	if len(again.Entries) != 1 || !proto.Equal(again.Entries[0].Group.GetExtensions(), g.GetExtensions()) {
		t.Errorf("read again as %v, %v", again.Entries, again.Rejected)
	}
	// Under our own headings, or those of a map, what is not understood is refused.
	for feed, o := range map[string]formats.Options{
		"id,title,street,state,audiences\n1,A,1 A,MO,Anybody\n": {},
		"id,title,street,state,Audience\n1,A,1 A,MO,Anybody\n":  {Columns: map[string]string{"audiences": "Audience"}},
	} {
		if f := read(t, feed, o); len(f.Rejected) != 1 || !strings.Contains(f.Rejected[0].Reason, "is none of patients, survivors, caregivers") {
			t.Errorf("%s: rejected %+v", feed, f.Rejected)
		}
	}
}

// No cell that we write is a formula to a spreadsheet, and each is read as it was.
func TestFormulas(t *testing.T) {
	t.Parallel()
	for _, title := range []string{"=1+1", "+1", "-1+1", "@SUM(A1)", "'=1", "''=1", "＝1", "=HYPERLINK(\"http://x\",\"a\")", "-", "plain", "'plain", "-12.5"} {
		g := &groupsv1.Group{Name: "groups/1", Title: title, Format: groupsv1.Group_ONLINE}
		row, _, err := csv.Write(formats.Listing{Group: g})
		if err != nil {
			t.Fatal(err)
		}
		cell := strings.TrimPrefix(strings.TrimPrefix(string(row), "1,"), `"`)
		if strings.ContainsAny(cell[:1], "=+-@") && title != "-12.5" {
			t.Errorf("%s is written as %s", title, row)
		}
		f := read(t, string(csv.Header())+string(row), formats.Options{})
		if len(f.Entries) != 1 || f.Entries[0].Group.GetTitle() != title {
			t.Errorf("%s is read as %v, %v", title, f.Entries, f.Rejected)
		}
	}
}

func TestNoTable(t *testing.T) {
	t.Parallel()
	for feed, want := range map[string]string{
		"": "empty", " \n": "empty", "id,title\n1,\"a": "ends within quotes that began in the row at line 2", "PK\x03\x04": "spreadsheet", "a,b\n": "no row of headings",
		"id,title\n1,\"a\n" + strings.Repeat("x\n", 100): "ends within quotes that began in the row at line 2",
	} {
		if _, err := formatstest.TryRead(t, csv.Format{}, strings.NewReader(feed), formats.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", feed, err, want)
		}
	}
	if f := read(t, "id,title\n", formats.Options{}); len(f.Entries)+len(f.Rejected) != 0 {
		t.Errorf("headings alone are %v, %v", f.Entries, f.Rejected)
	}
}

type repeat string

func (r repeat) Read(p []byte) (int, error) { return copy(p, r), nil }

// A line, a cell or a number of cells, however long, takes no memory.
func TestHoldsLittle(t *testing.T) { //nolint:paralleltest // measures memory
	for _, c := range []struct{ begin, filling, want string }{
		{"id,title\n", "x", "longer than"}, {"id,title\n1,\"", "x\n", "ends within quotes"}, {"id,title\n", ",", "more than 1000 cells"}, {"", "x", "no row of headings"}, {"id,title\n", "\n", ""},
	} {
		n := int64(8 << 20) // row by row
		if c.want != "" {
			n = 64 << 20
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		said := ""
		for r, err := range (csv.Format{}).Records(io.MultiReader(strings.NewReader(c.begin), io.LimitReader(repeat(strings.Repeat(c.filling, 1<<14)), n)), formats.Options{}) {
			switch {
			case err != nil:
				said += err.Error()
			case r.Rejected != nil:
				said += r.Rejected.Reason
			}
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 && c.filling != "\n" {
			t.Errorf("%q, then much of %q, took %d bytes", c.begin, c.filling, grown)
		}
		if c.want == "" && said != "" || !strings.Contains(said, c.want) {
			t.Errorf("%q, then much of %q: %q, want %q", c.begin, c.filling, said, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(sheet))
	f.Add([]byte("title|seats|fee|currency|lat|lng|days|time|rrule\na|5|1,50|eur|1|2|mon|10|\n"))
	f.Add([]byte("\xff\xfet\x00i\x00t\x00l\x00e\x00\n\x00a\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := formatstest.TryRead(t, csv.Format{}, strings.NewReader(string(in)), formats.Options{TimeZone: "Europe/Berlin"}); err != nil {
			return
		}
	})
}

func BenchmarkRead(b *testing.B) {
	var feed strings.Builder
	feed.Write(csv.Header())
	const rows = 1000
	for i := range rows {
		row, _, err := csv.Write(formats.Listing{Group: &groupsv1.Group{Name: fmt.Sprintf("groups/%d", i), Title: "Circle", Format: groupsv1.Group_ONLINE, Languages: []string{"en"}, Description: strings.Repeat("word ", 50)}})
		if err != nil {
			b.Fatal(err)
		}
		feed.Write(row)
	}
	for b.Loop() {
		n := 0
		for r, err := range (csv.Format{}).Records(strings.NewReader(feed.String()), formats.Options{}) {
			if err != nil || r.Rejected != nil {
				b.Fatal(err, r.Rejected)
			}
			n++
		}
		if n != rows {
			b.Fatalf("%d rows", n)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
