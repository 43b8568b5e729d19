package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// server is one run of the PostgreSQL server's first process.
type server struct {
	pid     int
	started time.Time
	exited  chan struct{} // closed when it has ended
	err     error         // how it ended; read after exited is closed
	last    lastLines

	stopping atomic.Bool // what it says of sessions that it cuts off is no news
}

// launch starts the server. It ends with this process, however that ends.
func (c *cluster) launch(log *slog.Logger) (*server, error) {
	// Not CommandContext: the server outlives the start.
	cmd, closeFiles, err := c.command(context.Background(), c.data(), "postgres", c.settings()...)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, closeFiles())
	}
	cmd.Stdout, cmd.Stderr = w, w
	// A clean shutdown; a throwaway server need not.
	sig := syscall.SIGINT
	if c.throwaway {
		sig = syscall.SIGQUIT
	}
	dieWithParent(cmd.SysProcAttr, sig)

	s := &server{started: time.Now(), exited: make(chan struct{})}
	launched := make(chan error)
	go s.run(cmd, launched)
	err = <-launched
	if err := errors.Join(err, w.Close(), closeFiles()); err != nil {
		return nil, errors.Join(fmt.Errorf("run %s: %w", cmd.Path, err), r.Close())
	}
	go s.forward(r, log)
	return s, nil
}

// run starts the child and waits for it. The kernel signals the child when the thread that
// started it ends, so that thread stays with this goroutine.
func (s *server) run(cmd *exec.Cmd, launched chan<- error) {
	runtime.LockOSThread()
	err := cmd.Start()
	if err == nil {
		s.pid = cmd.Process.Pid
	}
	launched <- err
	if err != nil {
		return
	}
	s.err = cmd.Wait()
	close(s.exited)
}

// forward writes the server's log to ours and keeps the last lines for errors.
func (s *server) forward(r io.ReadCloser, log *slog.Logger) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		s.last.add(line)
		level := slog.LevelDebug
		switch {
		case strings.HasPrefix(line, "PANIC:"):
			level = slog.LevelError
		case s.stopping.Load() && strings.HasPrefix(line, "FATAL:  terminating connection"):
		case strings.HasPrefix(line, "FATAL:") && !strings.Contains(line, "is starting up"):
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "PostgreSQL: "+line)
	}
	if err := errors.Join(lines.Err(), r.Close()); err != nil {
		log.Error("read PostgreSQL's log", "error", err)
	}
}

// failure says how the server ended.
func (s *server) failure() error {
	how := "exit status 0"
	if s.err != nil {
		how = s.err.Error()
	}
	return fmt.Errorf("postgres: %s: %s", how, s.last.String())
}

// end stops the server: cleanly, or more and more firmly if that takes long.
func (s *server) end(log *slog.Logger) {
	s.stopping.Store(true)
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, 30 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, time.Minute}} {
		if err := syscall.Kill(s.pid, step.sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			log.Error("stop PostgreSQL", "error", err)
		}
		select {
		case <-s.exited:
			return
		case <-time.After(step.wait):
			log.Warn("PostgreSQL takes long to stop", "signal", step.sig.String(), "waited", step.wait)
		}
	}
}

// lastLines keeps the last few lines of a log.
type lastLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *lastLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	if len(l.lines) > 8 {
		l.lines = l.lines[1:]
	}
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "; ")
}
