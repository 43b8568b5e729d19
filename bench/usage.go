package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is processor time used so far.
type usage struct {
	Server   time.Duration `json:"server"`
	Postgres time.Duration `json:"postgres"` // zero where the system has no /proc
}

// ownUsage returns what this process has used, and PostgreSQL, whose data are in dir.
func ownUsage(dir string) (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, fmt.Errorf("getrusage: %w", err)
	}
	u := usage{Server: time.Duration(r.Utime.Nano() + r.Stime.Nano())}
	processes, err := postgresProcesses(dir)
	for _, p := range processes {
		u.Postgres += p.cpu
	}
	return u, err
}

// process is a line of the system's list of processes.
type process struct {
	pid, parent int
	cpu         time.Duration // of its ended children too
}

// postgresProcesses returns the server's processes: none where the system has no /proc.
func postgresProcesses(dir string) ([]process, error) {
	b, err := os.ReadFile(filepath.Join(dir, "postgres", "cluster", "postmaster.pid"))
	if err != nil {
		return nil, fmt.Errorf("find PostgreSQL: %w", err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		return nil, fmt.Errorf("find PostgreSQL: %w", err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("find PostgreSQL: %w", err)
	}
	var found []process
	for _, f := range files {
		p, err := readProcess(f)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return nil, err
		}
		if p.pid == postmaster || p.parent == postmaster {
			found = append(found, p)
		}
	}
	return found, nil
}

// readProcess reads /proc/<pid>/stat (proc(5)); the command's name may hold anything.
func readProcess(file string) (p process, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return p, fmt.Errorf("processor time: %w", err)
	}
	const hertz = 100 // USER_HZ, the same on every Linux
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return p, fmt.Errorf("%s cannot be read", file)
	}
	var n [5]int
	for i, at := range []int{1, 11, 12, 13, 14} { // parent; user, system, and both of ended children
		if n[i], err = strconv.Atoi(fields[at]); err != nil {
			return p, fmt.Errorf("%s: %w", file, err)
		}
	}
	p.pid, err = strconv.Atoi(filepath.Base(filepath.Dir(file)))
	p.parent = n[0]
	p.cpu = time.Duration(n[1]+n[2]+n[3]+n[4]) * time.Second / hertz
	return p, err
}

// memory returns a process's resident memory, and its part of what is shared counted once, in
// bytes.
func memory(pid int) (resident, proportional int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != "Rss:" && f[0] != "Pss:" {
			continue
		}
		kb, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("memory of process %d: %w", pid, err)
		}
		if f[0] == "Rss:" {
			resident = kb << 10
		} else {
			proportional = kb << 10
		}
	}
	return resident, proportional, nil
}
