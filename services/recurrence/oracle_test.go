package recurrence_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/teambition/rrule-go"
	"pgregory.net/rapid"

	"cairn.care/services/recurrence"
)

// oracle expands a rule with rrule-go, on floating time.
func oracle(t interface{ Fatalf(string, ...any) }, rule string, start time.Time, limit int) []time.Time {
	option, err := rrule.StrToROption(rule)
	if err != nil {
		t.Fatalf("rrule-go refuses %q: %v", rule, err)
	}
	option.Dtstart = start
	r, err := rrule.NewRRule(*option)
	if err != nil {
		t.Fatalf("rrule-go refuses %q: %v", rule, err)
	}
	var all []time.Time
	next := r.Iterator()
	for len(all) < limit {
		at, ok := next()
		if !ok {
			break
		}
		all = append(all, at)
	}
	return all
}

// TestAgainstOracle compares random rules with rrule-go's answer. It leaves out what
// rrule-go does otherwise than RFC 5545: BYWEEKNO alone, negative, with INTERVAL or of
// a year's last weeks (see TestWeekNumbers), BYSETPOS with WEEKLY (it cuts the first
// week), numbered days mixed with others.
func TestAgainstOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, againstOracle)
}

// FuzzAgainstOracle does the same for as long as it is let.
func FuzzAgainstOracle(f *testing.F) { f.Fuzz(rapid.MakeFuzz(againstOracle)) }

func againstOracle(t *rapid.T) {
	rule := drawRule(t)
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, 10*365*86400).Draw(t, "start")) * time.Second)
	set, err := recurrence.Parse(recurrence.Spec{RRule: rule, TimeZone: "UTC", Start: recurrence.FormatLocal(start)})
	if err != nil {
		return // never occurs, or costs too much: rrule-go would look on to the year 9999
	}
	end := start.AddDate(6, 0, 0)
	list, _, err := set.Between(start, end, 50_000)
	if err != nil {
		return
	}
	if len(list) > 200 {
		list = list[:200]
	}
	var want []time.Time
	if len(list) > 0 {
		want = oracle(t, rule, start, len(list))
	}
	for i, o := range list {
		if i >= len(want) || !o.Start().Equal(want[i]) {
			t.Fatalf("%s from %s: occurrence %d is %s, rrule-go has %v", rule, start, i, o.Start(), want[max(0, i-1):])
		}
	}
}

func drawRule(t *rapid.T) string {
	freq := rapid.SampledFrom([]string{"YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"}).Draw(t, "freq")
	parts := []string{"FREQ=" + freq}
	maybe := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	numbers := func(name string, low, high int) {
		values := rapid.SliceOfNDistinct(rapid.IntRange(low, high).Filter(func(n int) bool { return n != 0 || low == 0 }), 1, 4, rapid.ID[int]).Draw(t, name)
		var text []string
		for _, v := range values {
			text = append(text, strconv.Itoa(v))
		}
		parts = append(parts, name+"="+strings.Join(text, ","))
	}
	days := []string{"MO", "TU", "WE", "TH", "FR", "SA", "SU"}
	interval := 1
	if maybe("interval") {
		interval = rapid.IntRange(1, 5).Draw(t, "INTERVAL")
		parts = append(parts, fmt.Sprintf("INTERVAL=%d", interval))
	}
	chooses := false
	if maybe("bymonth") {
		numbers("BYMONTH", 1, 12)
		chooses = true
	}
	if freq != "WEEKLY" && maybe("bymonthday") {
		numbers("BYMONTHDAY", -31, 31)
		chooses = true
	}
	if freq != "DAILY" && freq != "WEEKLY" && freq != "MONTHLY" && maybe("byyearday") {
		numbers("BYYEARDAY", -366, 366)
		chooses = true
	}
	weeks := freq == "YEARLY" && interval == 1 && maybe("byweekno")
	if weeks {
		numbers("BYWEEKNO", 1, 51)
	}
	if weeks || maybe("byday") {
		number := (freq == "YEARLY" || freq == "MONTHLY") && !weeks && maybe("numbered")
		values := rapid.SliceOfNDistinct(rapid.SampledFrom(days), 1, 4, rapid.ID[string]).Draw(t, "BYDAY")
		for i := range values {
			if number {
				values[i] = rapid.SampledFrom([]string{"1", "2", "+3", "4", "5", "-1", "-2", "-5"}).Draw(t, "n") + values[i]
			}
		}
		parts = append(parts, "BYDAY="+strings.Join(values, ","))
		chooses = true
	}
	if maybe("byhour") {
		numbers("BYHOUR", 0, 23)
	}
	if maybe("byminute") {
		numbers("BYMINUTE", 0, 59)
	}
	if chooses && freq != "WEEKLY" && maybe("bysetpos") {
		numbers("BYSETPOS", -5, 5)
	}
	if maybe("wkst") {
		parts = append(parts, "WKST="+rapid.SampledFrom(days).Draw(t, "WKST"))
	}
	switch {
	case freq == "HOURLY" || freq == "MINUTELY" || maybe("count"):
		parts = append(parts, fmt.Sprintf("COUNT=%d", rapid.IntRange(1, 60).Draw(t, "COUNT")))
	case maybe("until"):
		parts = append(parts, "UNTIL="+time.Date(2032, 1, 1, 12, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 1500).Draw(t, "UNTIL")).Format("20060102T150405Z"))
	}
	return strings.Join(parts, ";")
}

// TestWeekNumbers compares BYWEEKNO with the ISO weeks of package time.
func TestWeekNumbers(t *testing.T) {
	t.Parallel()
	first, end := time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC), time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, week := range []int{1, 2, 20, 51, 52, 53, -1} {
		set, err := recurrence.Parse(recurrence.Spec{RRule: fmt.Sprintf("FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYWEEKNO=%d", week), TimeZone: "UTC", Start: recurrence.FormatLocal(first)})
		if err != nil {
			t.Fatal(err)
		}
		list, _, err := set.Between(first, end, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for day := first; day.Before(end); day = day.AddDate(0, 0, 1) {
			_, n := day.ISOWeek()
			if week < 0 {
				if _, next := day.AddDate(0, 0, 7).ISOWeek(); next == 1 && n > 1 {
					n = week
				}
			}
			has := len(list) > 0 && list[0].Start().Equal(day)
			if has {
				list = list[1:]
			}
			if has != (n == week) {
				t.Fatalf("BYWEEKNO=%d on %s: got %t, ISO week %d", week, day.Format(time.DateOnly), has, n)
			}
		}
	}
}

// TestInstant compares Instant with a search through the zone's days.
func TestInstant(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "America/Asuncion", "Asia/Tehran", "Antarctica/Troll", "UTC"} {
		zone, err := recurrence.Zone(name)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			// Near a change more often than not.
			near := time.Unix(rapid.Int64Range(1_230_000_000, 2_000_000_000).Draw(t, "near"), 0).In(zone)
			if _, change := near.ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "at a change") {
				near = change
			}
			_, offset := near.Zone()
			local := time.Unix(near.Unix()+int64(offset)+rapid.Int64Range(-200, 200).Draw(t, "minutes")*60, 0).UTC()
			got := recurrence.Instant(local, zone)
			var want time.Time
			for m := int64(-30 * 60); m <= 30*60 && want.IsZero(); m++ {
				if at := time.Unix(local.Unix()+m*60, 0).UTC(); recurrence.WallClock(at, zone).Equal(local) {
					want = at
				}
			}
			if want.IsZero() { // in a gap: the offset of the minute before it
				at := got
				for recurrence.WallClock(at, zone).After(local) {
					at = at.Add(-time.Minute)
				}
				_, before := at.In(zone).Zone()
				want = time.Unix(local.Unix()-int64(before), 0).UTC()
			}
			if !got.Equal(want) {
				t.Fatalf("%s in %s: got %s, want %s", recurrence.FormatLocal(local), name, got, want)
			}
		})
	}
}

// TestLibicalVectors runs libical's recur.txt, where the shared data is present.
func TestLibicalVectors(t *testing.T) {
	t.Parallel()
	path := sharedData(t, "ical", "recur.txt")
	file, err := os.Open(path)
	if err != nil {
		t.Skipf("no shared data: %v", err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}()
	lines, ran := bufio.NewScanner(file), 0
	event := map[string]string{}
	last := ""
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, ";"):
		case strings.HasPrefix(line, " "):
			event[last] += line[1:]
		case line == "BEGIN:VEVENT":
			event = map[string]string{}
		case line == "END:VEVENT":
			if event["EXRULE"] == "" { // EXRULE left RFC 5545; the file says "not implemented"
				vector(t, event)
				ran++
			}
		default:
			name, value, _ := strings.Cut(line, ":")
			last, event[name] = name, value
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if ran < 50 {
		t.Errorf("ran %d vectors, want at least 50", ran)
	}
}

// vector checks one event: the number of instances that libical expects, and each of
// them against rrule-go.
func vector(t *testing.T, event map[string]string) {
	t.Helper()
	zone, value := "UTC", strings.TrimPrefix(event["DTSTART"], ":")
	if rest, ok := strings.CutPrefix(value, ";TZID="); ok {
		zone, value, _ = strings.Cut(rest, ":")
	}
	start, err := time.Parse("20060102T150405", strings.TrimSuffix(value, "Z"))
	if err != nil {
		t.Fatalf("%v: %v", event, err)
	}
	rule := strings.TrimPrefix(event["RRULE"], ":")
	spec := recurrence.Spec{RRule: rule, TimeZone: zone, Start: recurrence.FormatLocal(start)}
	if event["EXDATE"] != "" {
		at, err := time.Parse("20060102T150405Z", strings.TrimPrefix(event["EXDATE"], ":"))
		if err != nil {
			t.Fatal(err)
		}
		// An extra date far away, since a set with no occurrence at all is refused.
		spec.ExDates, spec.RDates = []string{recurrence.FormatLocal(at)}, []string{"2100-01-01T00:00"}
	}
	set, err := recurrence.Parse(spec)
	if err != nil {
		t.Errorf("%s: %v", rule, err)
		return
	}
	list, _, err := set.Between(start.AddDate(0, 0, -2), start.AddDate(60, 0, 0), 1000)
	if err != nil {
		t.Errorf("%s: %v", rule, err)
		return
	}
	if got := strconv.Itoa(len(list)); got != strings.TrimSpace(event["X-EXPECT-NUMEVENTS"]) {
		t.Errorf("%s from %s: got %s instances, libical expects %s", rule, start, got, event["X-EXPECT-NUMEVENTS"])
	}
	for i, at := range oracle(t, rule, start, len(list)) {
		if spec.ExDates == nil && i < len(list) && !list[i].Local().Equal(at) {
			t.Errorf("%s: instance %d is %s, rrule-go has %s", rule, i, list[i].Local(), at)
		}
	}
}

// sharedData finds a file in the data directory beside the repository.
func sharedData(t *testing.T, path ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
	}
	return filepath.Join(slices.Concat([]string{dir, "..", "shared", "data"}, path)...)
}

// FuzzParse holds any input to: no panic, an answer in bounded time, occurrences in
// order and inside the window.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"FREQ=WEEKLY;BYDAY=TU", "FREQ=MONTHLY;BYDAY=-1FR;COUNT=3", "FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO", "FREQ=SECONDLY;COUNT=9;BYSETPOS=-1;BYSECOND=60",
		"FREQ=YEARLY;INTERVAL=9999;BYYEARDAY=-366", "FREQ=DAILY;UNTIL=99991231T235959Z", "FREQ=HOURLY;COUNT=1;BYHOUR=3",
	} {
		f.Add(seed, "2027-03-28T02:30", "Europe/Berlin", "2027-04-01T10:00")
	}
	f.Fuzz(func(t *testing.T, rule, start, zone, date string) {
		began := time.Now()
		set, err := recurrence.Parse(recurrence.Spec{RRule: rule, TimeZone: zone, Start: start, RDates: []string{date}, ExDates: []string{date}})
		if err != nil {
			return
		}
		from := set.Start.AddDate(0, -1, 0)
		list, _, err := set.Between(from, from.AddDate(1, 1, 0), 1000)
		if len(list) > 1000 {
			t.Fatalf("%d occurrences", len(list))
		}
		for i, o := range list {
			if o.Start().Before(from) || !o.Start().Before(from.AddDate(1, 1, 0)) || i > 0 && !list[i-1].Start().Before(o.Start()) {
				t.Fatalf("occurrence %d of %q is out of order or window: %v", i, rule, list)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("%q took %s (%v)", rule, took, err)
		}
	})
}
