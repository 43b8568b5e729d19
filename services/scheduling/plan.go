package scheduling

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/recurrence"
)

// droppedReason is told of a session whose occurrence its series has lost.
const droppedReason = "The series no longer has a session here."

// closedReason is told of a session whose group was archived or deleted.
const closedReason = "The group no longer meets."

// change is a session as it is to be, and what happened to it.
type change struct {
	row      sessionRow
	lost     bool      // it took place and now does not
	back     bool      // it did not take place and now does
	previous time.Time // its start before, if it starts or ends at another time now
}

// parse reads when a series takes place. Its errors name the series' field.
func (r seriesRow) parse() (*recurrence.Set, error) {
	spec := recurrence.Spec{RRule: r.Rrule, Further: r.FurtherRrules, TimeZone: r.TimeZone, Start: recurrence.FormatLocal(r.LocalStart)}
	for _, at := range r.Rdates {
		spec.RDates = append(spec.RDates, recurrence.FormatLocal(at))
	}
	for _, at := range r.Exdates {
		spec.ExDates = append(spec.ExDates, recurrence.FormatLocal(at))
	}
	set, err := recurrence.Parse(spec)
	return set, invalid(err)
}

// invalid turns an error of package recurrence into the caller's.
func invalid(err error) error {
	return invalidAt("series.", err)
}

// occurrences returns the series' occurrences of the window, from a day ago on, and
// those round the sessions that it has beyond; it sets the series' horizon and last end.
// A closed series has none.
func (r *seriesRow) occurrences(have []sessionRow, now time.Time) ([]recurrence.Occurrence, error) {
	set, err := r.parse()
	if err != nil {
		return nil, err
	}
	horizon := now.Add(window)
	since, until := now.Add(-grace), horizon
	for _, row := range have { // two days reach across any zone
		if early := row.OriginalStart.Add(-2 * grace); early.Before(since) {
			since = early
		}
		if late := row.OriginalStart.Add(2 * grace); late.After(until) {
			until = late
		}
	}
	list, ended, err := set.Between(since, until, 3*maxSessions)
	if err != nil && !errors.Is(err, recurrence.ErrTooMany) {
		return nil, invalid(err)
	}
	coming := 0
	for _, o := range list {
		if o.Start().After(now.Add(-grace)) {
			coming++
		}
	}
	if err != nil || coming > maxSessions {
		return nil, fault.Invalid(fault.Field("series.rrule", "makes more than %d sessions in 54 weeks; use a rarer rule", maxSessions))
	}
	for i := 1; i < len(list); i++ {
		if list[i].Start().Before(list[i-1].Start().Add(r.duration())) {
			return nil, fault.Invalid(fault.Field("series.duration", "makes the sessions of %s and %s overlap; each must end before the next begins",
				recurrence.FormatLocal(list[i-1].Local()), recurrence.FormatLocal(list[i].Local())))
		}
	}
	r.Horizon, r.LastEnd = horizon, nil
	last := since
	if n := len(list); n > 0 {
		last = list[n-1].Start().Add(r.duration())
	}
	if ended && last.Before(horizon) {
		r.LastEnd = &last
	}
	if r.Closed {
		return nil, nil
	}
	return list, nil
}

// plan returns what must change for the series to have a session for each occurrence.
// Sessions that have begun or were held stay as they are. Of the others each keeps its
// name where the series has an occurrence at its original start, or, where neither has
// another partner, on the same date; where it was moved or cancelled it stays so. What
// is left over is dropped: cancelled, and kept in case its occurrence, or another on its
// date, comes back.
// Occurrences before from, or beyond the horizon, get no new session. All of it is pure.
func plan(series seriesRow, have []sessionRow, want []recurrence.Occurrence, from, now time.Time, reason string) []change {
	byStart := make(map[time.Time]int, len(have))
	for i, row := range have {
		byStart[row.OriginalStart.UTC()] = i
	}
	matched := make([]bool, len(have))
	var changes []change
	var rest []recurrence.Occurrence
	for _, o := range want {
		i, ok := byStart[o.Local()]
		if !ok {
			rest = append(rest, o)
			continue
		}
		matched[i] = true
		if c, ok := keep(series, have[i], o, now); ok {
			changes = append(changes, c)
		}
	}
	// One left on either side of a date: the session takes the new time of day.
	left := map[string][]int{}
	dropped := map[string]int{}
	for i, row := range have {
		on := day(row.OriginalStart)
		switch other, there := dropped[on]; {
		case matched[i]:
		case row.DroppedState == nil:
			left[on] = append(left[on], i)
		case !there || row.worthier(have[other]):
			dropped[on] = i
		}
	}
	perDay := map[string]int{}
	for _, o := range rest {
		perDay[day(o.Local())]++
	}
	for _, o := range rest {
		on := left[day(o.Local())]
		wanted := !o.Start().Before(from) && o.Start().Before(series.Horizon)
		if i, there := dropped[day(o.Local())]; there && wanted && len(on) == 0 {
			on = []int{i}
		}
		if len(on) == 1 && perDay[day(o.Local())] == 1 {
			matched[on[0]] = true
			if c, ok := keep(series, have[on[0]], o, now); ok {
				changes = append(changes, c)
			}
			continue
		}
		if wanted {
			changes = append(changes, change{row: newSession(series, o, now)})
		}
	}
	for i, row := range have {
		if matched[i] || row.DroppedState != nil || row.State == held || row.begun(now) {
			continue
		}
		changes = append(changes, drop(row, now, reason))
	}
	return changes
}

// worthier tells which of two dropped sessions of a date comes back: the one that people changed, or the one dropped last.
func (r sessionRow) worthier(than sessionRow) bool {
	if mine, other := *r.DroppedState != scheduled, *than.DroppedState != scheduled; mine != other {
		return mine
	}
	return r.UpdateTime.After(than.UpdateTime)
}

func day(local time.Time) string { return local.UTC().Format(time.DateOnly) }

func newSession(series seriesRow, o recurrence.Occurrence, now time.Time) sessionRow {
	row := sessionRow{
		ID: aip.NewID(), OrgID: series.OrgID, SeriesID: series.ID, GroupID: series.GroupID, OriginalStart: o.Local(), State: scheduled,
		StartTime: o.Start(), EndTime: o.Start().Add(series.duration()), TimeZone: series.TimeZone,
		Revision: 1, CreateTime: now, UpdateTime: now,
	}
	row.follow(series, o.Index)
	return row
}

// topic returns the topic of the session with that place in the series.
func (r seriesRow) topic(index int) string {
	if index < len(r.Topics) {
		return r.Topics[index]
	}
	return ""
}

// keep returns the session as its occurrence has it now, and whether that is a change.
func keep(series seriesRow, row sessionRow, o recurrence.Occurrence, now time.Time) (change, bool) {
	if row.State == held || row.DroppedState == nil && row.begun(now) || !o.Start().After(now) {
		return change{}, false
	}
	c := change{row: row}
	r := &c.row
	r.OriginalStart = o.Local()
	if r.DroppedState != nil {
		if r.State = *r.DroppedState; r.State != cancelled {
			r.CancelReason, r.CancelTime = "", nil
		}
		if r.State == moved && r.begun(now) {
			r.State = scheduled // while it was dropped, the time that it was moved to has passed
		}
		r.DroppedState = nil
	}
	r.follow(series, o.Index)
	if r.State == scheduled {
		r.StartTime, r.EndTime, r.TimeZone = o.Start(), o.Start().Add(series.duration()), series.TimeZone
	}
	if r.State == cancelled {
		r.free()
	}
	if same(*r, row) {
		return change{}, false
	}
	if row.takesPlace() && (!r.StartTime.Equal(row.StartTime) || !r.EndTime.Equal(row.EndTime)) {
		c.previous = row.StartTime
	}
	c.back = !row.takesPlace() && r.takesPlace()
	r.Revision, r.UpdateTime = row.Revision+1, now
	return c, true
}

// same tells whether two versions of a session differ in nothing that a series decides.
func same(a, b sessionRow) bool {
	return a.OriginalStart.Equal(b.OriginalStart) && a.State == b.State && (a.DroppedState == nil) == (b.DroppedState == nil) &&
		a.StartTime.Equal(b.StartTime) && a.EndTime.Equal(b.EndTime) && a.TimeZone == b.TimeZone &&
		a.sameAsSeries(b) && sameIDs(a.Facilitators, b.Facilitators)
}

func drop(row sessionRow, now time.Time, reason string) change {
	c := change{row: row, lost: row.takesPlace()}
	was := row.State
	c.row.DroppedState, c.row.State = &was, cancelled
	if c.lost {
		c.row.CancelReason, c.row.CancelTime = reason, &now
	}
	c.row.free()
	c.row.Revision, c.row.UpdateTime = row.Revision+1, now
	return c
}

// sameIDs tells whether two lists hold the same ids.
func sameIDs(a, b []uuid.UUID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id uuid.UUID) bool { return !slices.Contains(b, id) })
}

func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }
