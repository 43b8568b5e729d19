package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Keys of the session advisory locks, so that processes that start together take turns.
const (
	provisionLock int64 = 0x6361_6972_6e00_0001 // in the administrator's database: roles and databases
	migrateLock   int64 = 0x6361_6972_6e00_0002 // in the service's database: migrations and grants
)

// provision makes sure that role and database exist, both called name, and that the login role
// may take the role.
func provision(ctx context.Context, login *pgxpool.Config, name string, log *slog.Logger) (err error) {
	conn, err := session(ctx, login, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeConn(ctx, conn)) }()
	if err := lock(ctx, conn, provisionLock); err != nil {
		return err
	}
	if err := ensureRole(ctx, conn, name, log); err != nil {
		return fmt.Errorf("role %s: %w", name, err)
	}
	return ensureDatabase(ctx, conn, name, log)
}

// lock takes a session advisory lock, which ends with the connection. It polls: a statement
// that waits would hold a snapshot, for which CREATE INDEX CONCURRENTLY waits in turn.
func lock(ctx context.Context, conn *pgx.Conn, key int64) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		var got bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, key).Scan(&got); err != nil {
			return fmt.Errorf("advisory lock: %w", err)
		}
		if got {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another process that provisions or migrates: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// closeConn closes a connection, also if the work's context has ended.
func closeConn(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	return conn.Close(ctx)
}

// role attributes that the service's role must not have.
type role struct {
	Super, BypassRLS bool
	CanLogin         bool
}

func ensureRole(ctx context.Context, conn *pgx.Conn, name string, log *slog.Logger) error {
	id := pgx.Identifier{name}.Sanitize()
	r, err := findRole(ctx, conn, name)
	if errors.Is(err, pgx.ErrNoRows) {
		_, err := conn.Exec(ctx, `CREATE ROLE `+id+` NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS`)
		switch {
		case err == nil:
			log.InfoContext(ctx, "created role", "role", name)
		case !isCode(err, "42710", "23505"): // somebody else was faster
			return err
		}
		r, err = findRole(ctx, conn, name)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if r.Super || r.BypassRLS {
		return errors.New("it bypasses row-level security; take SUPERUSER and BYPASSRLS away from it")
	}
	return grantMembership(ctx, conn, name, id)
}

func findRole(ctx context.Context, conn *pgx.Conn, name string) (role, error) {
	rows, err := conn.Query(ctx, `SELECT rolsuper AS super, rolbypassrls AS bypass_rls, rolcanlogin AS can_login FROM pg_roles WHERE rolname = $1`, name)
	if err != nil {
		return role{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[role])
}

// grantMembership lets the login role take the role. From PostgreSQL 16 on, who creates a role
// may administer it but not take it.
func grantMembership(ctx context.Context, conn *pgx.Conn, name, id string) error {
	var version int
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return err
	}
	privilege, with := "MEMBER", ""
	if version >= 160000 {
		privilege, with = "SET", " WITH INHERIT FALSE, SET TRUE"
	}
	var may bool
	if err := conn.QueryRow(ctx, `SELECT pg_has_role(current_user, $1::name, $2)`, name, privilege).Scan(&may); err != nil {
		return err
	}
	if may {
		return nil
	}
	_, err := conn.Exec(ctx, `GRANT `+id+` TO CURRENT_USER`+with)
	return err
}

func ensureDatabase(ctx context.Context, conn *pgx.Conn, name string, log *slog.Logger) error {
	var encoding string
	err := conn.QueryRow(ctx, `SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = $1`, name).Scan(&encoding)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return err
	case encoding != "UTF8":
		return fmt.Errorf("its encoding is %s, want UTF8", encoding)
	default:
		return nil
	}
	if err := createDatabase(ctx, conn, pgx.Identifier{name}.Sanitize()); err != nil {
		return err
	}
	log.InfoContext(ctx, "created database", "database", name)
	return nil
}

// createDatabase creates a database whose order of text is that of its code points (so that a
// new C library never breaks an index) and whose character classes are Unicode's, as far as
// the server can.
func createDatabase(ctx context.Context, conn *pgx.Conn, id string) error {
	var err error
	for _, locale := range []string{
		` LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'`, // 17 or later
		` LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'`,
		` LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'en_US.UTF-8'`,
		``,
	} {
		_, err = conn.Exec(ctx, `CREATE DATABASE `+id+` TEMPLATE template0 ENCODING 'UTF8'`+locale)
		switch {
		case err == nil:
			_, err = conn.Exec(ctx, `REVOKE ALL ON DATABASE `+id+` FROM PUBLIC`)
			return err
		case isCode(err, "42P04", "23505"): // somebody else was faster
			return nil
		case !isCode(err, "42601", "22023", "42809", "0A000", "42704"): // the locale is not to be had
			return err
		}
	}
	return err
}

// isCode tells whether err is a PostgreSQL error with one of the SQLSTATEs.
func isCode(err error, codes ...string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}
