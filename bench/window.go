package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// The series whose sessions are made ahead.
const (
	windowSeries = 10_000
	windowWeeks  = 54
)

// windowRequest asks for weekly series without sessions, or, once they have theirs, for the last week's to be forgotten.
type windowRequest struct {
	Plan bool `json:"plan"`
}

// windowState is how far the job is.
type windowState struct {
	Left     int64 `json:"left"` // series whose sessions do not reach far enough
	Sessions int64 `json:"sessions"`
}

// benchWindow measures the job that keeps sessions 54 weeks ahead: for series that have none yet, and a week later.
func benchWindow(ctx context.Context, b *bench) error {
	for _, s := range []struct {
		what string
		plan bool
		want int64
	}{
		{"none is there yet", true, windowSeries * windowWeeks},
		{"a week has passed", false, windowSeries},
	} {
		before, err := b.server.usage(ctx)
		if err != nil {
			return err
		}
		made, took, err := b.extend(ctx, s.plan)
		if err != nil {
			return err
		}
		after, err := b.server.usage(ctx)
		if err != nil {
			return err
		}
		if made != s.want {
			return fmt.Errorf("session window: %d sessions were made, want %d", made, s.want)
		}
		each := func(d time.Duration) string { return micros(d.Seconds() * 1e6 / windowSeries) }
		b.table.add(row{
			what: fmt.Sprintf("session window of %s weekly series, %s: %s sessions", thousands(windowSeries), s.what, thousands(float64(made))),
			ours: fmt.Sprintf("%s series, %s sessions; CPU a series: server %s, PostgreSQL %s", rate(windowSeries/took.Seconds()),
				rate(float64(made)/took.Seconds()), each(after.Server-before.Server), each(after.Postgres-before.Postgres)),
			goal: "within the job's hour", met: took < time.Hour,
		})
	}
	return nil
}

// extend has the job run that keeps the sessions of series ahead, and returns how many it made and how long it took.
func (b *bench) extend(ctx context.Context, plan bool) (int64, time.Duration, error) {
	var before, now windowState
	if err := b.server.ask(ctx, "/bench/window", windowRequest{Plan: plan}, &before); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for now.Left = before.Left; now.Left > 0; {
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-tick.C:
		}
		if err := b.server.ask(ctx, "/bench/window/state", struct{}{}, &now); err != nil {
			return 0, 0, err
		}
	}
	took := time.Since(start)
	if err := b.server.ask(ctx, "/bench/window/state", struct{}{}, &now); err != nil {
		return 0, 0, err
	}
	return now.Sessions - before.Sessions, took, nil
}

// startWindow prepares series and queues the job that keeps their sessions ahead.
func (y *yardsticks) startWindow(ctx context.Context, r windowRequest) (state windowState, err error) {
	admin, err := y.admin(ctx, "scheduling")
	if err != nil {
		return state, err
	}
	prepare := []string{
		`DELETE FROM sessions s USING series r WHERE r.id = s.series_id AND r.title = 'bench' AND s.start_time > now() + interval '53 weeks 12 hours'`,
		`UPDATE series SET horizon = now() + interval '53 weeks 12 hours' WHERE title = 'bench'`,
	}
	if r.Plan {
		prepare = []string{
			`INSERT INTO calendars (group_id, org_id, revision, time_zone, closed, group_revision)
				SELECT gen_random_uuid(), '0192d7a5-1000-7000-8000-000000000006', 0, 'Europe/Berlin', false, 1 FROM generate_series(1, @n)`,
			`INSERT INTO series (id, org_id, group_id, title, rrule, rdates, exdates, time_zone, local_start, duration_seconds, format, place,
					topics, facilitators, horizon, closed, revision, create_time, update_time)
				SELECT gen_random_uuid(), org_id, group_id, 'bench', 'FREQ=WEEKLY', '{}', '{}', 'Europe/Berlin', now()::timestamp + interval '1 day',
					5400, 2, '', '{}', '{}', now(), false, 1, now(), now()
				FROM calendars WHERE revision = 0 AND group_revision = 1`,
		}
	}
	args := pgx.NamedArgs{"n": windowSeries}
	for _, sql := range prepare {
		if _, err := admin.Exec(ctx, sql, args); err != nil {
			return state, fmt.Errorf("prepare series: %w", err)
		}
	}
	if state, err = y.windowNow(ctx, struct{}{}); err != nil {
		return state, err
	}
	if _, err := admin.Exec(ctx, `INSERT INTO river_job (kind, args, max_attempts) VALUES ('scheduling_window', '{}', 1)`); err != nil {
		return state, fmt.Errorf("queue the job: %w", err)
	}
	return state, nil
}

// windowNow tells how far the job is.
func (y *yardsticks) windowNow(ctx context.Context, _ struct{}) (state windowState, err error) {
	admin, err := y.admin(ctx, "scheduling")
	if err != nil {
		return state, err
	}
	err = admin.QueryRow(ctx, `SELECT count(*) FILTER (WHERE horizon < now() + interval '53 weeks 1 day') FROM series WHERE title = 'bench'`).Scan(&state.Left)
	if err == nil && (state.Left == 0 || state.Left == windowSeries) {
		err = admin.QueryRow(ctx, `SELECT count(*) FROM sessions s JOIN series r ON r.id = s.series_id WHERE r.title = 'bench'`).Scan(&state.Sessions)
	}
	return state, err
}
