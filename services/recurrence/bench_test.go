package recurrence_test

import (
	"testing"
	"time"

	"github.com/teambition/rrule-go"

	"cairn.care/services/recurrence"
)

// BenchmarkWeeklyYear expands a weekly series over a year in a zone with daylight
// saving, beside rrule-go over the same year.
func BenchmarkWeeklyYear(b *testing.B) {
	from := time.Date(2027, 3, 4, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(1, 0, 0)
	b.Run("cairn", func(b *testing.B) {
		set, err := recurrence.Parse(recurrence.Spec{RRule: "FREQ=WEEKLY", TimeZone: "Europe/Berlin", Start: "2027-03-04T19:00"})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if list, _, err := set.Between(from, to, 1000); err != nil || len(list) != 53 {
				b.Fatalf("%d occurrences, %v; want 53", len(list), err)
			}
		}
	})
	b.Run("rrule-go", func(b *testing.B) {
		zone, err := recurrence.Zone("Europe/Berlin")
		if err != nil {
			b.Fatal(err)
		}
		r, err := rrule.NewRRule(rrule.ROption{Freq: rrule.WEEKLY, Dtstart: time.Date(2027, 3, 4, 19, 0, 0, 0, zone)})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if list := r.Between(from, to, true); len(list) != 53 {
				b.Fatalf("%d occurrences, want 53", len(list))
			}
		}
	})
}

// BenchmarkParse reads a series.
func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := recurrence.Parse(recurrence.Spec{RRule: "FREQ=WEEKLY;BYDAY=TH", TimeZone: "Europe/Berlin", Start: "2027-03-04T19:00"}); err != nil {
			b.Fatal(err)
		}
	}
}
