package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// idleFor is how long Cairn does nothing before its memory is looked at; settle is how long it is
// left to look through its sample directory before it is stopped.
const (
	idleFor = 5 * time.Second
	settle  = time.Second
)

// benchStart measures bin/cairn on the data directory that the bench has filled: the time until it
// is ready, and its memory when idle.
func benchStart(ctx context.Context, b *bench) error {
	program, err := cairn()
	if err != nil {
		return err
	}
	if err := b.stopServer(); err != nil {
		return err
	}
	var started []float64
	var s *running
	for round := range b.rounds {
		if s, err = startCairn(ctx, program, b.data()); err != nil {
			return err
		}
		started = append(started, s.took.Seconds())
		if round < b.rounds-1 {
			err = wait(ctx, settle)
		} else if err = wait(ctx, idleFor); err == nil {
			err = s.memory(b.data())
		}
		if err := errors.Join(err, s.stop()); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "  round %d: ready after %.2f s\n", round+1, s.took.Seconds())
	}
	t := median(started)
	b.table.add(row{
		what: "cairn serve on a warm data directory, until ready", ours: fmt.Sprintf("%.2f s", t), goal: "< 2 s", met: t < 2,
	})
	b.table.add(row{
		what: "idle memory of cairn (and of its PostgreSQL, shared pages counted once)",
		ours: fmt.Sprintf("%d MB (%d MB)", s.resident/1e6, s.postgres/1e6), goal: "< 200 MB", met: s.resident < 200e6,
	})
	return nil
}

// cairn finds the program, which `make build` makes.
func cairn() (string, error) {
	for _, dir := range []string{"bin", "../bin"} {
		path, err := filepath.Abs(filepath.Join(dir, "cairn"))
		if err != nil {
			return "", fmt.Errorf("find bin/cairn: %w", err)
		}
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no bin/cairn: run `make build` first")
}

// running is a started cairn.
type running struct {
	cmd  *exec.Cmd
	took time.Duration // until it was ready

	resident, postgres int64 // bytes
}

func startCairn(ctx context.Context, program, dir string) (*running, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "serve", "--data-dir", dir, "--http", addr, "--grpc", "127.0.0.1:0", "--log-level", "warn") //nolint:gosec // our own program
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start cairn: %w", err)
	}
	r := &running{cmd: cmd}
	for r.took < 30*time.Second && ctx.Err() == nil {
		ready := isReady(ctx, addr)
		r.took = time.Since(start)
		if ready {
			return r, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil, errors.Join(fmt.Errorf("cairn was not ready after %s", r.took), r.stop())
}

func freeAddr(ctx context.Context) (string, error) {
	lis, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return lis.Addr().String(), lis.Close()
}

func isReady(ctx context.Context, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// memory notes how much memory cairn and its PostgreSQL have.
func (r *running) memory(dir string) (err error) {
	if r.resident, _, err = memory(r.cmd.Process.Pid); err != nil {
		return err
	}
	processes, err := postgresProcesses(dir)
	if err != nil {
		return err
	}
	for _, p := range processes {
		_, part, err := memory(p.pid)
		if err != nil {
			return err
		}
		r.postgres += part
	}
	return nil
}

func (r *running) stop() error {
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("stop cairn: %w", err)
	}
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("stop cairn: %w", err)
	}
	return nil
}
