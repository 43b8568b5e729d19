package docs_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/gateway"
	"cairn.care/services/groups"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/referral"
	"cairn.care/services/scheduling"
)

// programVar names the service as which the test program runs, as its program would.
const programVar = "CAIRN_TEST_PROGRAM"

var services = []string{"partners", "groups", "membership", "scheduling", "referral", "gateway"}

func TestMain(m *testing.M) {
	program := os.Getenv(programVar)
	if program == "" {
		os.Exit(m.Run())
	}
	chassis.Main(program, map[string]chassis.Component{
		"partners": partners.Component(), "groups": groups.Component(), "membership": membership.Component(),
		"scheduling": scheduling.Component(), "referral": referral.Component(), "gateway": gateway.Component(),
	}[program])
}

// TestDeployFiles reads every file of deploy, and the piece of one on the operators' page, as the
// programs do.
func TestDeployFiles(t *testing.T) {
	t.Parallel()
	for _, name := range append([]string{"cairn"}, services...) {
		load(t, filepath.Join(root, "deploy", name+".yaml"))
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "operators.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	piece, _, _ := strings.Cut(rest, "```")
	file := filepath.Join(t.TempDir(), "issuers.yaml")
	if err := os.WriteFile(file, []byte(piece), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := load(t, file); c != nil && len(c.Issuers) != 1 {
		t.Errorf("operators.md: %d issuers, want 1", len(c.Issuers))
	}
	b, err := partners.ReadBootstrap(filepath.Join(root, "deploy", "bootstrap.yaml"))
	if err != nil || len(b.Organizations) != 1 || len(b.Clients) != 1 {
		t.Errorf("bootstrap.yaml: %v, %v", b, err)
	}
}

func load(t *testing.T, file string) *chassis.Config {
	t.Helper()
	fs := pflag.NewFlagSet("cairn", pflag.ContinueOnError)
	chassis.AddFlags(fs)
	if err := fs.Parse([]string{"--config", file}); err != nil {
		t.Fatal(err)
	}
	c, err := chassis.LoadConfig(chassis.DefaultConfig(), fs, nil)
	if err != nil {
		t.Errorf("%s: %v", file, err)
	}
	return c
}

// followDeploy runs the six services by the files of deploy, with the keys that its page makes;
// only host names, ports and the directory of the files are replaced.
func followDeploy(t *testing.T, dir string) {
	t.Helper()
	etc := filepath.Join(dir, "etc")
	if err := os.Mkdir(etc, 0o700); err != nil {
		t.Fatal(err)
	}
	follow(t, etc, environ(t, dir), "deploy/README.md")

	log := slog.New(slog.DiscardHandler)
	postgres, err := embedded.StartPostgres(t.Context(), filepath.Join(dir, "postgres"), log, embedded.Throwaway())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Stop(); err != nil {
			t.Error(err)
		}
	})
	nats, err := embedded.StartNATS(t.Context(), filepath.Join(dir, "nats"), log, embedded.Listen("127.0.0.1", -1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Stop)

	here := []string{
		"/etc/cairn/", etc + "/",
		"postgres://cairn@postgres.cairn.internal:5432/postgres?sslmode=verify-full", postgres.URL(),
		"postgres_password_file: ", "# ", "nats_credentials_file: ", "# ", "bootstrap_file: ", "# ",
		"tls://nats.cairn.internal:4222", nats.URL(),
	}
	https := map[string]string{}
	var own [][]string
	for _, name := range services {
		grpc := port(freeAddr(t))
		https[name] = "localhost:" + port(freeAddr(t))
		here = append(here, name+".cairn.internal:9090", "localhost:"+grpc)
		own = append(own, []string{"0.0.0.0:8080", https[name], "0.0.0.0:9090", "localhost:" + grpc})
	}
	for i, name := range services {
		raw, err := os.ReadFile(filepath.Join(root, "deploy", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(etc, name+".yaml")
		if err := os.WriteFile(file, []byte(strings.NewReplacer(append(own[i], here...)...).Replace(string(raw))), 0o600); err != nil {
			t.Fatal(err)
		}
		runService(t, name, file)
	}

	pem, err := os.ReadFile(filepath.Join(etc, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	t.Cleanup(client.CloseIdleConnections)
	for _, name := range services {
		get(t, client, "https://"+https[name]+"/readyz")
	}
	get(t, client, "https://"+https["gateway"]+"/v1/cancerTypes")
	get(t, client, "https://"+https["gateway"]+"/.well-known/jwks.json")
}

func port(addr string) string { return addr[strings.LastIndex(addr, ":")+1:] }

// runService runs a service as a process of its own until the test ends.
func runService(t *testing.T, name, config string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	said := &watched{seen: make(chan struct{})}
	cmd := exec.Command(self, "--config", config, "--log-level", "warn")
	cmd.Env = append(os.Environ(), programVar+"="+name)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stop %s: %v", name, err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said)
		}
	})
}

// get waits until the URL answers 200.
func get(t *testing.T, client *http.Client, url string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var problem error
	for end := time.Now().Add(startFor); time.Now().Before(end); <-tick.C {
		resp, err := client.Get(url)
		if err != nil {
			problem = err
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if err == nil && resp.StatusCode == http.StatusOK {
			return
		}
		problem = fmt.Errorf("%s: %s", resp.Status, body)
	}
	t.Fatalf("%s: %v", url, problem)
}
