package mail

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/smtptest"
)

// TestKilledInTheMiddle kills a sending process at each step of a message. Another process sends it: the mailbox has it
// once. Only where the server had taken it and the dead process had not heard so is it handed over twice, the same.
func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		at   smtptest.Step
		want int // messages taken, copies too
	}{{smtptest.From, 1}, {smtptest.To, 1}, {smtptest.Data, 1}, {smtptest.Dot, 1}, {smtptest.Taken, 2}} {
		t.Run(string(tt.at), func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.queue(f.letter("a"))
			reached, release := make(chan struct{}), make(chan struct{})
			f.smtp.Hook(func(at smtptest.Step, _ string) error {
				if at != tt.at {
					return nil
				}
				f.smtp.Hook(nil)
				close(reached)
				<-release
				if at == smtptest.Taken {
					return nil
				}
				return errors.New("the client is gone")
			})
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childEnv+"="+pgtest.URL(t), childEnv+"_DATABASE="+f.db.Name(), childEnv+"_ROLE="+f.db.Role(),
				childEnv+"_KEYS="+f.keysFile, childEnv+"_SMTP="+f.smtp.Address)
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-reached:
			case <-time.After(time.Minute):
				t.Error("the process never came so far")
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the process ended by itself")
			}
			close(release)

			f.clock.Set(time.Now())
			f.send()
			if n := len(f.outcomes()); n != 1 || f.outcomes()[0] != " *" {
				t.Fatalf("rows %q, want one that waits for the end of the dead process's lease", f.outcomes())
			}
			f.clock.Set(time.Now().Add(lease))
			if err := f.sender().once(auth.System(t.Context(), "notes")); err != nil {
				t.Fatal(err)
			}
			taken := f.smtp.Taken()
			if len(taken) != tt.want {
				t.Fatalf("the server has taken %d messages, want %d", len(taken), tt.want)
			}
			for _, m := range taken {
				if m.Raw != taken[0].Raw {
					t.Errorf("copies differ:\n%s\n%s", taken[0].Raw, m.Raw)
				}
			}
			if n := len(f.smtp.Mailbox(ada)); n != 1 {
				t.Errorf("the mailbox has %d messages, want 1", n)
			}
		})
	}
}
