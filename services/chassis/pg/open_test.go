package pg_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

// admin runs statements as the server's administrator.
func admin(t *testing.T, sql ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sql {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// limited makes a login role that is no superuser but may create databases and roles, and
// returns its URL without the password, and a file with the password.
func limited(t *testing.T, prefix string) (adminURL, passwordFile string) {
	t.Helper()
	name := prefix + "login"
	admin(t, fmt.Sprintf(`CREATE ROLE %s LOGIN CREATEDB CREATEROLE PASSWORD 'pa''ss word'`, name))
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.WithoutCancel(t.Context()), pgtest.URL(t))
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.WithoutCancel(t.Context())
		_, err = conn.Exec(ctx, fmt.Sprintf(`DROP DATABASE IF EXISTS %snotes WITH (FORCE)`, prefix))
		if err := errors.Join(err, conn.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(name)
	passwordFile = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte("pa'ss word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return u.String(), passwordFile
}

// Several processes may start a service at once, as a superuser or with the least rights.
func TestOpenAtTheSameTime(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"superuser", "role with CREATEDB and CREATEROLE"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			o := pg.Options{AdminURL: pgtest.URL(t), Service: "notes", DatabasePrefix: pgtest.Prefix(t), Migrations: notes, MaxConns: 2}
			if who != "superuser" {
				o.AdminURL, o.PasswordFile = limited(t, o.DatabasePrefix)
			}
			g, ctx := errgroup.WithContext(t.Context())
			for range 6 {
				g.Go(func() error {
					db, err := pg.Open(ctx, o)
					if err != nil {
						return err
					}
					defer db.Close()
					var role string
					var applied, river int
					err = db.QueryRow(ctx, `SELECT current_user, (SELECT count(*) FROM cairn_migration WHERE version_id = 1), (SELECT count(*) FROM river_job)`).Scan(&role, &applied, &river)
					if err == nil && (role != o.DatabasePrefix+"notes" || applied != 1) {
						err = fmt.Errorf("role %s, migration applied %d times, want %snotes, 1", role, applied, o.DatabasePrefix)
					}
					return err
				})
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenAppliesNewMigrations(t *testing.T) {
	t.Parallel()
	o := pg.Options{AdminURL: pgtest.URL(t), Service: "notes", DatabasePrefix: pgtest.Prefix(t), Migrations: notes, MaxConns: 2}
	db, err := pg.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	org := "11111111-1111-1111-1111-111111111111"
	if _, err := db.Exec(t.Context(), `SET app.system = 'on'; INSERT INTO note (org_id, body) VALUES ('`+org+`', 'old')`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	o.Migrations = fstest.MapFS{
		"0001_init.sql": notes["migrations/0001_init.sql"],
		"0002_more.sql": {Data: []byte("-- +goose Up\nUPDATE note SET body = 'new';\nCREATE TABLE more (id serial PRIMARY KEY, body text NOT NULL);\n")},
	}
	if db, err = pg.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var body string
	err = db.QueryRow(t.Context(), `WITH m AS (INSERT INTO more (body) VALUES ('granted') RETURNING body) SELECT body FROM m`).Scan(&body)
	if err != nil || body != "granted" {
		t.Errorf("insert into the new table: %q, %v", body, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	up := func(sql string) fstest.MapFS {
		return fstest.MapFS{"0001_init.sql": {Data: []byte("-- +goose Up\n" + sql)}}
	}
	for _, tt := range []struct {
		name, before, service string
		migrations            fstest.MapFS
		want                  string
	}{
		{name: "bad name", service: "No-tes", want: "lower-case"},
		{name: "role that bypasses", before: `CREATE ROLE %snotes BYPASSRLS`, want: "bypasses row-level security"},
		{name: "superuser", before: `CREATE ROLE %snotes SUPERUSER`, want: "bypasses row-level security"},
		{name: "encoding", before: `CREATE DATABASE %snotes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'`, want: "UTF8"},
		{name: "bad migration", migrations: up(`CREATE TABEL x ();`), want: "0001_init.sql"},
		{name: "tenant table without policy", migrations: up(`CREATE TABLE t (org_id uuid);`), want: "table t has a column org_id"},
		{name: "row-level security not forced", migrations: up("CREATE TABLE t (org_id uuid);\nALTER TABLE t ENABLE ROW LEVEL SECURITY;"), want: "table t has a column org_id"},
		{name: "view with its owner's rights", migrations: up("CREATE VIEW v AS SELECT 1 AS x;"), want: "security_invoker"},
		{name: "public table", migrations: up("CREATE TABLE t (org_id uuid);\nCOMMENT ON TABLE t IS 'public: for all';")},
		{name: "view with the caller's rights", migrations: up("CREATE VIEW v WITH (security_invoker) AS SELECT 1 AS x;")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := pg.Options{AdminURL: pgtest.URL(t), Service: "notes", DatabasePrefix: pgtest.Prefix(t), MaxConns: 1}
			if tt.migrations != nil {
				o.Migrations = tt.migrations
			}
			if tt.service != "" {
				o.Service = tt.service
			}
			if tt.before != "" {
				admin(t, fmt.Sprintf(tt.before, o.DatabasePrefix))
			}
			db, err := pg.Open(t.Context(), o)
			if err == nil {
				db.Close()
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Open: %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestErrorsHideThePassword(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@127.0.0.1:port/x", "host=127.0.0.1 port=x password=hunter2"} {
		_, err := pg.Open(t.Context(), pg.Options{AdminURL: u, Service: "notes"})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open: %v, want an error without the password", err)
		}
	}
}
