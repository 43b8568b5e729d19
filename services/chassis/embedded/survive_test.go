package embedded_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"cairn.care/services/chassis/embedded"
)

// Whoever runs Cairn, everything acknowledged before a SIGKILL is there after it.
func TestDataSurviveSIGKILL(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		t.Skip("starts itself through /proc, which this system lacks")
	}
	users := map[string]*syscall.Credential{"this user": nil}
	if os.Geteuid() == 0 {
		users["another user"] = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	for name, cred := range users {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			if cred != nil {
				if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
					t.Fatal(err)
				}
			}
			var row, seq int64
			for _, acks := range []int{1, 200, 40} {
				row, seq = child(t, dir, cred, acks)
			}
			waitForServerToEnd(t, filepath.Join(dir, "postgres"))

			lock, err := embedded.Lock(dir)
			if err != nil {
				t.Fatalf("Lock after SIGKILL: %v", err)
			}
			defer func() {
				if err := lock.Unlock(); err != nil {
					t.Errorf("Unlock: %v", err)
				}
			}()
			p := startPostgres(t, filepath.Join(dir, "postgres"))
			if got := query[bool](t, p.URL(), `SELECT EXISTS (SELECT FROM ack WHERE n = $1)`, row); !got {
				t.Errorf("acknowledged row %d is gone", row)
			}
			_, stream := openStream(t, startNATS(t, filepath.Join(dir, "nats")))
			info, err := stream.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := int64(info.State.LastSeq); got < seq {
				t.Errorf("the last message is %d, want at least %d", got, seq)
			}
		})
	}
}

// waitForServerToEnd waits until the server of a killed Cairn has ended, which it does by itself.
func waitForServerToEnd(t *testing.T, dir string) {
	t.Helper()
	pid := postmaster(t, dir)
	for ctx := within(t); pid != 0; {
		// A process that has ended has no working directory, also before anybody waits for it.
		cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
		if err != nil || cwd != filepath.Join(dir, "cluster") {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the server %d of a killed Cairn lives on", pid)
		}
	}
}
