// Package pgtest gives every test a PostgreSQL database of its own, migrated as a service's is.
//
// A package's TestMain calls [Run]. The first test that asks for a database starts one throwaway
// server for the test process, with durability off; it ends with the process, also when that is
// killed. CAIRN_TEST_POSTGRES_URL names a server to use instead (an administrator's URL).
package pgtest

import (
	"context"
	"fmt"
	"io/fs"
	"testing"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/pg"
)

// Run runs the package's tests, removes what they left on the server and exits: the body of
// TestMain.
func Run(m *testing.M) { run(m) }

// New returns a database of the test's own, migrated as the service's, dropped when the test
// ends. The migrations run once per process; every test gets a clone.
func New(t testing.TB, service string, migrations fs.FS) *pg.DB {
	t.Helper()
	s := &process
	s.start(t)
	role := s.template(t, service, migrations)
	name := fmt.Sprintf("%s%d_%s", s.id, s.next(), service)
	if err := s.clone(role, name); err != nil {
		t.Fatalf("pgtest: clone %s: %v", role, err)
	}
	db, err := pg.Connect(t.Context(), pg.Options{AdminURL: s.url, Service: service, MaxConns: 8}, name, role)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		db.Close()
		if err := s.drop(name); err != nil {
			t.Errorf("pgtest: drop %s: %v", name, err)
		}
	})
	return db
}

// URL returns an administrator's URL of the test server, for tests that open databases by
// themselves. They share the server with others: name them with [Prefix].
func URL(t testing.TB) string {
	t.Helper()
	process.start(t)
	return process.url
}

// Prefix returns a prefix of the test's own for pg.Options.DatabasePrefix. Databases and roles
// whose names begin with it are dropped when the test ends.
func Prefix(t testing.TB) string {
	t.Helper()
	s := &process
	s.start(t)
	prefix := fmt.Sprintf("%s%d_", s.id, s.next())
	t.Cleanup(func() {
		if err := s.admin(func(ctx context.Context, conn *pgx.Conn) error { return dropAll(ctx, conn, prefix) }); err != nil {
			t.Errorf("pgtest: drop %s*: %v", prefix, err)
		}
	})
	return prefix
}

// Prepare clones the service's migrated template to the database that pg.Open would make for
// the prefix, so that Open finds nothing left to migrate.
func Prepare(t testing.TB, prefix, service string, migrations fs.FS) {
	t.Helper()
	s := &process
	s.start(t)
	template := s.template(t, service, migrations)
	if err := s.clone(template, prefix+service); err != nil {
		t.Fatalf("pgtest: clone %s: %v", template, err)
	}
}
