package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"cairn.care/services/chassis/embedded"
)

// childDir, when set, makes the test binary a child that hosts both servers on that directory,
// writes, and tells on its standard output what was acknowledged, until it is killed.
const childDir = "CAIRN_EMBEDDED_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := host(context.Background(), dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// host is what the child does.
func host(ctx context.Context, dir string) error {
	lock, err := embedded.Lock(dir)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(lock)
	p, err := embedded.StartPostgres(ctx, filepath.Join(dir, "postgres"), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	n, err := embedded.StartNATS(ctx, filepath.Join(dir, "nats"), nil)
	if err != nil {
		return err
	}
	nc, err := n.Conn()
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS ack (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)`); err != nil {
		return err
	}
	fmt.Println("uid", os.Geteuid())
	for {
		var row int64
		if err := conn.QueryRow(ctx, `INSERT INTO ack DEFAULT VALUES RETURNING n`).Scan(&row); err != nil {
			return err
		}
		msg, err := js.Publish(ctx, "s.x", fmt.Append(nil, row))
		if err != nil {
			return err
		}
		fmt.Println("ack", row, msg.Sequence)
	}
}

// child runs the child as the given user (nil: as this one), and kills it with SIGKILL when it
// has acknowledged the number of writes. It returns the last row and message acknowledged.
func child(t *testing.T, dir string, cred *syscall.Credential, acks int) (row, seq int64) {
	t.Helper()
	// The test binary lies in a directory that only this user may enter.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start child: %v", err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); {
		switch text := lines.Text(); {
		case strings.HasPrefix(text, "ack "):
			if _, err := fmt.Sscanf(text, "ack %d %d", &row, &seq); err != nil {
				t.Fatalf("child said %q: %v", text, err)
			}
			if n++; n == acks {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatalf("kill child: %v", err)
				}
			}
		case strings.HasPrefix(text, "uid "):
			if want := fmt.Sprintf("uid %d", userOf(cred)); text != want {
				t.Errorf("child said %q, want %q", text, want)
			}
		default:
			t.Errorf("child said %q", text)
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("child ended with %v, want SIGKILL: %s", err, stderr.String())
	}
	return row, seq
}

func userOf(cred *syscall.Credential) int {
	if cred == nil {
		return os.Geteuid()
	}
	return int(cred.Uid)
}

// openDir returns a new directory that every user may enter, unlike t.TempDir's.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cairn-embedded-") //nolint:usetesting // t.TempDir makes it for this user only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// within returns a context for a start, which takes long on a busy machine.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
