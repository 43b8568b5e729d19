package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// superuser is the cluster's only role that can log in.
const superuser = "cairn"

// cluster is a PostgreSQL data directory and what belongs to it.
type cluster struct {
	dir       string              // StartPostgres's, absolute, without symbolic links
	cred      *syscall.Credential // who runs PostgreSQL; nil: this process's user
	bin       binaries
	password  string
	socketDir string
	throwaway bool
	byHandle  bool // the user cannot reach dir by its path, and is handed it opened
}

func (c *cluster) data() string         { return filepath.Join(c.dir, "cluster") }
func (c *cluster) passwordFile() string { return filepath.Join(c.dir, "password") }

// openCluster prepares everything that is needed to start the server, and makes the data
// directory if there is none.
func openCluster(ctx context.Context, dir string, opts []PostgresOption) (*cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	c := &cluster{dir: dir}
	for _, opt := range opts {
		opt(c)
	}
	if c.cred, err = credential(c.data()); err != nil {
		return nil, err
	}
	written, err := majorOf(c.data())
	if err != nil {
		return nil, err
	}
	if c.bin, err = findBinaries(ctx, c.cred, written); err != nil {
		return nil, err
	}
	if written == 0 {
		return c, c.initialise(ctx)
	}
	password, err := os.ReadFile(c.passwordFile())
	if err != nil {
		return nil, fmt.Errorf("password of the database in %s: %w", c.dir, err)
	}
	c.password = strings.TrimSpace(string(password))
	c.byHandle = !c.reaches(ctx, c.data())
	return c, nil
}

// credential chooses who runs PostgreSQL, which refuses to run as root: as root, the owner of
// the data if there are any, else the user postgres, else nobody.
func credential(data string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	info, err := os.Stat(data)
	if err == nil {
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Uid == 0 {
			return nil, fmt.Errorf("%s belongs to root, as whom PostgreSQL does not run: give it to another user with chown -R", data)
		}
		return &syscall.Credential{Uid: st.Uid, Gid: st.Gid}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody: run Cairn as another user")
}

// majorOf returns the version of PostgreSQL that wrote the data; 0 if there are none.
func majorOf(data string) (int, error) {
	b, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Join(data, "PG_VERSION"), err)
	}
	return major, nil
}

// initialise makes the data directory. Its name appears when it is complete, so that a process
// killed meanwhile leaves nothing that a later start would take for data.
func (c *cluster) initialise(ctx context.Context) error {
	c.password = rand.Text()
	if err := os.WriteFile(c.passwordFile(), []byte(c.password+"\n"), 0o600); err != nil {
		return err
	}
	fresh := filepath.Join(c.dir, "cluster.new")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := c.mkdir(fresh); err != nil {
		return err
	}
	c.byHandle = !c.reaches(ctx, fresh)
	if err := c.initdb(ctx, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, c.data()); err != nil {
		return err
	}
	return syncDir(c.dir)
}

// initdb runs PostgreSQL's program of that name on an empty directory.
func (c *cluster) initdb(ctx context.Context, fresh string) (err error) {
	pwDir, err := os.MkdirTemp(shortTemp(), "cairn-pw-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(pwDir)) }()
	pwFile := filepath.Join(pwDir, "password")
	if err := os.WriteFile(pwFile, []byte(c.password), 0o600); err != nil {
		return err
	}
	for _, p := range []string{pwFile, pwDir} {
		if err := c.chown(p); err != nil {
			return err
		}
	}
	args := []string{
		"--username=" + superuser, "--pwfile=" + pwFile, "--auth=" + c.auth(),
		"--encoding=UTF8", "--lc-collate=C", "--lc-ctype=C.UTF-8", "--lc-messages=C", "--no-instructions",
	}
	if c.throwaway {
		args = append(args, "--no-sync")
	}
	out, err := c.run(ctx, fresh, "initdb", args...)
	if err != nil && bytes.Contains(out, []byte("locale")) { // no C.UTF-8 here
		if err := errors.Join(os.RemoveAll(fresh), c.mkdir(fresh)); err != nil {
			return err
		}
		args[5] = "--lc-ctype=C"
		out, err = c.run(ctx, fresh, "initdb", args...)
	}
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// auth is how the server makes sure of who connects. Only its own user can open its socket; a throwaway server asks no more: SCRAM
// has the client hash the password 4,096 times, which the race detector makes a large part of a test.
func (c *cluster) auth() string {
	if c.throwaway {
		return "trust"
	}
	return "scram-sha-256"
}

// run runs one of PostgreSQL's programs on a data directory and returns what it printed.
func (c *cluster) run(ctx context.Context, data, program string, args ...string) (out []byte, err error) {
	cmd, closeFiles, err := c.command(ctx, data, program, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeFiles()) }()
	return cmd.CombinedOutput()
}

// command prepares one of PostgreSQL's programs with -D data. The returned function closes what
// the child inherits; call it once the child is started.
func (c *cluster) command(ctx context.Context, data, program string, args ...string) (*exec.Cmd, func() error, error) {
	closeFiles := func() error { return nil }
	var files []*os.File
	if c.byHandle {
		// A descriptor of the directory leads to it past parents that the user may not enter.
		f, err := os.Open(data)
		if err != nil {
			return nil, nil, err
		}
		files, closeFiles = []*os.File{f}, f.Close
		data = handlePath
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin.dir, program), append([]string{"-D", data}, args...)...) //nolint:gosec // a program of the machine's or the operator's choice
	cmd.Dir = "/"
	cmd.ExtraFiles = files
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred, Setpgid: true}
	return cmd, closeFiles, nil
}

// environment is this process's without PostgreSQL's variables, which the server would heed.
func environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") {
			env = append(env, kv)
		}
	}
	return append(env, "LC_ALL=C", "TZ=UTC")
}

// mkdir makes a directory that belongs to PostgreSQL's user alone.
func (c *cluster) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return c.chown(dir)
}

func (c *cluster) chown(path string) error {
	if c.cred == nil {
		return nil
	}
	return os.Chown(path, int(c.cred.Uid), int(c.cred.Gid))
}

// reaches tells whether PostgreSQL's user can get to the directory by its path.
func (c *cluster) reaches(ctx context.Context, dir string) bool {
	if c.cred == nil {
		return true
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin.dir, "postgres"), "--version") //nolint:gosec // as above
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	return cmd.Run() == nil
}

// syncDir makes renames in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
