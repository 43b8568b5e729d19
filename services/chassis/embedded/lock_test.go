package embedded_test

import (
	"fmt"
	"os"
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
