package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Unix socket's path has at most 103 bytes on macOS and 107 on Linux, of which PostgreSQL's
// file name takes 15.
const maxSocketDir = 103 - len("/.s.PGSQL.5432")

const socketPrefix = "cairn-pg-"

// makeSocketDir makes the directory of the server's socket: run/ beside the data, or, if that
// path is too long or closed to PostgreSQL's user, a short one for temporary files. The latter
// is noted in the file "socket", so that a later start removes what a killed process left.
func (c *cluster) makeSocketDir(ctx context.Context) error {
	if err := c.removeSocketDir(); err != nil {
		return err
	}
	c.socketDir = filepath.Join(c.dir, "run")
	if len(c.socketDir) <= maxSocketDir && !c.byHandle {
		return c.mkdir(c.socketDir)
	}
	dir, err := os.MkdirTemp(shortTemp(), socketPrefix)
	if err != nil {
		return fmt.Errorf("directory for the socket: %w", err)
	}
	c.socketDir = dir
	if err := os.WriteFile(c.socketNote(), []byte(dir+"\n"), 0o600); err != nil {
		return err
	}
	if err := c.chown(dir); err != nil {
		return err
	}
	if !c.reaches(ctx, dir) {
		return fmt.Errorf("PostgreSQL's user %d cannot enter %s: open its parents for search (chmod o+x), or set TMPDIR", c.cred.Uid, dir)
	}
	return nil
}

func (c *cluster) socketNote() string { return filepath.Join(c.dir, "socket") }

// removeSocketDir removes the socket's directory of this or of an earlier process.
func (c *cluster) removeSocketDir() error {
	note, err := os.ReadFile(c.socketNote())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		dir := strings.TrimSpace(string(note))
		if strings.HasPrefix(filepath.Base(dir), socketPrefix) {
			err = os.RemoveAll(dir) //nolint:gosec // a path that this package noted, in a directory that only this user may write
		}
		if err := errors.Join(err, os.Remove(c.socketNote())); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(c.dir, "run"))
}

// shortTemp is the directory for temporary files, or /tmp if that one's path is too long for
// sockets.
func shortTemp() string {
	if dir := os.TempDir(); len(dir)+len("/")+len(socketPrefix)+10 <= maxSocketDir {
		return dir
	}
	return "/tmp"
}
