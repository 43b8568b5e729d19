package pg_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

func isCode(err error, code string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == code
}

func TestConstraint(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "notes", notes)
	org := uuid.New()
	ctx := as(t, org)
	if err := insert(ctx, db, org, "x"); err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{"x": "note_once", "": "note_body", "y": ""} {
		if got := pg.Constraint(fmt.Errorf("insert note: %w", insert(ctx, db, org, body))); got != want {
			t.Errorf("Constraint for %q = %q, want %q", body, got, want)
		}
	}
	if got := pg.Constraint(io.EOF); got != "" {
		t.Errorf("Constraint(EOF) = %q, want none", got)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "notes", notes)
	exec := func(sql string) error {
		_, err := db.Exec(t.Context(), sql)
		return err
	}
	open := func(url string) error {
		_, err := pg.Open(t.Context(), pg.Options{AdminURL: url, Service: "notes"})
		return err
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"session terminated", terminated(t, db), true},
		{"read-only", exec(`BEGIN READ ONLY; INSERT INTO ledger (body) VALUES ('x')`), true},
		{"refused", open("postgres://u@127.0.0.1:1/postgres"), true},
		{"no such socket", open("postgres://u@/postgres?host=/nonexistent"), true},
		{"no such host", open("postgres://u@nowhere.invalid/postgres"), true},
		{"bad URL", open("postgres://u@127.0.0.1:port/postgres"), false},
		{"no such database", open(pgtest.URL(t) + "&dbname=nonexistent"), false},
		{"cancelled", db.Ping(cancelled), false},
		{"late", db.Ping(late), false},
		{"syntax", exec(`SELEC`), false},
		{"broken connection", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		{"of another kind", errors.New("other"), false},
	} {
		if got := fault.Unreachable(tt.err); got != tt.want {
			t.Errorf("%s: Unreachable(%v) = %t, want %t", tt.name, tt.err, got, tt.want)
		}
	}
}

// terminated returns the error of a query on a session that the administrator has ended.
func terminated(t *testing.T, db *pg.DB) error {
	t.Helper()
	return db.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
		admin(t, fmt.Sprintf(`SELECT pg_terminate_backend(%d, 5000)`, c.Conn().PgConn().PID()))
		return c.Ping(t.Context())
	})
}
