// Package embedded runs what Cairn stands on inside or beside its own process: a PostgreSQL
// server (the machine's own binaries, as a supervised child process) and a NATS server with
// JetStream (in process). Both keep their data in one directory, survive restarts and a SIGKILL
// of Cairn, and listen on no network address unless asked to.
//
// [Lock] takes a data directory for one Cairn. Below it each server has a directory:
//
//	cairn.lock            names the process that has the directory
//	postgres/cluster/     PostgreSQL's data; owned by the user that runs PostgreSQL
//	postgres/password     of PostgreSQL's only role, "cairn"; mode 0600
//	postgres/run/         the Unix socket; mode 0700
//	nats/jetstream/       JetStream's streams
//
// PostgreSQL does not run as root: as root, Cairn starts it as the user postgres or nobody. If
// that user may not enter a directory above the data, the server is handed the directory opened,
// so that the data stay where they were asked for.
//
// Linux and macOS are supported. On macOS a PostgreSQL whose Cairn was killed lives on until the
// next start on the same directory stops it; on Linux it stops with Cairn.
package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// DirLock is the right to use a directory.
type DirLock struct{ f *os.File }

// Lock takes the data directory for this process, creating it if needed. If another process has
// it, the error names that process. The lock ends with the process, however that ends; keep it
// until then.
func Lock(dir string) (*DirLock, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, "cairn.lock"))
	if busy, ok := errors.AsType[*busyError](err); ok {
		abs, absErr := filepath.Abs(dir)
		if absErr != nil {
			abs = dir
		}
		return nil, fmt.Errorf("another Cairn (%s) is using %s: stop it first, or choose another data directory", busy.holder, abs)
	}
	return lock, err
}

// Unlock gives the directory back. Closing the file would not do: a child process that is being
// forked has the file too, until it runs its program.
func (l *DirLock) Unlock() error {
	err := syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN)
	return errors.Join(err, l.f.Close())
}

// busyError says who holds a lock file.
type busyError struct{ holder string }

func (e *busyError) Error() string { return "locked by " + e.holder }

// lockFile opens and locks the file and writes this process's id into it. The lock is not
// inherited by child processes.
func lockFile(path string) (*DirLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%s belongs to another user: run Cairn as that user, or choose another data directory: %w", filepath.Dir(path), err)
	}
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = &busyError{holder(f)}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return &DirLock{f}, nil
}

// holder reads who holds a lock file.
func holder(f *os.File) string {
	buf := make([]byte, 32)
	n, err := f.ReadAt(buf, 0)
	pid := strings.TrimSpace(string(buf[:n]))
	if n == 0 && err != nil || pid == "" {
		return "process unknown"
	}
	return "process " + pid
}

// makeDir makes a directory that only this user can read. As root it can be passed through by
// others, because PostgreSQL runs as another user and has its data further down.
func makeDir(dir string) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}
