package e2e_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemo runs the shipped program's demo as a newcomer does, and once more on the same data:
// both times the loop closes and the exit code says so.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	program := filepath.Join(dir, "cairn")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/cairn")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	demo := func(flags ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, append([]string{"demo", "--exit", "--data-dir", filepath.Join(dir, "data"), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"}, flags...)...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it takes PostgreSQL along
		cmd.WaitDelay = 20 * time.Second
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for i, loads := range []bool{true, false} {
		out, err := demo()
		if err != nil || !strings.Contains(out, "The loop is closed") {
			t.Fatalf("run %d: %v\n%s", i+1, err, out)
		}
		if strings.Contains(out, "Loaded ") != loads {
			t.Errorf("run %d: whether it loads the sample directory: want %v\n%s", i+1, loads, out)
		}
		if strings.Contains(out, "level=") {
			t.Errorf("run %d logs what a newcomer cannot make anything of:\n%s", i+1, out)
		}
	}
	if out, err := demo("--demo-clients=false"); err == nil {
		t.Errorf("without its clients there is no walk, but the exit code is 0:\n%s", out)
	}
}
