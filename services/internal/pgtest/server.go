package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/embedded"
	"cairn.care/services/chassis/pg"
)

// The process's one server; a test process has a single TestMain.
var process server

// server is the PostgreSQL that the process's tests share.
type server struct {
	begin sync.Once
	err   error
	url   string
	id    string // of this process, in the names of its databases and roles
	dir   string
	lock  *embedded.DirLock
	own   *embedded.Postgres // nil: CAIRN_TEST_POSTGRES_URL's

	drops sync.WaitGroup

	mu        sync.Mutex
	templates map[string]*template
	n         int
	undropped []error
}

// template is a migrated database that tests clone.
type template struct {
	once sync.Once
	name string // of the database and its role
	err  error
}

func run(m *testing.M) {
	code := m.Run()
	if err := process.end(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// start starts the server on first use.
func (s *server) start(t testing.TB) {
	t.Helper()
	s.begin.Do(func() { s.err = s.launch() })
	if s.err != nil {
		t.Fatalf("pgtest: %v", s.err)
	}
}

func (s *server) launch() error {
	s.id = "t" + uuid.NewString()[:8] + "_"
	s.templates = make(map[string]*template)
	if s.url = os.Getenv("CAIRN_TEST_POSTGRES_URL"); s.url != "" {
		return nil
	}
	if err := removeLeftovers(); err != nil {
		return err
	}
	var err error
	if s.dir, s.lock, err = makeDir(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.own, err = embedded.StartPostgres(ctx, filepath.Join(s.dir, "postgres"), slog.New(slog.DiscardHandler), embedded.Throwaway()); err != nil {
		return err
	}
	s.url = s.own.URL()
	return nil
}

// end removes what the process's tests left: the whole server if it is its own, else the
// templates.
func (s *server) end() error {
	s.drops.Wait()
	err := errors.Join(s.undropped...)
	switch {
	case s.own != nil:
		return errors.Join(err, s.own.Stop(), os.RemoveAll(s.dir), s.lock.Unlock())
	case s.url != "":
		return errors.Join(err, s.admin(func(ctx context.Context, conn *pgx.Conn) error { return dropAll(ctx, conn, s.id) }))
	}
	return nil
}

// admin runs fn with an administrator's connection.
func (s *server) admin(fn func(ctx context.Context, conn *pgx.Conn) error) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	return fn(ctx, conn)
}

// next numbers the names of the process's databases.
func (s *server) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.n
}

// template returns the migrated template for a service, made on first use.
func (s *server) template(service string, migrations fs.FS) (string, error) {
	key, err := fingerprint(service, migrations)
	if err != nil {
		return "", fmt.Errorf("read migrations of %s: %w", service, err)
	}
	s.mu.Lock()
	tmpl, ok := s.templates[key]
	if !ok {
		tmpl = new(template)
		s.templates[key] = tmpl
	}
	s.mu.Unlock()
	tmpl.once.Do(func() {
		prefix := fmt.Sprintf("%s%d_", s.id, s.next())
		tmpl.name = prefix + service
		if err := s.migrate(prefix, service, migrations); err != nil {
			tmpl.err = fmt.Errorf("migrate %s: %w", service, err)
		}
	})
	return tmpl.name, tmpl.err
}

func (s *server) migrate(prefix, service string, migrations fs.FS) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	db, err := pg.Open(ctx, pg.Options{AdminURL: s.url, Service: service, DatabasePrefix: prefix, Migrations: migrations, MaxConns: 1})
	if err != nil {
		return err
	}
	db.Close()
	return s.admin(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `ALTER DATABASE `+quote(prefix+service)+` ALLOW_CONNECTIONS false`)
		return err
	})
}

// clone copies a template.
func (s *server) clone(template, name string) error {
	return s.admin(func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, `CREATE DATABASE `+quote(name)+` TEMPLATE `+quote(template)+` STRATEGY FILE_COPY`); err != nil {
			return fmt.Errorf("clone %s: %w", template, err)
		}
		return nil
	})
}

// open clones the service's template, which is called as its role, and opens the clone.
func (s *server) open(ctx context.Context, service string, migrations fs.FS) (*pg.DB, error) {
	role, err := s.template(service, migrations)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s%d_%s", s.id, s.next(), service)
	if err := s.clone(role, name); err != nil {
		return nil, err
	}
	return pg.Connect(ctx, pg.Options{AdminURL: s.url, Service: service, MaxConns: 8}, name, role)
}

// dropLater drops a database while the next tests run: nobody waits for it but the process's end.
func (s *server) dropLater(name string) {
	s.drops.Go(func() {
		if err := s.admin(func(ctx context.Context, conn *pgx.Conn) error { return drop(ctx, conn, name) }); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.undropped = append(s.undropped, fmt.Errorf("drop %s: %w", name, err))
		}
	})
}

func drop(ctx context.Context, conn *pgx.Conn, name string) error {
	_, err := conn.Exec(ctx, `DROP DATABASE IF EXISTS `+quote(name)+` WITH (FORCE)`)
	return err
}

// dropAll drops the databases and roles whose names begin with the prefix.
func dropAll(ctx context.Context, conn *pgx.Conn, prefix string) error {
	for _, kind := range []struct{ list, drop, end string }{
		{`SELECT datname FROM pg_database WHERE starts_with(datname, $1)`, `DROP DATABASE IF EXISTS `, ` WITH (FORCE)`},
		{`SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)`, `DROP ROLE IF EXISTS `, ``},
	} {
		rows, err := conn.Query(ctx, kind.list, prefix)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := conn.Exec(ctx, kind.drop+quote(name)+kind.end); err != nil {
				return err
			}
		}
	}
	return nil
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
