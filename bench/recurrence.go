package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/teambition/rrule-go"

	"cairn.care/services/recurrence"
)

// weekly is how many weekly series are expanded over a year.
const weekly = 1000

// weeklySeries makes up weekly series in many zones; some meet in the hours that daylight saving skips and repeats.
func weeklySeries() []recurrence.Spec {
	zones := []string{"Europe/Berlin", "America/Chicago", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe", "Europe/Dublin", "Asia/Kolkata", "America/Santiago"}
	days := []string{"MO", "TU", "WE", "TH", "FR", "SA", "SU"}
	list := make([]recurrence.Spec, weekly)
	for i := range list {
		hour, minute := 8+i%13, 15*(i%4)
		if i%10 == 0 {
			hour = 1 + i/10%3
		}
		list[i] = recurrence.Spec{
			RRule: "FREQ=WEEKLY;BYDAY=" + days[i%7], TimeZone: zones[i/7%len(zones)],
			Start: fmt.Sprintf("2027-01-%02dT%02d:%02d:00", 1+i%28, hour, minute),
		}
	}
	return list
}

// benchRecurrence measures how fast series are read and expanded over a year beside rrule-go, and that the instants are the same.
// For that rrule-go expands local times: of those that a zone skips or repeats it has others than RFC 5545 section 3.3.5 asks for.
func benchRecurrence(_ context.Context, b *bench) error {
	from := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(1, 0, 0)
	series := weeklySeries()
	ours := func(s recurrence.Spec) ([]recurrence.Occurrence, error) {
		set, err := recurrence.Parse(s)
		if err != nil {
			return nil, err
		}
		list, _, err := set.Between(from, to, 1000)
		return list, err
	}
	in := func(s recurrence.Spec, zone *time.Location, from, to time.Time) ([]time.Time, error) {
		start, err := time.ParseInLocation("2006-01-02T15:04:05", s.Start, zone)
		if err != nil {
			return nil, err
		}
		option, err := rrule.StrToROptionInLocation(s.RRule, zone)
		if err != nil {
			return nil, err
		}
		option.Dtstart = start
		r, err := rrule.NewRRule(*option)
		if err != nil {
			return nil, err
		}
		return r.Between(from, to, true), nil
	}
	theirs := func(s recurrence.Spec) ([]time.Time, error) {
		zone, err := recurrence.Zone(s.TimeZone)
		if err != nil {
			return nil, err
		}
		return in(s, zone, from, to)
	}
	instants, edges := 0, 0
	for _, s := range series {
		got, err := ours(s)
		if err != nil {
			return err
		}
		zone, err := recurrence.Zone(s.TimeZone)
		if err != nil {
			return err
		}
		local, err := in(s, time.UTC, from.AddDate(0, 0, -2), to.AddDate(0, 0, 2))
		if err != nil {
			return err
		}
		var want []time.Time
		for _, l := range local {
			at, edge := byTheBook(l, zone)
			if at.Before(from) || !at.Before(to) {
				continue
			}
			if want = append(want, at); edge {
				edges++
			}
		}
		if !slices.EqualFunc(got, want, func(o recurrence.Occurrence, at time.Time) bool { return o.Start().Equal(at) }) {
			return fmt.Errorf("%s from %s %s: %v, rrule-go has %v", s.RRule, s.Start, s.TimeZone, got, want)
		}
		instants += len(got)
	}
	time1 := func(expand func(recurrence.Spec) (int, error)) (time.Duration, error) {
		began, times := time.Now(), 0
		for times == 0 || time.Since(began) < stretch/10 {
			times++
			n := 0
			for _, s := range series {
				found, err := expand(s)
				if err != nil {
					return 0, err
				}
				n += found
			}
			if n < instants-weekly || n > instants+weekly { // rrule-go may have one more at the edge
				return 0, fmt.Errorf("%d instants, want %d", n, instants)
			}
		}
		return time.Since(began) / time.Duration(times), nil
	}
	var mine, yard, ratios []float64
	for range max(b.rounds, 5) {
		o, err := time1(func(s recurrence.Spec) (int, error) {
			list, err := ours(s)
			return len(list), err
		})
		if err != nil {
			return err
		}
		y, err := time1(func(s recurrence.Spec) (int, error) {
			list, err := theirs(s)
			return len(list), err
		})
		if err != nil {
			return err
		}
		mine, yard, ratios = append(mine, o.Seconds()), append(yard, y.Seconds()), append(ratios, y.Seconds()/o.Seconds())
	}
	ratio := median(ratios)
	b.table.add(row{
		what: fmt.Sprintf("recurrence: %s weekly series read and expanded over a year, %s instants in zones with daylight saving; rrule-go", thousands(weekly), thousands(float64(instants))),
		ours: fmt.Sprintf("%.2f ms", 1000*median(mine)), yardstick: fmt.Sprintf("%.1f ms", 1000*median(yard)), ratio: fmt.Sprintf("%.1f× as fast", ratio),
		goal: fmt.Sprintf("≥ 10×, the same instants, %d of them skipped or repeated by a clock", edges), met: ratio >= 10,
	})
	return nil
}

// byTheBook returns the instant of a local time by the definition: with the offset before a change where it is skipped, the first where
// it comes twice. It tells whether it is one of those.
func byTheBook(local time.Time, zone *time.Location) (at time.Time, edge bool) {
	_, before := local.Add(-24 * time.Hour).In(zone).Zone()
	_, after := local.Add(24 * time.Hour).In(zone).Zone()
	first, second := local.Add(-time.Duration(before)*time.Second), local.Add(-time.Duration(after)*time.Second)
	shows := func(at time.Time) bool { return recurrence.WallClock(at, zone).Equal(local) }
	if !shows(first) && shows(second) {
		return second, false
	}
	return first, before != after && shows(first) == shows(second)
}
