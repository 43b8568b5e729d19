package embedded_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cairn.care/services/chassis/embedded"
)

func TestLockNamesTheOther(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first, err := embedded.Lock(dir)
	if err != nil {
		t.Fatalf("Lock: %v", err)
	}
	_, err = embedded.Lock(dir)
	for _, want := range []string{fmt.Sprintf("process %d", os.Getpid()), dir, "data directory"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("second Lock: %v, want it to say %q", err, want)
		}
	}
	if err := first.Unlock(); err != nil {
		t.Fatalf("Unlock: %v", err)
	}
	again, err := embedded.Lock(dir)
	if err != nil {
		t.Fatalf("Lock after Unlock: %v", err)
	}
	if err := again.Unlock(); err != nil {
		t.Errorf("Unlock: %v", err)
	}
}

// A lock that was given back is free, whatever processes are started meanwhile.
func TestUnlockWhileProcessesStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	started := make(chan error)
	go func() {
		defer close(started)
		for range 100 {
			if err := exec.CommandContext(t.Context(), "true").Run(); err != nil {
				started <- err
				return
			}
		}
	}()
	for {
		select {
		case err := <-started:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		lock, err := embedded.Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := lock.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
}
