package pgtest_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

var schema = fstest.MapFS{"0001_init.sql": {Data: []byte("-- +goose Up\nCREATE TABLE note (id int PRIMARY KEY, body text);\n")}}

func TestNewIsolatesTests(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"one", "two", "three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t, "notes", schema)
			if _, err := db.Exec(t.Context(), `INSERT INTO note (id, body) VALUES (1, $1)`, name); err != nil {
				t.Fatalf("insert into the test's own database: %v", err)
			}
			var got string
			if err := db.QueryRow(t.Context(), `SELECT body FROM note`).Scan(&got); err != nil || got != name {
				t.Errorf("note = %q, %v, want %q", got, err, name)
			}
		})
	}
}

func TestNewTellsMigrationsApart(t *testing.T) {
	t.Parallel()
	pgtest.New(t, "notes", schema)
	db := pgtest.New(t, "notes", fstest.MapFS{"0001_init.sql": {Data: []byte("-- +goose Up\nCREATE TABLE other (id int PRIMARY KEY);\n")}})
	if _, err := db.Exec(t.Context(), `INSERT INTO other (id) VALUES (1)`); err != nil {
		t.Errorf("insert into the table of the second migrations: %v", err)
	}
}

func TestPrepareLeavesNothingToMigrate(t *testing.T) {
	t.Parallel()
	prefix := pgtest.Prefix(t)
	pgtest.Prepare(t, prefix, "notes", schema)
	db, err := pg.Open(t.Context(), pg.Options{AdminURL: pgtest.URL(t), DatabasePrefix: prefix, Service: "notes", Migrations: schema, MaxConns: 1})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer db.Close()
	if _, err := db.Exec(t.Context(), `INSERT INTO note (id) VALUES (1)`); err != nil {
		t.Errorf("insert as the prefix's own role: %v", err)
	}
}

func TestCleanupDropsEverything(t *testing.T) {
	t.Parallel()
	var name, prefix string
	t.Run("user", func(t *testing.T) {
		name = pgtest.New(t, "notes", schema).Name()
		prefix = pgtest.Prefix(t)
		db, err := pg.Open(t.Context(), pg.Options{AdminURL: pgtest.URL(t), DatabasePrefix: prefix, Service: "notes", MaxConns: 1})
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
	})
	conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for left := -1; left != 0; {
		err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_database WHERE datname IN ($1, $2)) + (SELECT count(*) FROM pg_roles WHERE rolname = $2)`, name, prefix+"notes").Scan(&left)
		if err != nil {
			t.Fatalf("%d databases and roles are left, %v, want none", left, err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Who waits is seen, though it connects after the transaction has looked around.
func TestBlocksSeesWhoComesLate(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, "notes", schema)
	ctx := t.Context()
	answer := make(chan error, 1)
	if err := db.Tx(ctx, func(tx pgx.Tx) error {
		var sessions int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity`).Scan(&sessions); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(1)`); err != nil {
			return err
		}
		go func() {
			answer <- db.Tx(ctx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(1)`)
				return err
			})
		}()
		return pgtest.Blocks(ctx, tx)
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Error(err)
	}
}

// A server of its own ends when the test process is killed.
func TestServerEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	const child = "CAIRN_PGTEST_CHILD"
	if os.Getenv(child) != "" {
		fmt.Printf("\nurl %s\n", pgtest.URL(t))
		<-t.Context().Done() // until killed
		return
	}
	if _, err := os.Stat("/proc/self/exe"); err != nil || os.Getenv("CAIRN_TEST_POSTGRES_URL") != "" {
		t.Skip("starts itself through /proc with a server of its own")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestServerEndsWithTheProcess$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var url string
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		if u, ok := strings.CutPrefix(lines.Text(), "url "); ok {
			url = u
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || url == "" {
		t.Fatalf("child with server %q ended with %v, want it killed", url, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, url)
		if ctx.Err() != nil {
			t.Fatal("the server lives on after its process was killed")
		}
		if err != nil {
			return
		}
		if err := conn.Close(ctx); err != nil {
			return
		}
	}
}
