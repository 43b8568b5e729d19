package embedded

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// handlePath is how a child reaches the directory it inherited as its first extra file.
const handlePath = "/proc/self/fd/3"

// dieWithParent has the kernel send sig to the child when the thread that starts it ends.
func dieWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// serversOn returns the PostgreSQL processes that work in the data directory, and whether that
// is certain: every server process stays in its data directory.
func serversOn(data string) (pids []int, certain bool, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// Processes of other users and those that just ended cannot be read: not ours.
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err != nil || cwd != data {
			continue
		}
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err != nil || !strings.HasPrefix(filepath.Base(exe), "postgres") {
			continue
		}
		pids = append(pids, pid)
	}
	return pids, true, nil
}
