package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/embedded"
)

// startPostgres starts a server that ends with the test.
func startPostgres(t *testing.T, dir string, opts ...embedded.PostgresOption) *embedded.Postgres {
	t.Helper()
	p, err := embedded.StartPostgres(within(t), dir, nil, opts...)
	if err != nil {
		t.Fatalf("StartPostgres: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return p
}

// query runs a statement with one result on a connection of its own.
func query[T any](t *testing.T, url, sql string, args ...any) T {
	t.Helper()
	got, err := tryQuery[T](t.Context(), url, sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

// execSQL runs a statement on a connection of its own.
func execSQL(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), sql)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func tryQuery[T any](ctx context.Context, url, sql string, args ...any) (got T, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return got, err
	}
	err = conn.QueryRow(ctx, sql, args...).Scan(&got)
	if closeErr := conn.Close(ctx); err == nil {
		err = closeErr
	}
	return got, err
}

func TestPostgresKeepsDataOverRestarts(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{
		"directory open to others":   filepath.Join(openDir(t), "data"),
		"directory closed to others": filepath.Join(t.TempDir(), "data"), // as root, PostgreSQL's user cannot enter it
		"long path":                  filepath.Join(openDir(t), strings.Repeat("long/", 30), "data"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPostgres(t, dir)
			execSQL(t, p.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
			if err := p.Stop(); err != nil {
				t.Fatalf("Stop: %v", err)
			}
			if _, err := tryQuery[int](t.Context(), p.URL(), `SELECT 1`); err == nil {
				t.Error("the server answers after Stop")
			}
			p = startPostgres(t, dir)
			if got := query[int](t, p.URL(), `SELECT n FROM kept`); got != 42 {
				t.Errorf("kept %d, want 42", got)
			}
		})
	}
}

func TestPostgresIsPrivateAndDurable(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "data")
	p := startPostgres(t, dir)
	for setting, want := range map[string]string{
		"listen_addresses": "", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "log_statement": "none",
		"unix_socket_permissions": "0700", "server_encoding": "UTF8",
	} {
		if got := query[string](t, p.URL(), `SELECT current_setting($1)`, setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		u.Query().Get("host"):          os.ModeDir | 0o700,
		filepath.Join(dir, "password"): 0o600,
		filepath.Join(dir, "cluster"):  os.ModeDir | 0o700,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	u.User = url.UserPassword("cairn", "wrong")
	if _, err := tryQuery[int](t.Context(), u.String(), `SELECT 1`); err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Errorf("connect with a wrong password: %v, want 28P01", err)
	}
}

func TestPostgresStartsAgainWhenKilled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "data")
	p := startPostgres(t, dir)
	// A session that works on keeps the shared memory of the dead server in use.
	busy, err := pgx.Connect(t.Context(), p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := busy.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Logf("close the session of the killed server: %v", err)
		}
	}()
	pid := postmaster(t, dir)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx := within(t)
	for {
		if _, err := tryQuery[int](ctx, p.URL(), `SELECT 1`); err == nil && postmaster(t, dir) != pid {
			return
		} else if ctx.Err() != nil {
			t.Fatalf("the killed server is not back: %v", err)
		}
	}
}

// postmaster returns the server's process, 0 if there is none at present.
func postmaster(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "cluster/postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return pid
}

func TestSecondStartIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "data")
	startPostgres(t, dir, embedded.Throwaway())
	_, err := embedded.StartPostgres(within(t), dir, nil)
	if want := fmt.Sprintf("process %d", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("second StartPostgres: %v, want an error that names %q", err, want)
	}
}

func TestInterruptedInitdbStartsOver(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "data")
	if err := os.MkdirAll(filepath.Join(dir, "cluster.new/base"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := startPostgres(t, dir, embedded.Throwaway())
	query[int](t, p.URL(), `SELECT 1`)
}

func TestStartSaysWhatToInstall(t *testing.T) {
	t.Setenv("CAIRN_POSTGRES_BIN", t.TempDir())
	_, err := embedded.StartPostgres(within(t), t.TempDir(), nil)
	for _, want := range []string{"CAIRN_POSTGRES_BIN", "make setup", "PostgreSQL 15"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("StartPostgres without PostgreSQL: %v, want it to say %q", err, want)
		}
	}
}

func TestDataOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "cluster"), 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(dir, "cluster"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster/PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.StartPostgres(within(t), dir, nil)
	if err == nil || !strings.Contains(err.Error(), "written by PostgreSQL 9") {
		t.Errorf("StartPostgres on data of version 9: %v, want an error that names the version", err)
	}
}
