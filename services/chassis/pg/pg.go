// Package pg is a service's PostgreSQL: its database and role, its migrations, a pool
// whose connections run as that role, and writes and reads under row-level security.
//
// A service has one database, cairn_<service>, and one role of the same name. The role
// cannot log in, owns nothing and cannot bypass row-level security; the pool logs in as
// the administrator of [Options.AdminURL] and takes the role at connection start. So a
// query that forgets its tenant sees no row of any tenant, rather than all of them.
//
// Tenant tables have these policies, beside the predicate that each query states itself:
//
//	ALTER TABLE t ENABLE ROW LEVEL SECURITY;
//	ALTER TABLE t FORCE ROW LEVEL SECURITY;
//	CREATE POLICY tenant ON t USING (org_id = (SELECT nullif(current_setting('app.org', true), '')::uuid));
//	CREATE POLICY system ON t USING ((SELECT current_setting('app.system', true)) = 'on');
//
// [DB.Batch] and [DB.Tx] set both settings from [auth.TenantFrom], for one transaction.
// Plain queries on the pool set neither and see only tables without policies.
//
// Privileges are granted after migrating: SELECT, INSERT, UPDATE and DELETE on every
// table, but SELECT and INSERT on tables whose comment begins with "append-only", and
// SELECT on the tables that hold migration versions. [Open] refuses a schema through which a
// tenant's rows could leak: a table with a column org_id but without forced row-level security,
// unless its comment begins with "public", and a view that is not security_invoker.
//
// The role binds the statements that a service has; it is no defence against a statement that
// an attacker makes up, which could leave the role (SET ROLE). All statements are constants or
// built from checked parts.
package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn.care/services/chassis/auth"
)

// Querier runs statements: a pool, a connection or a transaction.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// DB is a service's database, reached as the service's own role.
type DB struct {
	*pgxpool.Pool

	name string
	role string
}

// Name is the database's name, for example "cairn_groups".
func (db *DB) Name() string { return db.name }

// Role is the role that the pool's connections run as.
func (db *DB) Role() string { return db.role }

const setTenant = `SELECT set_config('app.org', $1, true), set_config('app.system', $2, true)`

// settings returns the values of app.org and app.system for a tenant.
func settings(t auth.Tenant) (org, system string) {
	var none [16]byte
	if t.Org != none {
		org = t.Org.String()
	}
	if t.All {
		return org, "on"
	}
	return org, "off"
}

// Batch returns a batch whose first statement admits the rows of the context's tenant,
// for the transaction that the batch is. Queue statements on it and give it to [DB.Send].
func (db *DB) Batch(ctx context.Context) *pgx.Batch {
	b := new(pgx.Batch)
	org, system := settings(auth.TenantFrom(ctx))
	b.Queue(setTenant, org, system)
	return b
}

// Send sends the batch in one round trip and runs the callbacks of its statements in order.
// The batch is one transaction: a statement that fails undoes all of them, and its error is
// returned. A callback that fails does not: it runs after the commit, its error is returned
// and later callbacks do not run. That includes [pgx.ErrNoRows] from a QueryRow callback, so
// a statement that may find no row must carry what depends on it in the same statement (a
// common table expression), or the work belongs in [DB.Tx].
func (db *DB) Send(ctx context.Context, b *pgx.Batch) error {
	return db.SendBatch(ctx, b).Close()
}

// Tx runs fn in a transaction that admits the rows of the context's tenant, and commits it
// unless fn returns an error or panics. The tenant costs no round trip of its own.
func (db *DB) Tx(ctx context.Context, fn func(tx pgx.Tx) error) error {
	org, system := settings(auth.TenantFrom(ctx))
	begin := fmt.Sprintf(`BEGIN; SELECT set_config('app.org', '%s', true), set_config('app.system', '%s', true)`, org, system)
	return pgx.BeginTxFunc(ctx, db.Pool, pgx.TxOptions{BeginQuery: begin}, fn)
}

// Constraint returns the name of the constraint that the statement violated, or "" if err is
// something else.
func Constraint(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(e.Code, "23") {
		return e.ConstraintName
	}
	return ""
}
