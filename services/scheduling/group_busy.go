package scheduling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

// A group has one session at a time: its members are to be in one place.

// claims tells whether the change has the session take a time that it did not have.
func (c change) claims() bool {
	return c.row.takesPlace() && (c.row.Revision == 1 || c.back || !c.previous.IsZero())
}

// overlaps tells whether two sessions of one group would take place at once.
func (r sessionRow) overlaps(o sessionRow) bool {
	return r.ID != o.ID && r.GroupID == o.GroupID && r.takesPlace() && o.takesPlace() && r.StartTime.Before(o.EndTime) && o.StartTime.Before(r.EndTime)
}

// clash is a session that would take place while its group has another.
type clash struct{ row, other sessionRow }

// clashes returns what of the changes claims a time at which the group has another session, soonest first. Of two changes that claim one
// time it is the later of the list.
func clashes(ctx context.Context, tx pg.Querier, changes []change) ([]clash, error) {
	var ids, claimants, groups []uuid.UUID
	var starts, ends []time.Time
	var found []clash
	rows := map[uuid.UUID]sessionRow{}
	byGroup := map[uuid.UUID][]change{}
	for _, c := range changes {
		ids = append(ids, c.row.ID)
		byGroup[c.row.GroupID] = append(byGroup[c.row.GroupID], c)
		if c.claims() {
			rows[c.row.ID] = c.row
			claimants, groups = append(claimants, c.row.ID), append(groups, c.row.GroupID)
			starts, ends = append(starts, c.row.StartTime), append(ends, c.row.EndTime)
		}
	}
	if len(claimants) == 0 {
		return nil, nil
	}
	for _, list := range byGroup {
		found = append(found, among(list)...)
	}
	had, err := tx.Query(ctx, `
		SELECT w.id AS claimant, `+sessionColumns+`
		FROM unnest(@claimants::uuid[], @groups::uuid[], @starts::timestamptz[], @ends::timestamptz[]) AS w (id, of_group, start, stop)
		JOIN sessions s ON s.group_id = w.of_group AND s.start_time < w.stop AND s.start_time > w.start - interval '24 hours' AND s.end_time > w.start
		WHERE s.state <> 3 AND s.id <> ALL(@ids)`,
		pgx.NamedArgs{"claimants": claimants, "groups": groups, "starts": starts, "ends": ends, "ids": ids})
	if err != nil {
		return nil, fmt.Errorf("find sessions at those times: %w", err)
	}
	type claimed struct {
		Claimant uuid.UUID
		sessionRow
	}
	others, err := pgx.CollectRows(had, pgx.RowToStructByName[claimed])
	if err != nil {
		return nil, fmt.Errorf("find sessions at those times: %w", err)
	}
	for _, o := range others {
		found = append(found, clash{rows[o.Claimant], o.sessionRow})
	}
	slices.SortFunc(found, func(a, b clash) int { return a.row.StartTime.Compare(b.row.StartTime) })
	return found, nil
}

// among returns which of the changes of one group claim a time that another has.
func among(list []change) (found []clash) {
	var order []int
	for i, c := range list {
		if c.row.takesPlace() {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return list[a].row.StartTime.Compare(list[b].row.StartTime) })
	for n, i := range order {
		for _, j := range order[n+1:] {
			if !list[i].row.overlaps(list[j].row) {
				break
			}
			early, late := list[min(i, j)], list[max(i, j)]
			if !late.claims() {
				early, late = late, early
			}
			if late.claims() {
				found = append(found, clash{late.row, early.row})
			}
		}
	}
	return found
}

// alone refuses changes of which one would have a session take place while its group has another.
func alone(ctx context.Context, tx pg.Querier, changes []change) error {
	found, err := clashes(ctx, tx, changes)
	if err != nil || len(found) == 0 {
		return err
	}
	return errGroupBusy(found[0].other)
}

// errGroupBusy says which session the group has at that time.
func errGroupBusy(other sessionRow) error {
	zone, err := recurrence.Zone(other.TimeZone)
	if err != nil {
		return fmt.Errorf("%s: %w", other.name(), err)
	}
	return fault.Precondition("GROUP_BUSY", other.name(), "the group has %s from %s %s to %s at that time; move or cancel it first, or choose another time",
		other.name(), wallClock(other.StartTime, zone), other.TimeZone, wallClock(other.EndTime, zone))
}

// leaveOut takes out of the changes what claims a time at which the group has another session: a new session is not made, one that
// was dropped stays so, one that has another time now is dropped.
func leaveOut(ctx context.Context, tx pg.Querier, changes []change, now time.Time) ([]change, error) {
	found, err := clashes(ctx, tx, changes)
	if err != nil || len(found) == 0 {
		return changes, err
	}
	out := make(map[uuid.UUID]bool, len(found))
	for _, c := range found {
		out[c.row.ID] = true
	}
	var rest []change
	for _, c := range changes {
		switch {
		case !out[c.row.ID]:
			rest = append(rest, c)
		case !c.previous.IsZero():
			c = drop(c.row, now, droppedReason)
			c.row.Revision-- // it is one change
			rest = append(rest, c)
		}
	}
	return rest, nil
}
