package pgtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"cairn.care/services/chassis/embedded"
)

const dirPrefix = "cairn-pgtest-"

// base is where the server's directory is made: in memory where there is plenty, because every
// test makes and removes thousands of files, else where temporary files go. TMPDIR decides if it is set.
func base() string {
	const inMemory, plenty = "/dev/shm", 4 << 30 // bytes
	var fs syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs(inMemory, &fs) == nil && fs.Bavail*uint64(fs.Bsize) >= plenty {
		return inMemory
	}
	return os.TempDir()
}

// makeDir makes the server's directory and locks it for the process's life.
func makeDir() (string, *embedded.DirLock, error) {
	dir, err := os.MkdirTemp(base(), dirPrefix)
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // the server may run as another user, with its data below
		return "", nil, err
	}
	lock, err := embedded.Lock(dir)
	return dir, lock, err
}

// removeLeftovers removes the directories of test processes that were killed: those that are
// unlocked.
func removeLeftovers() error {
	dirs, err := filepath.Glob(filepath.Join(base(), dirPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "cairn.lock")); err != nil {
			continue // being made, or gone
		}
		lock, err := embedded.Lock(dir)
		if err != nil {
			continue // in use
		}
		// What a server that is still stopping keeps back is left to the next process.
		if err := errors.Join(os.RemoveAll(dir), lock.Unlock()); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

// fingerprint tells migrations apart.
func fingerprint(service string, migrations fs.FS) (string, error) {
	h := sha256.New()
	h.Write([]byte(service + "\n"))
	if migrations != nil {
		err := fs.WalkDir(migrations, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := fs.ReadFile(migrations, path)
			h.Write(fmt.Appendf(nil, "%s %d %s\n", path, len(b), b))
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
