package recurrence

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model expands a rule that is daily or rarer as RFC 5545 reads: day by day, each part looked at alone.
func model(r rule, from time.Time, until time.Time) []time.Time {
	var out []time.Time
	start := dateOf(int(from.Unix() / secondsPerDay))
	in := func(list []int, v int, back int) bool { return slices.Contains(list, v) || slices.Contains(list, back) }
	if len(r.weekNumbers)+len(r.yearDays)+len(r.monthDays)+len(r.weekdays) == 0 {
		switch {
		case r.freq == yearly && len(r.months) == 0:
			r.months, r.monthDays = []int{start.month}, []int{start.day}
		case r.freq == yearly || r.freq == monthly:
			r.monthDays = []int{start.day}
		case r.freq == weekly:
			r.weekdays = []weekday{{day: int(from.Weekday()+6) % 7}}
		}
	} else if len(r.yearDays)+len(r.monthDays)+len(r.weekdays) == 0 {
		r.weekdays = []weekday{{day: int(from.Weekday()+6) % 7}}
	}
	on := func(day time.Time) bool {
		last := day.AddDate(0, 1, -day.Day()).Day()
		days := time.Date(day.Year(), 12, 31, 0, 0, 0, 0, time.UTC).YearDay()
		if len(r.months) > 0 && !slices.Contains(r.months, int(day.Month())) ||
			len(r.monthDays) > 0 && !in(r.monthDays, day.Day(), day.Day()-last-1) ||
			len(r.yearDays) > 0 && !in(r.yearDays, day.YearDay(), day.YearDay()-days-1) {
			return false
		}
		if len(r.weekNumbers) > 0 {
			back := int(day.Weekday()+6-time.Weekday(r.weekFrom)) % 7 // to the week's first day
			year := day.AddDate(0, 0, 3-(back+7)%7)                   // the fourth says whose week it is
			n := (year.YearDay()-1)/7 + 1
			december := time.Date(year.Year(), 12, 28, 0, 0, 0, 0, time.UTC) // always in the last week
			weeks := (december.AddDate(0, 0, 3-int(december.Weekday()+13-time.Weekday(r.weekFrom))%7).YearDay()-1)/7 + 1
			if !in(r.weekNumbers, n, n-weeks-1) {
				return false
			}
		}
		place, length := day.Day(), last
		if r.freq == yearly && len(r.months) == 0 {
			place, length = day.YearDay(), days
		}
		return len(r.weekdays) == 0 || slices.ContainsFunc(r.weekdays, func(w weekday) bool {
			return w.day == int(day.Weekday()+6)%7 && (w.n == 0 || w.n == (place-1)/7+1 || -w.n == (length-place)/7+1)
		})
	}
	period := func(day time.Time) int {
		switch r.freq {
		case yearly:
			return day.Year()
		case monthly:
			return 12*day.Year() + int(day.Month())
		case weekly:
			return floorDiv(int(day.Unix()/secondsPerDay)+3-r.weekFrom, 7)
		}
		return int(day.Unix() / secondsPerDay)
	}
	hours, minutes := r.hours, r.minutes
	if hours == nil {
		hours = []int{from.Hour()}
	}
	if minutes == nil {
		minutes = []int{from.Minute()}
	}
	day := from.Truncate(24*time.Hour).AddDate(-1, 0, 0)
	for day.Before(until) {
		var set []time.Time
		this := period(day)
		for ; period(day) == this; day = day.AddDate(0, 0, 1) {
			for _, h := range hours {
				for _, m := range minutes {
					if on(day) {
						set = append(set, day.Add(time.Duration(h)*time.Hour+time.Duration(m)*time.Minute))
					}
				}
			}
		}
		for i, at := range set {
			chosen := len(r.positions) == 0 || in(r.positions, i+1, i-len(set))
			if chosen && (this-period(from))%r.interval == 0 && !at.Before(from) && (r.count == 0 || len(out) < r.count) {
				out = append(out, at)
			}
		}
	}
	return slices.DeleteFunc(out, func(at time.Time) bool { return !at.Before(until) })
}

// TestAgainstModel compares random rules, all that rrule-go does otherwise too, with the model.
func TestAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, againstModel)
}

// FuzzAgainstModel does the same for as long as it is let.
func FuzzAgainstModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(againstModel)) }

func againstModel(t *rapid.T) {
	text := drawAnyRule(t)
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 8*365*1440).Draw(t, "start")) * time.Minute)
	set, err := Parse(Spec{RRule: text, TimeZone: "UTC", Start: FormatLocal(start), Loose: true})
	if err != nil {
		return
	}
	end := start.AddDate(rapid.IntRange(1, 6).Draw(t, "years"), 0, 0)
	list, _, err := set.Between(start, end, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]time.Time, len(list))
	for i, o := range list {
		got[i] = o.Start()
	}
	want := model(*set.rules[0], start, end)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !got[i].Equal(want[i]) {
			t.Fatalf("%s from %s: occurrence %d is %v, want %v", text, start, i, got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
		}
	}
}

func drawAnyRule(t *rapid.T) string {
	freq := rapid.SampledFrom([]string{"YEARLY", "MONTHLY", "WEEKLY", "DAILY"}).Draw(t, "freq")
	parts := []string{"FREQ=" + freq}
	days := []string{"MO", "TU", "WE", "TH", "FR", "SA", "SU"}
	maybe := func(name string, fn func() string) {
		if rapid.IntRange(0, 2).Draw(t, "has "+name) == 0 {
			parts = append(parts, name+"="+fn())
		}
	}
	numbers := func(low, high int) func() string {
		return func() string {
			var text []string
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(low, high).Filter(func(n int) bool { return n != 0 || low == 0 }), 1, 4, rapid.ID[int]).Draw(t, "numbers") {
				text = append(text, strconv.Itoa(n))
			}
			return strings.Join(text, ",")
		}
	}
	maybe("INTERVAL", func() string { return strconv.Itoa(rapid.IntRange(1, 5).Draw(t, "interval")) })
	maybe("BYMONTH", numbers(1, 12))
	weeks := false
	if freq == "YEARLY" {
		maybe("BYYEARDAY", numbers(-366, 366))
		before := len(parts)
		maybe("BYWEEKNO", numbers(-53, 53))
		weeks = len(parts) > before
	}
	if freq != "WEEKLY" {
		maybe("BYMONTHDAY", numbers(-31, 31))
	}
	maybe("BYDAY", func() string {
		var text []string
		for range rapid.IntRange(1, 4).Draw(t, "days") {
			day := rapid.SampledFrom(days).Draw(t, "day")
			if (freq == "YEARLY" || freq == "MONTHLY") && !weeks && rapid.Bool().Draw(t, "numbered") {
				day = fmt.Sprint(rapid.SampledFrom([]int{-53, -30, -5, -4, -1, 1, 2, 5, 20, 53}).Draw(t, "n")) + day
			}
			text = append(text, day)
		}
		return strings.Join(text, ",")
	})
	maybe("BYHOUR", numbers(0, 23))
	maybe("BYMINUTE", numbers(0, 59))
	maybe("BYSETPOS", numbers(-6, 6))
	maybe("WKST", func() string { return rapid.SampledFrom(days).Draw(t, "wkst") })
	maybe("COUNT", func() string { return strconv.Itoa(rapid.IntRange(1, 40).Draw(t, "count")) })
	return strings.Join(parts, ";")
}
