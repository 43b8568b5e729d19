package scheduling

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

const (
	lookedAt     = 2000  // sessions of which the time of the week is looked at with one statement
	mostLookedAt = 20000 // for one page
)

// suits tells whether a start on the wall clock is in one of the spans of the week.
func suits(local time.Time, spans []*typev1.TimeOfWeek) bool {
	minute := int32(local.Hour()*60 + local.Minute())
	day := int32(local.Weekday())
	if day == 0 {
		day = 7 // as google.type.DayOfWeek counts
	}
	for _, t := range spans {
		if (t.GetDay() == 0 || int32(t.GetDay()) == day) && t.GetStartMinute() <= minute && minute < t.GetEndMinute() {
			return true
		}
	}
	return false
}

// suiting returns the next sessions that the condition finds and that start at a time of the week that suits, one more than a
// page if there are as many. Each is looked at on its own wall clock, by the zones that planned it. When many have been looked
// at it returns where it stopped.
func suiting(ctx context.Context, tx pg.Querier, spans []*typev1.TimeOfWeek, where string, args pgx.NamedArgs) (ids []uuid.UUID, stopped sessionCursor, err error) {
	ids = []uuid.UUID{}
	limit, ok := args["limit"].(int)
	if !ok {
		return nil, stopped, fmt.Errorf("limit %v is no number", args["limit"])
	}
	defer func() { args["limit"] = limit }()
	args["limit"] = lookedAt
	seen := sessionCursor{}
	for looked := 0; ; looked += lookedAt {
		condition := where
		if looked > 0 {
			condition += ` AND (s.start_time, s.id) > (@seen_start, @seen_id)`
			args["seen_start"], args["seen_id"] = seen.Start, seen.ID
		}
		rows, err := tx.Query(ctx, `SELECT s.id, s.start_time, s.time_zone FROM sessions s WHERE (@all OR s.org_id = @org) AND `+condition+`
			ORDER BY s.start_time, s.id LIMIT @limit`, args)
		if err != nil {
			return nil, stopped, fmt.Errorf("look for times of the week: %w", err)
		}
		n := 0
		var zone string
		if _, err := pgx.ForEachRow(rows, []any{&seen.ID, &seen.Start, &zone}, func() error {
			n++
			in, err := recurrence.Zone(zone)
			if err == nil && len(ids) < limit && suits(recurrence.WallClock(seen.Start, in), spans) {
				ids = append(ids, seen.ID)
			}
			return err
		}); err != nil {
			return nil, stopped, fmt.Errorf("look for times of the week: %w", err)
		}
		switch {
		case n < lookedAt || len(ids) == limit:
			return ids, stopped, nil
		case looked+lookedAt >= mostLookedAt:
			return ids, seen, nil
		}
	}
}

// times writes spans as what a page token is bound to.
func times(spans []*typev1.TimeOfWeek) []string {
	list := make([]string, len(spans))
	for i, t := range spans {
		list[i] = fmt.Sprintf("%d %d-%d", t.GetDay(), t.GetStartMinute(), t.GetEndMinute())
	}
	return list
}
