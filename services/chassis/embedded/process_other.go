//go:build !linux

package embedded

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// handlePath would be how a child reaches a directory that it inherited; other systems than
// Linux lead nowhere from there, and PostgreSQL says so.
const handlePath = "/dev/fd/3"

// dieWithParent does nothing: only Linux can. The next start stops what is left.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// serversOn returns the PostgreSQL process that the data directory's postmaster.pid names, if
// it is alive. It is not certain that there are no others.
func serversOn(data string) (pids []int, certain bool, err error) {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return nil, false, nil
	}
	comm, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil || !strings.Contains(string(comm), "postgres") {
		return nil, false, nil
	}
	return []int{pid}, false, nil
}
