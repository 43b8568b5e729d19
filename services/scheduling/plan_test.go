package scheduling

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/recurrence"
)

// calendar is a model of one series: what is stored of it, and the present.
type calendar struct {
	series seriesRow
	rows   map[uuid.UUID]sessionRow
	now    time.Time
}

func (c *calendar) list() []sessionRow {
	var rows []sessionRow
	for _, r := range c.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b sessionRow) int { return a.OriginalStart.Compare(b.OriginalStart) })
	return rows
}

// recent are the rows that reconcile reads.
func (c *calendar) recent() []sessionRow {
	since := c.now.Add(-2 * grace)
	return slices.DeleteFunc(c.list(), func(r sessionRow) bool { return r.StartTime.Before(since) && r.OriginalStart.Before(since) })
}

func (c *calendar) want(t *rapid.T, have []sessionRow) []recurrence.Occurrence {
	want, err := c.series.occurrences(have, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// TestOverridesSurvive changes a series at random, among sessions that people move,
// cancel and hold while time goes on.
func TestOverridesSurvive(t *testing.T) {
	t.Parallel()
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"}
	rules := []string{
		"FREQ=WEEKLY", "FREQ=WEEKLY;INTERVAL=2", "FREQ=WEEKLY;BYDAY=MO,TH", "FREQ=WEEKLY;BYDAY=TU", "FREQ=MONTHLY;BYDAY=1TH", "FREQ=DAILY;COUNT=40",
		"FREQ=DAILY;BYHOUR=9,17", "FREQ=WEEKLY;UNTIL=20270601", "",
	}
	rapid.Check(t, func(t *rapid.T) {
		c := &calendar{rows: map[uuid.UUID]sessionRow{}, now: thursday}
		c.series = seriesRow{
			ID: aip.NewID(), Rrule: "FREQ=WEEKLY", TimeZone: "Europe/Berlin", LocalStart: time.Date(2027, 3, 4, 19, 0, 0, 0, time.UTC),
			DurationSeconds: 3600, Facilitators: []uuid.UUID{aip.NewID()},
		}
		c.apply(t)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				c.series.Rrule = rapid.SampledFrom(rules).Draw(t, "rrule")
			case 1:
				c.series.TimeZone = rapid.SampledFrom(zones).Draw(t, "zone")
			case 2:
				c.series.LocalStart = time.Date(2027, 3, rapid.IntRange(1, 9).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), 30, 0, 0, time.UTC)
			case 3:
				c.now = c.now.Add(time.Duration(rapid.IntRange(1, 24*40).Draw(t, "hours")) * time.Hour)
			default:
				c.override(t)
				continue
			}
			c.apply(t)
		}
	})
}

// override moves, cancels or holds one of the sessions, as its RPCs allow.
func (c *calendar) override(t *rapid.T) {
	rows := slices.DeleteFunc(c.list(), func(r sessionRow) bool { return r.State == held || r.DroppedState != nil || r.State == cancelled })
	if len(rows) == 0 {
		return
	}
	r := rapid.SampledFrom(rows).Draw(t, "session")
	switch {
	case r.begun(c.now):
		r.State = held
	case rapid.Bool().Draw(t, "cancel"):
		r.State, r.CancelReason, r.Facilitators = cancelled, "Holiday", nil
	default:
		r.State = moved
		r.StartTime = c.now.Add(time.Duration(rapid.IntRange(1, 24*60).Draw(t, "to")) * time.Hour)
		r.EndTime = r.StartTime.Add(45 * time.Minute)
	}
	r.Revision++
	c.rows[r.ID] = r
}

// apply plans the series, checks what comes out, and stores it.
func (c *calendar) apply(t *rapid.T) {
	have := c.recent()
	want := c.want(t, have)
	wanted := map[string]recurrence.Occurrence{}
	onDay := map[string]int{}
	for _, o := range want {
		wanted[o.Local().String()] = o
		onDay[day(o.Local())]++
	}
	changes := plan(c.series, have, want, c.now, c.now, droppedReason)
	seen := map[uuid.UUID]bool{}
	for _, ch := range changes {
		r := ch.row
		old, known := c.rows[r.ID]
		switch {
		case seen[r.ID]:
			t.Fatalf("session %s changes twice", r.OriginalStart)
		case !known && r.StartTime.Before(c.now):
			t.Fatalf("a session of the past was made: %s", r.StartTime)
		case known && (old.begun(c.now) && old.DroppedState == nil || old.State == held):
			t.Fatalf("a session that had begun or was held changed: %+v to %+v", old, r)
		case known && r.Revision != old.Revision+1:
			t.Fatalf("revision %d after %d", r.Revision, old.Revision)
		}
		seen[r.ID] = true
		if _, same := wanted[old.OriginalStart.String()]; known && same && old.DroppedState == nil && old.State != scheduled {
			if r.State != old.State || !r.StartTime.Equal(old.StartTime) || !r.EndTime.Equal(old.EndTime) || r.CancelReason != old.CancelReason {
				t.Fatalf("an override was lost: %+v to %+v", old, r)
			}
		}
		c.rows[r.ID] = r
	}

	live, originals := map[string][]sessionRow{}, map[string]bool{}
	for _, r := range c.list() {
		if key := r.OriginalStart.String(); originals[key] {
			t.Fatalf("two sessions of one occurrence: %s", key)
		} else {
			originals[key] = true
		}
		if r.DroppedState == nil {
			live[day(r.OriginalStart)] = append(live[day(r.OriginalStart)], r)
		}
	}
	for _, o := range want {
		if !o.Start().After(c.now) || !o.Start().Before(c.series.Horizon) {
			continue
		}
		if !slices.ContainsFunc(live[day(o.Local())], func(r sessionRow) bool {
			return r.OriginalStart.Equal(o.Local()) || r.begun(c.now) || r.State == held // today's is over, at whatever time
		}) {
			t.Fatalf("no session at %s", o.Local())
		}
	}
	for _, rows := range live {
		for _, r := range rows {
			if _, ok := wanted[r.OriginalStart.String()]; !ok && !r.begun(c.now) && r.State != held && onDay[day(r.OriginalStart)] == 0 {
				t.Fatalf("%s is no occurrence of %+v", r.OriginalStart, c.series)
			}
			if r.State == scheduled && !r.begun(c.now) {
				if o, ok := wanted[r.OriginalStart.String()]; ok && o.Start().After(c.now) && !o.Start().Equal(r.StartTime) {
					t.Fatalf("%s starts at %s, want %s", r.OriginalStart, r.StartTime, o.Start())
				}
			}
		}
	}
	if again := plan(c.series, c.recent(), c.want(t, c.recent()), c.now, c.now, droppedReason); len(again) != 0 {
		t.Fatalf("planned again, %d change: %s", len(again), describe(again))
	}
}

func describe(changes []change) (text string) {
	for _, c := range changes {
		text += fmt.Sprintf("\n%s state %d dropped %v start %s", c.row.OriginalStart, c.row.State, c.row.DroppedState != nil, c.row.StartTime)
	}
	return text
}
