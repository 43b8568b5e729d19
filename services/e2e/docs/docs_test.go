// Package docs_test follows the pages for callers line by line: every block of them runs as it
// is written, against the real program, and prints what the page says.
package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	root      = "../../.." // of the repository
	startFor  = 2 * time.Minute
	followFor = 4 * time.Minute
)

// TestPages follows the pages with blocks to run.
func TestPages(t *testing.T) {
	t.Parallel()
	need(t)
	dir := build(t)
	t.Run("callers", func(t *testing.T) { t.Parallel(); followCallers(t, dir) })
	t.Run("deploy", func(t *testing.T) { t.Parallel(); followDeploy(t, dir) })
	t.Run("operators", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("psql"); err != nil {
			t.Skip("the page needs psql, which is not here")
		}
		cwd := filepath.Join(dir, "operators")
		if err := os.Mkdir(cwd, 0o755); err != nil {
			t.Fatal(err)
		}
		follow(t, cwd, environ(t, dir), "docs/operators.md")
	})
}

// followCallers follows the pages one after the other, as a reader might who is a hospital, then
// a nonprofit, then an internal app, on one Cairn.
func followCallers(t *testing.T, dir string) {
	t.Helper()
	env := serve(t, dir)
	for _, pages := range [][]string{{"docs/hospitals.md", "docs/booking.md"}, {"docs/nonprofits.md"}, {"docs/internal-apps.md"}, {"docs/webhooks.md"}} {
		t.Run(strings.Join(pages, " and "), func(t *testing.T) { follow(t, root, env, pages...) })
	}
}

// need skips the test on machines where a reader could not follow the pages either.
func need(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "openssl", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the pages need %s, which is not here", tool)
		}
	}
	help, err := exec.CommandContext(t.Context(), "curl", "--help", "all").Output()
	if err != nil || !bytes.Contains(help, []byte("--json")) {
		t.Skip("the pages need curl 7.82 or later")
	}
}

// build makes the program, in bin below the directory that it returns.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "bin")+"/", "./cmd/cairn")
	cmd.Dir = filepath.Join(root, "services")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// serve starts `cairn serve` and returns the environment in which its callers run.
func serve(t *testing.T, dir string) []string {
	t.Helper()
	_, receiver, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	env := append(environ(t, dir), "CAIRN_DATA_DIR="+filepath.Join(dir, "data"), "CAIRN_ALLOW_PRIVATE_OUTBOUND=true", "RECEIVER_PORT="+receiver)
	said := &watched{want: "Loaded ", seen: make(chan struct{})}
	cmd := exec.Command(filepath.Join(dir, "bin", "cairn"), "serve", "--log-level", "warn")
	cmd.Env, cmd.Stdout, cmd.Stderr = env, said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stop cairn: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("cairn serve ended with %v", err)
		}
		if t.Failed() {
			t.Logf("cairn serve said:\n%s", said)
		}
	})
	select {
	case <-said.seen:
	case err := <-ended:
		ended <- err
		t.Fatalf("cairn serve ended: %v\n%s", err, said)
	case <-time.After(startFor):
		t.Fatalf("cairn serve loaded no sample directory in %s\n%s", startFor, said)
	}
	return env
}

// environ is a reader's environment, with the program on the PATH and addresses of its own.
func environ(t *testing.T, dir string) []string {
	t.Helper()
	env := []string{
		"CAIRN_HTTP=" + freeAddr(t), "CAIRN_GRPC=" + freeAddr(t),
		"PATH=" + filepath.Join(dir, "bin") + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CAIRN_") && !strings.HasPrefix(e, "GOWORK=") && !strings.HasPrefix(e, "PATH=") {
			env = append(env, e)
		}
	}
	return env
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// block is a block of commands and what the page says that it prints.
type block struct {
	at     string // page and line of the first command
	sh     string
	prints string
}

// withNode tells whether blocks that need Node and the packages of tools can run.
func withNode() bool {
	if _, err := exec.LookPath("node"); err != nil {
		return false
	}
	_, err := os.Stat(filepath.Join(root, "tools/node_modules/fhir-kit-client"))
	return err == nil
}

// read returns a page's blocks: those fenced as sh, or "sh node" where that is there, each with the one fenced as text
// that follows it at once, if any. Other fences show what a reader does in another terminal.
func read(t *testing.T, page string) []block {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	lines := strings.Split(string(raw), "\n")
	after := -1 // line behind the last sh block
	for i := 0; i < len(lines); i++ {
		kind, ok := strings.CutPrefix(lines[i], "```")
		if !ok {
			continue
		}
		first := i + 1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		content := strings.Join(lines[first:min(i, len(lines))], "\n")
		switch {
		case kind == "sh", kind == "sh node" && withNode():
			blocks, after = append(blocks, block{at: fmt.Sprintf("%s:%d", page, first+1), sh: content}), i+1
		case kind == "text" && first-1 == after:
			blocks[len(blocks)-1].prints = content
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block to run", page)
	}
	return blocks
}

// mark ends what a block prints.
const mark = "@@@ next block"

// follow runs the blocks of pages, one after the other, in one shell in the directory, as they would be pasted,
// and compares what they print.
func follow(t *testing.T, cwd string, env []string, pages ...string) {
	t.Helper()
	var blocks []block
	for _, page := range pages {
		blocks = append(blocks, read(t, page)...)
	}
	var script strings.Builder
	for _, b := range blocks {
		if strings.Contains(b.sh, "!") {
			t.Fatalf("%s: an interactive shell reads ! as history", b.at)
		}
		fmt.Fprintf(&script, "%s\nprintf '\\n%s\\n'\n", b.sh, mark)
	}
	file := filepath.Join(t.TempDir(), "page.sh")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), followFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "--norc", file)
	cmd.Dir, cmd.Env, cmd.WaitDelay = cwd, env, 5*time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	printed := strings.Split(out.String(), "\n"+mark+"\n")
	for i, b := range blocks {
		if i >= len(printed)-1 {
			t.Fatalf("%s: the block did not end: %v\n%s", b.at, err, printed[len(printed)-1])
		}
		if got := printed[i]; !alike(b.prints, got) {
			t.Fatalf("%s: the block\n%s\nprinted\n%s\nthe page says\n%s", b.at, b.sh, got, b.prints)
		}
	}
	if err != nil {
		t.Errorf("%s: %v", strings.Join(pages, ", "), err)
	}
}

// alike compares what a page says with what was printed. "…" stands for any text of a line, and
// alone on a line for any lines. Blanks behind commas do not count: JSON is written with or without.
func alike(says, printed string) bool {
	tidy := func(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), ", ", ",") }
	var pattern strings.Builder
	for i, line := range strings.Split(tidy(says), "\n") {
		if i > 0 {
			pattern.WriteString(`\n`)
		}
		if line == "…" {
			pattern.WriteString(`(?s:.*)`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `.*`))
	}
	return regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(tidy(printed))
}

// watched keeps what a program prints and tells when it has printed something.
type watched struct {
	mu   sync.Mutex
	b    bytes.Buffer
	want string
	seen chan struct{}
	done bool
}

var _ io.Writer = (*watched)(nil)

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.b.Write(p)
	if !w.done && strings.Contains(w.b.String(), w.want) {
		w.done = true
		close(w.seen)
	}
	return n, err
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}
