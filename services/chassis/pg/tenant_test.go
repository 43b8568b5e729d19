package pg_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

func TestTenantSeesItsOwnRowsOnly(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "notes", notes)
	a, b := uuid.New(), uuid.New()
	for _, org := range []uuid.UUID{a, b} {
		if err := insert(as(t, org), db, org, "x"); err != nil {
			t.Fatalf("insert own row: %v", err)
		}
	}
	for _, tt := range []struct {
		name string
		ctx  context.Context
		want []uuid.UUID
	}{
		{"a", as(t, a), []uuid.UUID{a}},
		{"b", as(t, b), []uuid.UUID{b}},
		{"stranger", as(t, uuid.New()), nil},
		{"no tenant", t.Context(), nil},
		{"system", auth.System(t.Context(), "notes"), []uuid.UUID{a, b}},
	} {
		got, err := visible(tt.ctx, db)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s in a batch sees %v, %v, want %v", tt.name, got, err, tt.want)
		}
		err = db.Tx(tt.ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(tt.ctx, `SELECT org_id FROM note ORDER BY id`)
			if err != nil {
				return err
			}
			got, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		})
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s in a transaction sees %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}

	if err := insert(as(t, a), db, b, "planted"); !isCode(err, "42501") {
		t.Errorf("insert a row of another tenant: %v, want 42501", err)
	}
	batch := db.Batch(as(t, a))
	var changed int64
	batch.Queue(`UPDATE note SET body = 'changed' WHERE org_id = $1`, b).Exec(func(tag pgconn.CommandTag) error {
		changed = tag.RowsAffected()
		return nil
	})
	if err := db.Send(as(t, a), batch); err != nil || changed != 0 {
		t.Errorf("update of another tenant's rows: %d rows, %v, want 0", changed, err)
	}
}

// Whatever happened on a connection before, a plain query on it sees nothing and a tenant's
// query sees the tenant's rows.
func TestTenantNeverLeaks(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "notes", notes)
	orgs := make([]uuid.UUID, 4)
	for i := range orgs {
		orgs[i] = uuid.New()
		if err := insert(as(t, orgs[i]), db, orgs[i], "seed"); err != nil {
			t.Fatal(err)
		}
	}
	errCallback := errors.New("callback")
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		org := rapid.SampledFrom(orgs).Draw(rt, "org")
		tenant := auth.Tenant{Org: org, All: rapid.Bool().Draw(rt, "all")}
		ctx, cancel := context.WithCancel(auth.WithTenant(t.Context(), tenant))
		defer cancel()
		n++
		b := db.Batch(ctx)
		b.Queue(`INSERT INTO note (org_id, body) VALUES ($1, $2)`, org, fmt.Sprint(n))
		var err error
		want := func(what string, want bool) {
			if want != (err == nil) {
				rt.Fatalf("%s: %v", what, err)
			}
		}
		switch rapid.SampledFrom([]string{"batch", "failing batch", "failing callback", "cancelled batch", "tx", "failing tx", "panicking tx", "cancelled tx"}).Draw(rt, "what") {
		case "batch":
			err = db.Send(ctx, b)
			want("batch", true)
		case "failing batch":
			b.Queue(`SELECT 1 / (id - id) FROM note`)
			err = db.Send(ctx, b)
			want("failing batch", false)
		case "failing callback":
			b.Queue(`SELECT 1`).Exec(func(pgconn.CommandTag) error { return errCallback })
			if err = db.Send(ctx, b); !errors.Is(err, errCallback) {
				rt.Fatalf("failing callback: %v", err)
			}
		case "cancelled batch":
			b.Queue(`SELECT pg_sleep(10)`)
			go cancel()
			err = db.Send(ctx, b)
			want("cancelled batch", false)
		case "tx":
			err = db.Tx(ctx, func(tx pgx.Tx) error { return touch(ctx, tx) })
			want("tx", true)
		case "failing tx":
			err = db.Tx(ctx, func(tx pgx.Tx) error { return errors.Join(touch(ctx, tx), errCallback) })
			want("failing tx", false)
		case "panicking tx":
			func() {
				defer func() {
					if recover() == nil {
						rt.Fatalf("Tx swallowed the panic")
					}
				}()
				err = db.Tx(ctx, func(pgx.Tx) error { panic("in fn") })
			}()
		case "cancelled tx":
			err = db.Tx(ctx, func(tx pgx.Tx) error { cancel(); return touch(ctx, tx) })
			want("cancelled tx", false)
		}
		mustSeeNothing(rt, t.Context(), db)
		other := rapid.SampledFrom(orgs).Draw(rt, "other")
		got, err := visible(as(t, other), db)
		if err != nil || len(got) == 0 || slices.ContainsFunc(got, func(o uuid.UUID) bool { return o != other }) {
			rt.Fatalf("%s sees %v, %v", other, got, err)
		}
	})
}

func touch(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE note SET body = body WHERE body = 'seed'`)
	return err
}

// mustSeeNothing queries on each idle connection without a tenant.
func mustSeeNothing(rt *rapid.T, ctx context.Context, db *pg.DB) {
	for _, conn := range db.AcquireAllIdle(ctx) {
		var n int
		err := conn.QueryRow(ctx, `SELECT count(*) FROM note`).Scan(&n)
		conn.Release()
		if err != nil || n != 0 {
			rt.Fatalf("a query without a tenant sees %d rows, %v, want none", n, err)
		}
	}
}

func TestSendIsOneTransaction(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "notes", notes)
	org := uuid.New()
	ctx := as(t, org)
	b := db.Batch(ctx)
	b.Queue(`INSERT INTO note (org_id, body) VALUES ($1, 'first')`, org)
	b.Queue(`INSERT INTO note (org_id, body) VALUES ($1, 'first')`, org)
	if err := db.Send(ctx, b); pg.Constraint(err) != "note_once" {
		t.Errorf("Send: %v, want a violation of note_once", err)
	}
	if got, err := visible(ctx, db); err != nil || len(got) != 0 {
		t.Errorf("after a failed batch: %v, %v, want no rows", got, err)
	}
}

func TestTxRollsBack(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "notes", notes)
	org := uuid.New()
	ctx := as(t, org)
	errWant := errors.New("no")
	err := db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO note (org_id, body) VALUES ($1, 'x')`, org); err != nil {
			return err
		}
		return errWant
	})
	if !errors.Is(err, errWant) {
		t.Errorf("Tx: %v, want fn's error", err)
	}
	if got, err := visible(ctx, db); err != nil || len(got) != 0 {
		t.Errorf("after a failed transaction: %v, %v, want no rows", got, err)
	}
}

// The service's role reads and writes rows, and can change none of what guards them.
func TestRoleCannotBypass(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "notes", notes)
	if err := insert(auth.System(t.Context(), "notes"), db, uuid.New(), "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `INSERT INTO ledger (body) VALUES ('x')`); err != nil {
		t.Errorf("insert into an append-only table: %v", err)
	}
	const denied = "42501"
	for _, sql := range []string{
		`UPDATE ledger SET body = 'y'`, `DELETE FROM ledger`, `TRUNCATE ledger`, `TRUNCATE note`,
		`UPDATE audit_log SET caller = ''`, `DELETE FROM audit_log`,
		`ALTER TABLE note DISABLE ROW LEVEL SECURITY`, `ALTER TABLE note NO FORCE ROW LEVEL SECURITY`,
		`DROP POLICY tenant ON note`, `CREATE POLICY all_rows ON note USING (true)`,
		`SET row_security = off; SELECT * FROM note`,
		`DROP TABLE note`, `CREATE TABLE mine (id int)`, `CREATE SCHEMA mine`,
		`CREATE ROLE stronger`, `ALTER ROLE CURRENT_USER BYPASSRLS`, `SET session_replication_role = replica`,
		`DELETE FROM cairn_migration`, `INSERT INTO cairn_chassis_migration (version_id, is_applied) VALUES (9, true)`,
		`COPY note TO PROGRAM 'cat'`, `SELECT pg_read_file('PG_VERSION')`,
	} {
		if _, err := db.Exec(t.Context(), sql); !isCode(err, denied) {
			t.Errorf("%s: %v, want %s", sql, err, denied)
		}
	}
	// Back to the role that the connection began with, not to the login role.
	var role string
	err := db.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
		if _, err := c.Exec(t.Context(), `RESET ROLE`); err != nil {
			return err
		}
		return c.QueryRow(t.Context(), `SELECT current_user`).Scan(&role)
	})
	if err != nil || role != db.Role() {
		t.Errorf("after RESET ROLE the role is %q, %v, want %q", role, err, db.Role())
	}
}
