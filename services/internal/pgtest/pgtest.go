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
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"cairn.care/services/chassis/pg"
)

// Run runs the package's tests, removes what they left on the server and exits: the body of
// TestMain.
func Run(m *testing.M) { run(m) }

// New returns a database of the test's own, migrated as the service's, dropped after the test
// has ended. The migrations run once per process; every test gets a clone.
func New(t testing.TB, service string, migrations fs.FS) *pg.DB {
	t.Helper()
	return NewAll(t, map[string]fs.FS{service: migrations})[service]
}

// NewAll is [New] for several services at once, which is faster: PostgreSQL writes a checkpoint
// for each clone, and one for those that are made together.
func NewAll(t testing.TB, services map[string]fs.FS) map[string]*pg.DB {
	t.Helper()
	s := &process
	s.start(t)
	var (
		mu    sync.Mutex
		all   = map[string]*pg.DB{}
		tasks errgroup.Group
	)
	for service, migrations := range services {
		tasks.Go(func() error {
			db, err := s.open(t.Context(), service, migrations)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all[service] = db
			t.Cleanup(func() {
				db.Close()
				s.dropLater(db.Name())
			})
			return nil
		})
	}
	if err := tasks.Wait(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return all
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
	template, err := s.template(service, migrations)
	if err == nil {
		err = s.clone(template, prefix+service)
	}
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

// Blocks returns once another session waits for a lock that the transaction holds, and fails after 30 s.
//
// It asks pg_locks: pg_stat_activity shows a transaction who was there when it first looked, and
// never one that has come since.
func Blocks(ctx context.Context, tx pgx.Tx) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for waits := false; !waits; {
		if err := tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))
			FROM pg_sleep(0.005)`).Scan(&waits); err != nil {
			return fmt.Errorf("wait for a session that waits: %w", err)
		}
	}
	return nil
}
