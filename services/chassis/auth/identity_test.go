package auth_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
)

// Keys with which anybody could be anybody are refused where others may read them.
func TestIdentityKeysAreTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "identity.keys")
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o620: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := auth.LoadIdentities(path, clock.System{}); (err == nil) != ok {
			t.Errorf("mode %#o: %v, want accepted %t", mode, err, ok)
		}
	}
}
