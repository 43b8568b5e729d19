package scheduling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

// aim says how reconcile goes about it.
type aim struct {
	fresh   bool   // the series is new: it may have begun already
	lenient bool   // a facilitator who is busy is left out, instead of refusing everything
	edited  bool   // when it takes place may be another: it is told also if no session changes
	reason  string // of dropped sessions
}

// edit is a series as it is to be.
type edit struct {
	aim
	series  *seriesRow
	deleted bool // it is marked as deleted after its sessions have been dropped; it is closed
}

// reconcile brings the sessions of a series in line with it, saves both, and tells what
// changed. The caller has locked the group's calendar.
func reconcile(ctx context.Context, tx pgx.Tx, series *seriesRow, now time.Time, a aim) error {
	return reconcileAll(ctx, tx, []edit{{aim: a, series: series}}, now)
}

// planned tells whether all of the series are new: nobody can have answered to their sessions.
func planned(edits []edit) bool {
	return !slices.ContainsFunc(edits, func(e edit) bool { return !e.fresh })
}

// rowsAtOnce is how many sessions one statement writes.
const rowsAtOnce = 5000

// reconcileAll is reconcile for many series, in as many statements as for one. Either all of them are lenient or none.
func reconcileAll(ctx context.Context, tx pgx.Tx, edits []edit, now time.Time) error {
	have, err := sessionsOf(ctx, tx, edits, now)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	var changes []change
	var told []uuid.UUID
	lenient := true
	for _, e := range edits {
		mine, from := have[e.series.ID], now
		if e.fresh {
			from = now.Add(-grace)
		}
		if e.lenient {
			for i := range mine {
				mine[i].overlook(*e.series) // whoever was busy is no change
			}
		}
		lenient = lenient && e.lenient
		want, err := e.series.occurrences(mine, now)
		if err != nil {
			return err
		}
		list := plan(*e.series, mine, want, from, now, e.reason)
		if len(list) > 0 || e.edited {
			told = append(told, e.series.GroupID)
		}
		changes = append(changes, list...)
		queueSeries(b, *e.series)
		if e.deleted {
			b.Queue(markDeleted, pgx.NamedArgs{"id": e.series.ID, "now": now})
		}
	}
	if err := sendAll(ctx, tx, b, "save series"); err != nil {
		return err
	}
	if lenient {
		if changes, err = leaveOut(ctx, tx, changes, now); err != nil {
			return err
		}
	}
	rows := make([]sessionRow, len(changes))
	for i, c := range changes {
		rows[i] = c.row
	}
	for some := range slices.Chunk(rows, rowsAtOnce) {
		if err := saveSessions(ctx, tx, some, !lenient); err != nil {
			return busy(err, rows)
		}
	}
	if !lenient { // who leads and where come first: what they say helps more
		if err := alone(ctx, tx, changes); err != nil {
			return err
		}
	}
	if !planned(edits) {
		ids := make([]uuid.UUID, len(rows))
		for i, r := range rows {
			ids[i] = r.ID
		}
		if err := settle(ctx, tx, ids, now); err != nil {
			return err
		}
	}
	b = &pgx.Batch{}
	if err := queueChanges(ctx, b, changes); err != nil {
		return err
	}
	if err := sendAll(ctx, tx, b, "insert events"); err != nil {
		return err
	}
	return tellCalendars(ctx, tx, told, now)
}

// sendAll sends a batch that may be empty.
func sendAll(ctx context.Context, tx pg.Querier, b *pgx.Batch, what string) error {
	if b.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// wallClock writes an instant as a clock in the zone shows it.
func wallClock(at time.Time, zone *time.Location) string {
	return recurrence.FormatLocal(recurrence.WallClock(at, zone))
}
