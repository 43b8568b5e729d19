package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Postgres is a running PostgreSQL server.
type Postgres struct {
	c    *cluster
	log  *slog.Logger
	lock *DirLock
	url  string

	once    sync.Once
	stop    chan struct{} // closed by Stop
	stopped chan struct{} // closed when the server has ended for good
	err     error         // of stopping; read after stopped is closed
}

// A PostgresOption changes how [StartPostgres] runs the server.
type PostgresOption func(*cluster)

// Throwaway makes a server for tests: it may lose data when the machine fails, does not clean up
// in the background, and ends at once with the process.
func Throwaway() PostgresOption { return func(c *cluster) { c.throwaway = true } }

// StartPostgres starts the PostgreSQL server whose data are in dir, making them if there are
// none, and returns when it accepts connections. A server that an earlier, killed process left
// on the same data is stopped first. If the server ends by itself it is started again, on the
// same URL. ctx bounds the start only.
func StartPostgres(ctx context.Context, dir string, log *slog.Logger, opts ...PostgresOption) (*Postgres, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if busy, ok := errors.AsType[*busyError](err); ok {
		return nil, fmt.Errorf("another Cairn (%s) runs PostgreSQL on %s", busy.holder, dir)
	}
	if err != nil {
		return nil, err
	}
	p, s, err := start(ctx, dir, log, opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), lock.Unlock())
	}
	p.lock = lock
	go p.supervise(s)
	return p, nil
}

// start is StartPostgres with the directory locked.
func start(ctx context.Context, dir string, log *slog.Logger, opts []PostgresOption) (*Postgres, *server, error) {
	c, err := openCluster(ctx, dir, opts)
	if err != nil {
		return nil, nil, err
	}
	if err := stopLeftover(ctx, c.data(), log); err != nil {
		return nil, nil, err
	}
	if err := c.makeSocketDir(ctx); err != nil {
		return nil, nil, err
	}
	s, err := c.launch(log)
	if err != nil {
		return nil, nil, errors.Join(err, c.removeSocketDir())
	}
	p := &Postgres{c: c, log: log, url: c.url(), stop: make(chan struct{}), stopped: make(chan struct{})}
	if err := s.wait(ctx, p.url); err != nil {
		s.end(log)
		return nil, nil, errors.Join(err, c.removeSocketDir())
	}
	log.DebugContext(ctx, "PostgreSQL runs", "version", c.bin.major, "programs", c.bin.dir, "pid", s.pid)
	return p, s, nil
}

// URL is the administrator's URL, with the password: of a superuser, on the database "postgres".
// It stays the same until Stop.
func (p *Postgres) URL() string { return p.url }

// Stop ends the server: sessions are cut off, everything committed is on disk. It returns when
// the server has ended; later calls return the same.
func (p *Postgres) Stop() error {
	p.once.Do(func() { close(p.stop) })
	<-p.stopped
	return p.err
}

// supervise starts the server again when it ends by itself, until Stop.
func (p *Postgres) supervise(s *server) {
	defer close(p.stopped)
	for fails := 0; ; {
		select {
		case <-p.stop:
			s.end(p.log)
			p.err = errors.Join(p.c.removeSocketDir(), p.lock.Unlock())
			return
		case <-s.exited:
		}
		if time.Since(s.started) > time.Minute {
			fails = 0
		}
		for {
			pause := min(100*time.Millisecond<<fails, 5*time.Second)
			fails = min(fails+1, 6)
			p.log.Error("PostgreSQL ended by itself; starting it again", "error", s.failure(), "after", pause)
			select {
			case <-p.stop:
				p.err = errors.Join(p.c.removeSocketDir(), p.lock.Unlock())
				return
			case <-time.After(pause):
			}
			again, err := p.restart()
			if err == nil {
				s = again
				break
			}
			p.log.Error("PostgreSQL does not start", "error", err)
		}
	}
}

// restart starts the server again after it ended by itself, when its processes are all gone.
func (p *Postgres) restart() (*server, error) {
	if err := stopLeftover(context.Background(), p.c.data(), p.log); err != nil {
		return nil, err
	}
	return p.c.launch(p.log)
}

// url returns the administrator's URL.
func (c *cluster) url() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, c.password),
		Path:     "/postgres",
		RawQuery: url.Values{"host": {c.socketDir}, "sslmode": {"disable"}}.Encode(),
	}
	return u.String()
}

// settings are the server's own, given on its command line so that a later Cairn may change
// them. Others can be set in postgresql.conf of the data.
func (c *cluster) settings() []string {
	s := []string{
		"listen_addresses=", // the Unix socket only
		"unix_socket_directories=" + c.socketDir,
		"unix_socket_permissions=0700",
		"max_connections=200",
		"max_parallel_workers_per_gather=0", // short queries only, and no need of a large /dev/shm
		"jit=off",
		"random_page_cost=1.1",
		// Statements, their values and the rows they fail on may be about persons: the log is
		// about the server only.
		"log_min_messages=log",
		"log_min_error_statement=panic",
		"log_error_verbosity=terse",
		"log_statement=none",
		"log_parameter_max_length=0",
		"log_parameter_max_length_on_error=0",
		"log_checkpoints=off",
		"log_line_prefix=",
		"log_destination=stderr",
		"logging_collector=off",
		"lc_messages=C",
	}
	if c.throwaway {
		s = append(s, "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "max_wal_size=1GB",
			"max_connections=1000") // many tests at once, each with databases of its own
	}
	args := make([]string, 0, 2*len(s))
	for _, v := range s {
		args = append(args, "-c", v)
	}
	return args
}

// wait returns when the server accepts connections, or with the reason why it never will.
func (s *server) wait(ctx context.Context, url string) error {
	for {
		conn, err := pgconn.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("it accepts no connections yet: %w", context.Cause(ctx))
		}
		if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code != "57P03" { // cannot_connect_now
			return err
		}
		select {
		case <-s.exited:
			return s.failure()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stopLeftover stops the server processes of an earlier run that still work on the data, and
// clears away their lock, in which PostgreSQL might take another process of the same number
// for its own.
func stopLeftover(ctx context.Context, data string, log *slog.Logger) error {
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, 10 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		pids, certain, err := serversOn(data)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			if !certain {
				return nil
			}
			if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}
		log.WarnContext(ctx, "stopping the PostgreSQL that an earlier Cairn left behind", "pids", pids, "signal", step.sig.String())
		for _, pid := range pids {
			if err := syscall.Kill(pid, step.sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop process %d: %w", pid, err)
			}
		}
		if err := waitGone(ctx, data, step.wait); err != nil {
			return err
		}
	}
	if pids, _, err := serversOn(data); err != nil || len(pids) > 0 {
		return errors.Join(err, fmt.Errorf("processes %v of an earlier PostgreSQL on %s do not end", pids, data))
	}
	return nil
}

// waitGone waits until no server works on the data, or for the given time.
func waitGone(ctx context.Context, data string, atMost time.Duration) error {
	ctx2, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		pids, _, err := serversOn(data)
		if err != nil || len(pids) == 0 {
			return err
		}
		select {
		case <-ctx2.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
