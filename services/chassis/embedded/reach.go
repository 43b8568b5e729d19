package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// ReachPostgres returns the administrator's URL of the PostgreSQL server whose data are in dir: of the one that a Cairn runs on them now, or
// else of one that it starts. done ends what it has started. Data that are not there are not made.
func ReachPostgres(ctx context.Context, dir string, log *slog.Logger) (url string, done func() error, err error) {
	if written, err := majorOf(filepath.Join(dir, "cluster")); err != nil || written == 0 {
		return "", nil, errors.Join(fmt.Errorf("there is no database in %s", dir), err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if _, busy := errors.AsType[*busyError](err); busy {
		url, err = runningURL(dir)
		return url, func() error { return nil }, err
	}
	if err != nil {
		return "", nil, err
	}
	if err := lock.Unlock(); err != nil {
		return "", nil, err
	}
	p, err := StartPostgres(ctx, dir, log)
	if err != nil {
		return "", nil, err
	}
	return p.URL(), p.Stop, nil
}

// runningURL is the URL of the server that another process runs.
func runningURL(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	c := &cluster{dir: dir, socketDir: filepath.Join(dir, "run")}
	password, err := os.ReadFile(c.passwordFile())
	if err != nil {
		return "", fmt.Errorf("password of the database in %s: %w", dir, err)
	}
	c.password = strings.TrimSpace(string(password))
	note, err := os.ReadFile(c.socketNote())
	if err == nil {
		c.socketDir = strings.TrimSpace(string(note))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return c.url(), nil
}
