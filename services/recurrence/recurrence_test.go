package recurrence_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn.care/services/recurrence"
)

// starts expands a series and writes its instants in the zone.
func starts(t *testing.T, spec recurrence.Spec, from, to string) []string {
	t.Helper()
	set, err := recurrence.Parse(spec)
	if err != nil {
		t.Fatalf("Parse(%+v): %v", spec, err)
	}
	list, _, err := set.Between(instant(t, from), instant(t, to), 1000)
	if err != nil {
		t.Fatalf("Between(%+v): %v", spec, err)
	}
	var got []string
	for _, o := range list {
		got = append(got, o.Start().In(set.Zone).Format("2006-01-02T15:04:05Z07:00"))
	}
	return got
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestZones holds wall clocks across daylight saving, in both hemispheres, with a
// change of half an hour, and where a day is missing.
func TestZones(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, zone, start, rule, from, to string
		want                              []string
	}{
		{"Berlin spring, evening", "Europe/Berlin", "2027-03-25T19:00", "FREQ=WEEKLY;COUNT=2", "2027-03-01", "2027-05-01", []string{
			"2027-03-25T19:00:00+01:00", "2027-04-01T19:00:00+02:00"}},
		{"Berlin gap: the offset before it", "Europe/Berlin", "2027-03-27T02:30", "FREQ=DAILY;COUNT=3", "2027-03-01", "2027-05-01", []string{
			"2027-03-27T02:30:00+01:00", "2027-03-28T03:30:00+02:00", "2027-03-29T02:30:00+02:00"}},
		{"Berlin overlap: the first", "Europe/Berlin", "2027-10-30T02:30", "FREQ=DAILY;COUNT=3", "2027-10-01", "2027-12-01", []string{
			"2027-10-30T02:30:00+02:00", "2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"}},
		{"New York gap", "America/New_York", "2027-03-13T02:00", "FREQ=DAILY;COUNT=3", "2027-03-01", "2027-04-01", []string{
			"2027-03-13T02:00:00-05:00", "2027-03-14T03:00:00-04:00", "2027-03-15T02:00:00-04:00"}},
		{"New York overlap", "America/New_York", "2027-11-07T01:30", "", "2027-11-01", "2027-12-01", []string{
			"2027-11-07T01:30:00-04:00"}},
		{"Sydney, where spring is in October", "Australia/Sydney", "2027-09-26T18:00", "FREQ=WEEKLY;COUNT=2", "2027-09-01", "2027-12-01", []string{
			"2027-09-26T18:00:00+10:00", "2027-10-03T18:00:00+11:00"}},
		{"Sydney gap", "Australia/Sydney", "2027-10-03T02:15", "", "2027-09-01", "2027-12-01", []string{
			"2027-10-03T03:15:00+11:00"}},
		{"Sydney overlap", "Australia/Sydney", "2027-04-04T02:15", "", "2027-03-01", "2027-12-01", []string{
			"2027-04-04T02:15:00+11:00"}},
		{"Lord Howe gap of half an hour", "Australia/Lord_Howe", "2027-10-02T02:10", "FREQ=DAILY;COUNT=3", "2027-09-01", "2027-12-01", []string{
			"2027-10-02T02:10:00+10:30", "2027-10-03T02:40:00+11:00", "2027-10-04T02:10:00+11:00"}},
		{"Lord Howe overlap of half an hour", "Australia/Lord_Howe", "2027-04-03T01:45", "FREQ=DAILY;COUNT=3", "2027-03-01", "2027-12-01", []string{
			"2027-04-03T01:45:00+11:00", "2027-04-04T01:45:00+11:00", "2027-04-05T01:45:00+10:30"}},
		{"Apia without 30 December 2011", "Pacific/Apia", "2011-12-29T19:00", "FREQ=DAILY;COUNT=4", "2011-12-01", "2012-02-01", []string{
			"2011-12-29T19:00:00-10:00", "2011-12-31T19:00:00+14:00", "2012-01-01T19:00:00+14:00"}},
		{"Chatham, 45 minutes off the hour", "Pacific/Chatham", "2027-09-26T02:50", "", "2027-09-01", "2027-12-01", []string{
			"2027-09-26T03:50:00+13:45"}},
		{"Kolkata has no daylight saving", "Asia/Kolkata", "2027-03-27T19:00", "FREQ=MONTHLY;COUNT=2", "2027-03-01", "2027-12-01", []string{
			"2027-03-27T19:00:00+05:30", "2027-04-27T19:00:00+05:30"}},
		{"UNTIL in UTC takes the zone's offset", "America/Los_Angeles", "2027-03-13T16:30", "FREQ=DAILY;UNTIL=20270315T233000Z", "2027-03-01", "2027-12-01", []string{
			"2027-03-13T16:30:00-08:00", "2027-03-14T16:30:00-07:00", "2027-03-15T16:30:00-07:00"}},
		{"UNTIL as a date reaches to its end", "America/Los_Angeles", "2027-03-13T16:30", "FREQ=DAILY;UNTIL=20270314", "2027-03-01", "2027-12-01", []string{
			"2027-03-13T16:30:00-08:00", "2027-03-14T16:30:00-07:00"}},
		{"leap day", "UTC", "2024-02-29T10:00", "FREQ=YEARLY;COUNT=2", "2024-01-01", "2040-01-01", []string{
			"2024-02-29T10:00:00Z", "2028-02-29T10:00:00Z"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := starts(t, recurrence.Spec{RRule: tt.rule, TimeZone: tt.zone, Start: tt.start}, tt.from, tt.to)
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

// TestSets holds extra dates, exceptions and rules that need no zone.
func TestSets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		spec recurrence.Spec
		want string
	}{
		{"single", recurrence.Spec{Start: "2027-01-05T19:00"}, "[01-05]"},
		{"single with extra dates", recurrence.Spec{Start: "2027-01-05T19:00", RDates: []string{"2027-01-20T19:00", "2027-01-07T10:00:00"}}, "[01-05 01-07 01-20]"},
		{"exceptions count for COUNT", recurrence.Spec{RRule: "FREQ=WEEKLY;COUNT=4", Start: "2027-01-05T19:00", ExDates: []string{"2027-01-12T19:00"}}, "[01-05 01-19 01-26]"},
		{"an exception must match the time", recurrence.Spec{RRule: "FREQ=WEEKLY;COUNT=2", Start: "2027-01-05T19:00", ExDates: []string{"2027-01-12T18:00"}}, "[01-05 01-12]"},
		{"an exception hides an extra date", recurrence.Spec{RRule: "FREQ=WEEKLY;COUNT=2", Start: "2027-01-05T19:00", RDates: []string{"2027-01-06T19:00"}, ExDates: []string{"2027-01-06T19:00"}}, "[01-05 01-12]"},
		{"an extra date on an occurrence is one", recurrence.Spec{RRule: "FREQ=WEEKLY;COUNT=2", Start: "2027-01-05T19:00", RDates: []string{"2027-01-12T19:00"}}, "[01-05 01-12]"},
		{"start outside the rule", recurrence.Spec{RRule: "FREQ=WEEKLY;BYDAY=TH;COUNT=2", Start: "2027-01-05T19:00"}, "[01-07 01-14]"},
		{"first Tuesday", recurrence.Spec{RRule: "FREQ=MONTHLY;BYDAY=1TU;COUNT=3", Start: "2027-01-05T19:00"}, "[01-05 02-02 03-02]"},
		{"first and last Sunday", recurrence.Spec{RRule: "FREQ=MONTHLY;BYDAY=1SU,-1SU;COUNT=3", Start: "2027-01-03T19:00"}, "[01-03 01-31 02-07]"},
		{"months without a 31st are skipped", recurrence.Spec{RRule: "FREQ=MONTHLY;COUNT=3", Start: "2027-01-31T19:00"}, "[01-31 03-31 05-31]"},
		{"last working day", recurrence.Spec{RRule: "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=3", Start: "2027-01-01T19:00"}, "[01-29 02-26 03-31]"},
		{"lower case", recurrence.Spec{RRule: "freq=weekly;byday=tu;count=2", Start: "2027-01-05T19:00"}, "[01-05 01-12]"},
		{"every second week, WKST matters", recurrence.Spec{RRule: "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", Start: "2027-01-05T19:00"}, "[01-05 01-17 01-19 01-31]"},
		{"the same from Monday", recurrence.Spec{RRule: "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", Start: "2027-01-05T19:00"}, "[01-05 01-10 01-19 01-24]"},
		{"week 53 and week 1", recurrence.Spec{RRule: "FREQ=YEARLY;BYWEEKNO=1,53;COUNT=3", Start: "2027-01-02T19:00"}, "[01-02 01-09 01-08]"},
		{"two times a day", recurrence.Spec{RRule: "FREQ=DAILY;BYHOUR=10,19;COUNT=3", Start: "2027-01-05T10:00"}, "[01-05 01-05 01-06]"},
		{"every eight hours", recurrence.Spec{RRule: "FREQ=HOURLY;INTERVAL=8;COUNT=4", Start: "2027-01-05T10:00"}, "[01-05 01-05 01-06 01-06]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.spec.TimeZone = "Europe/Paris"
			var days []string
			for _, s := range starts(t, tt.spec, "2027-01-01", "2036-01-01") {
				days = append(days, s[5:10])
			}
			if got := fmt.Sprint(days); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestRefusals holds each error to the field and the part that it names.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		spec        recurrence.Spec
		field, part string
	}{
		{recurrence.Spec{RRule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31"}, "rrule", "BYMONTHDAY"},
		{recurrence.Spec{RRule: "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}, "rrule", "BYMONTHDAY"},
		{recurrence.Spec{RRule: "FREQ=MONTHLY;BYMONTH=4,6,9,11;BYMONTHDAY=31"}, "rrule", "BYMONTHDAY"},
		{recurrence.Spec{RRule: "FREQ=MONTHLY;BYDAY=6MO"}, "rrule", "BYDAY"},
		{recurrence.Spec{RRule: "FREQ=MONTHLY;BYDAY=1MO;BYSETPOS=2"}, "rrule", "BYSETPOS"},
		{recurrence.Spec{RRule: "FREQ=DAILY;INTERVAL=7;BYDAY=MO"}, "rrule", "BYDAY"},
		{recurrence.Spec{RRule: "FREQ=YEARLY;INTERVAL=4;BYYEARDAY=366", Start: "2027-01-05T19:00"}, "rrule", "BYYEARDAY"},
		{recurrence.Spec{RRule: "FREQ=HOURLY;INTERVAL=24;BYHOUR=3;COUNT=2"}, "rrule", "BYHOUR"},
		{recurrence.Spec{RRule: "FREQ=MINUTELY;INTERVAL=60;BYMINUTE=7;COUNT=2"}, "rrule", "BYMINUTE"},
		{recurrence.Spec{RRule: "FREQ=SECONDLY;INTERVAL=2;BYSECOND=7;COUNT=2"}, "rrule", "FREQ"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;UNTIL=20260101"}, "rrule", "UNTIL"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;COUNT=3;UNTIL=20280101"}, "rrule", "COUNT"},
		{recurrence.Spec{RRule: "FREQ=HOURLY"}, "rrule", "FREQ"},
		{recurrence.Spec{RRule: "FREQ=SECONDLY;BYDAY=MO"}, "rrule", "FREQ"},
		{recurrence.Spec{RRule: "FREQ=FORTNIGHTLY"}, "rrule", "FREQ"},
		{recurrence.Spec{RRule: "BYDAY=MO"}, "rrule", "FREQ"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;FREQ=DAILY"}, "rrule", "FREQ"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;COUNT=0"}, "rrule", "COUNT"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;COUNT=-1"}, "rrule", "COUNT"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;COUNT=99999999999999999999"}, "rrule", "COUNT"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;INTERVAL=0"}, "rrule", "INTERVAL"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;INTERVAL=9223372036854775807"}, "rrule", "INTERVAL"},
		{recurrence.Spec{RRule: "FREQ=YEARLY;BYDAY=SU;BYMONTH=0"}, "rrule", "BYMONTH"},
		{recurrence.Spec{RRule: "FREQ=YEARLY;BYMONTH=13"}, "rrule", "BYMONTH"},
		{recurrence.Spec{RRule: "FREQ=YEARLY;BYMONTH=-1"}, "rrule", "BYMONTH"},
		{recurrence.Spec{RRule: "FREQ=MONTHLY;BYMONTHDAY=0"}, "rrule", "BYMONTHDAY"},
		{recurrence.Spec{RRule: "FREQ=MONTHLY;BYMONTHDAY=32"}, "rrule", "BYMONTHDAY"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;BYMONTHDAY=3"}, "rrule", "BYMONTHDAY"},
		{recurrence.Spec{RRule: "FREQ=MONTHLY;BYYEARDAY=3"}, "rrule", "BYYEARDAY"},
		{recurrence.Spec{RRule: "FREQ=MONTHLY;BYWEEKNO=3"}, "rrule", "BYWEEKNO"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;BYDAY=1MO"}, "rrule", "BYDAY"},
		{recurrence.Spec{RRule: "FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO"}, "rrule", "BYDAY"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;BYDAY=MONDAY"}, "rrule", "BYDAY"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;BYDAY=X"}, "rrule", "BYDAY"},
		{recurrence.Spec{RRule: "FREQ=MONTHLY;BYDAY=0MO"}, "rrule", "BYDAY"},
		{recurrence.Spec{RRule: "FREQ=MONTHLY;BYSETPOS=1"}, "rrule", "BYSETPOS"},
		{recurrence.Spec{RRule: "FREQ=DAILY;BYHOUR=24"}, "rrule", "BYHOUR"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;WKST=XX"}, "rrule", "WKST"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;UNTIL=tomorrow"}, "rrule", "UNTIL"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;UNTIL=20270230"}, "rrule", "UNTIL"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;RSCALE=HEBREW"}, "rrule", "RSCALE"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;BYEASTER=1"}, "rrule", "BYEASTER"},
		{recurrence.Spec{RRule: "RRULE:FREQ=WEEKLY"}, "rrule", "RRULE"},
		{recurrence.Spec{RRule: "weekly"}, "rrule", "RRULE"},
		{recurrence.Spec{RRule: "FREQ=WEEKLY;"}, "rrule", "RRULE"},
		{recurrence.Spec{TimeZone: "Mars/Olympus"}, "time_zone", ""},
		{recurrence.Spec{TimeZone: "Local"}, "time_zone", ""},
		{recurrence.Spec{TimeZone: "../../etc/passwd"}, "time_zone", ""},
		{recurrence.Spec{Start: "2027-02-30T19:00"}, "local_start", ""},
		{recurrence.Spec{Start: "2027-03-01T19:00Z"}, "local_start", ""},
		{recurrence.Spec{Start: "0027-03-01T19:00"}, "local_start", ""},
		{recurrence.Spec{RDates: []string{"2027-03-01T19:00", "x"}}, "rdates[1]", ""},
		{recurrence.Spec{ExDates: []string{"2027-03-01"}}, "exdates[0]", ""},
		{recurrence.Spec{ExDates: []string{"2027-01-05T19:00"}}, "exdates", ""},
		{recurrence.Spec{RRule: "FREQ=DAILY;COUNT=2", ExDates: []string{"2027-01-05T19:00", "2027-01-06T19:00:00"}}, "exdates", ""},
	} {
		if tt.spec.Start == "" {
			tt.spec.Start = "2027-01-05T19:00"
		}
		if tt.spec.TimeZone == "" {
			tt.spec.TimeZone = "Europe/Paris"
		}
		_, err := recurrence.Parse(tt.spec)
		var e *recurrence.Error
		if !errors.As(err, &e) {
			t.Errorf("%+v: got %v, want an error for %s %s", tt.spec, err, tt.field, tt.part)
			continue
		}
		if e.Field != tt.field || e.Part != tt.part {
			t.Errorf("%+v: got %s %s (%s), want %s %s", tt.spec, e.Field, e.Part, e.Reason, tt.field, tt.part)
		}
	}
}

// TestBounded holds rules without sense to a bounded answer.
func TestBounded(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{
		"FREQ=SECONDLY;COUNT=1000000", "FREQ=MINUTELY;COUNT=1000000", "FREQ=SECONDLY;UNTIL=20991231;BYHOUR=3;BYMINUTE=0;BYSECOND=0",
		"FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=1,2,3", "FREQ=SECONDLY;INTERVAL=9999;UNTIL=99991231",
	} {
		set, err := recurrence.Parse(recurrence.Spec{RRule: rule, TimeZone: "Europe/Paris", Start: "2027-01-05T19:00"})
		if err != nil {
			continue
		}
		from := instant(t, "2027-01-01")
		if _, _, err := set.Between(from, from.AddDate(1, 0, 14), 1000); err == nil {
			t.Errorf("%s: got no error, want too many", rule)
		}
	}
}

// TestIndexAndEnd holds an occurrence's index to its place in the series, and the end.
func TestIndexAndEnd(t *testing.T) {
	t.Parallel()
	set, err := recurrence.Parse(recurrence.Spec{RRule: "FREQ=WEEKLY;COUNT=5", TimeZone: "Europe/Paris", Start: "2027-01-05T19:00", ExDates: []string{"2027-01-12T19:00"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from, to string
		want     string
		ended    bool
	}{
		{"2027-01-01", "2027-01-20", "0 1 ", false},
		{"2027-01-20", "2027-02-02", "2 ", false},
		{"2027-01-20", "2027-02-03", "2 3 ", true},
		{"2027-03-01", "2027-04-01", "", true},
	} {
		list, ended, err := set.Between(instant(t, tt.from), instant(t, tt.to), 10)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, o := range list {
			fmt.Fprintf(&b, "%d ", o.Index)
		}
		if b.String() != tt.want || ended != tt.ended {
			t.Errorf("%s to %s: got %q, ended %t; want %q, %t", tt.from, tt.to, b.String(), ended, tt.want, tt.ended)
		}
	}
	if _, _, err := set.Between(instant(t, "2027-01-01"), instant(t, "2028-01-01"), 3); !errors.Is(err, recurrence.ErrTooMany) {
		t.Errorf("limit 3 of 4: got %v, want ErrTooMany", err)
	}
}

// TestFurtherRules unites several rules, extra dates and exceptions.
func TestFurtherRules(t *testing.T) {
	t.Parallel()
	spec := recurrence.Spec{
		RRule: "FREQ=WEEKLY;BYDAY=TU;COUNT=3", Further: []string{"FREQ=MONTHLY;BYDAY=-1SU;COUNT=2", "FREQ=WEEKLY;BYDAY=TU,WE;COUNT=3"},
		TimeZone: "Europe/Berlin", Start: "2027-03-16T19:00", RDates: []string{"2027-03-16T19:00", "2027-03-20T10:00"}, ExDates: []string{"2027-03-17T19:00"},
	}
	want := []string{
		"2027-03-16T19:00:00+01:00", "2027-03-20T10:00:00+01:00", "2027-03-23T19:00:00+01:00", "2027-03-28T19:00:00+02:00",
		"2027-03-30T19:00:00+02:00", "2027-04-25T19:00:00+02:00",
	}
	if got := starts(t, spec, "2027-01-01", "2028-01-01"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	set, err := recurrence.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		list, more, err := set.First(instant(t, "2027-03-18"), instant(t, "2028-01-01"), n)
		if err != nil || len(list) != min(n, 5) || more.Any() != (n < 5) {
			t.Errorf("the first %d: %d, more %t, %v", n, len(list), more.Any(), err)
		}
		for i, o := range list {
			if got := o.Start().In(set.Zone).Format(time.RFC3339); got != want[i+1] || o.Index != i+1 {
				t.Errorf("the first %d: %s (%d), want %s", n, got, o.Index, want[i+1])
			}
		}
	}
}

// TestLoose reads to look at what no calendar could keep.
func TestLoose(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{"FREQ=HOURLY;INTERVAL=5": "00:30 05:30 10:30", "FREQ=SECONDLY;BYSECOND=0,30": "00:30 00:30 00:31"} {
		set, err := recurrence.Parse(recurrence.Spec{RRule: rule, TimeZone: "UTC", Start: "2027-01-01T00:30", Loose: true})
		if err != nil {
			t.Fatal(err)
		}
		list, more, err := set.First(set.Start, set.Start.AddDate(1, 0, 0), 3)
		var got []string
		for _, o := range list {
			got = append(got, o.Local().Format("15:04"))
		}
		if err != nil || strings.Join(got, " ") != want || !more.Any() {
			t.Errorf("%s: %v, %v; want %s", rule, got, err, want)
		}
	}
	set, err := recurrence.Parse(recurrence.Spec{TimeZone: "UTC", Start: "2027-01-01T00:30", ExDates: []string{"2027-01-01T00:30"}, Loose: true})
	if err != nil {
		t.Fatal(err)
	}
	if list, more, err := set.First(set.Start, set.Start.AddDate(1, 0, 0), 3); err != nil || len(list) > 0 || more.Any() {
		t.Errorf("%v, %v, %v; want nothing", list, more, err)
	}
}

// TestLastDayOfLeapYears: package time ends a leap year a day early where it goes by a zone's rule.
func TestLastDayOfLeapYears(t *testing.T) {
	t.Parallel()
	for _, year := range []int{2028, 2040, 2096, 2104, 2400} {
		spec := recurrence.Spec{RRule: "FREQ=DAILY;COUNT=3", TimeZone: "America/New_York", Start: fmt.Sprintf("%d-12-30T23:00", year)}
		got := starts(t, spec, fmt.Sprintf("%d-12-01", year), fmt.Sprintf("%d-02-01", year+1))
		if want := []string{fmt.Sprintf("%d-12-30T23:00:00-05:00", year), fmt.Sprintf("%d-12-31T23:00:00-05:00", year), fmt.Sprintf("%d-01-01T23:00:00-05:00", year+1)}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// TestGap orders what a zone skips: 02:30 becomes 03:30, which is after 03:00 and at once with 03:30.
func TestGap(t *testing.T) {
	t.Parallel()
	spec := recurrence.Spec{RRule: "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,30;COUNT=8", TimeZone: "Europe/Berlin", Start: "2027-03-28T02:00"}
	want := []string{
		"2027-03-28T03:00:00+02:00", "2027-03-28T03:30:00+02:00",
		"2027-03-29T02:00:00+02:00", "2027-03-29T02:30:00+02:00", "2027-03-29T03:00:00+02:00", "2027-03-29T03:30:00+02:00",
	}
	if got := starts(t, spec, "2027-03-01", "2027-05-01"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
