// Package e2e runs Cairn as its users meet it: real processes, over real sockets.
package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"cairn.care/services/chassis"
	"cairn.care/services/gateway"
	"cairn.care/services/groups"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/referral"
	"cairn.care/services/scheduling"
)

// The test program is also the programs under test: it runs as the service that this
// environment variable names, with the flags of that program.
const programVar = "CAIRN_TEST_PROGRAM"

func components() map[string]chassis.Component {
	return map[string]chassis.Component{
		"partners": partners.Component(), "groups": groups.Component(), "membership": membership.Component(),
		"scheduling": scheduling.Component(), "referral": referral.Component(), "gateway": gateway.Component(),
	}
}

func TestMain(m *testing.M) {
	switch program := os.Getenv(programVar); program {
	case "":
		pgtest.Run(m)
	case "cairn":
		if err := runCairn(); err != nil {
			fmt.Fprintln(os.Stderr, "cairn:", err)
			os.Exit(1)
		}
	default:
		chassis.Main(program, components()[program])
	}
}

// runCairn is cmd/cairn's serve, without its sample directory.
func runCairn() error {
	fs := pflag.NewFlagSet("cairn", pflag.ContinueOnError)
	chassis.AddFlags(fs)
	if err := fs.Parse(os.Args[1:]); err != nil {
		return err
	}
	config, err := chassis.LoadConfig(chassis.DefaultConfig(), fs, os.Environ())
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := components()
	return chassis.Serve(ctx, config, chassis.Options{Name: "cairn", Embedded: true}, nil,
		c["partners"], c["groups"], c["membership"], c["scheduling"], c["referral"], c["gateway"])
}

// program is a running child process.
type program struct {
	name string
	cmd  *exec.Cmd
	out  *syncBuffer
	done chan struct{}
	err  error
}

// run starts a program; it is killed when the test ends, if it still runs.
func run(t *testing.T, name string, flags ...string) *program {
	t.Helper()
	return runWith(t, nil, name, flags...)
}

// runWith is run with something in the environment.
func runWith(t *testing.T, env []string, name string, flags ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{name: name, cmd: exec.Command(self, flags...), out: new(syncBuffer), done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), programVar+"="+name), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.out)
		}
	})
	return p
}

// kill ends the program with SIGKILL and waits for its end.
func (p *program) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill %s: %v", p.name, err)
	}
	<-p.done
}

// stop asks the program to end and returns how it did.
func (p *program) stop(t *testing.T) error {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop %s: %v", p.name, err)
	}
	<-p.done
	return p.err
}

// ready waits until the program's /readyz answers 200.
func (p *program) ready(t *testing.T, client *http.Client, baseURL string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			if err := resp.Body.Close(); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended: %v\n%s", p.name, p.err, p.out)
		case <-ctx.Done():
			t.Fatalf("%s is not ready: %v\n%s", p.name, err, p.out)
		case <-tick.C:
		}
	}
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}

// secrets are the files that services of one installation share.
type secrets struct {
	cert, key, ca, identity string
	client                  *tls.Config // trusts ca
}

func makeSecrets(t *testing.T, dir string) secrets {
	t.Helper()
	caKey, ca := certificate(t, nil, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Cairn test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	leafKey, leaf := certificate(t, ca, caKey, &x509.Certificate{
		Subject: pkix.Name{CommonName: "cairn"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	shared := make([]byte, 32)
	if _, err := rand.Read(shared); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return secrets{
		cert:     write(t, dir, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})),
		key:      write(t, dir, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		ca:       write(t, dir, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})),
		identity: write(t, dir, "identity", []byte(base64.StdEncoding.EncodeToString(shared)+"\n")),
		client:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}
}

func certificate(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, tmpl *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if parent == nil {
		parent, parentKey = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func write(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// syncBuffer collects a child's output; its last part is what matters.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := strings.Split(s.b.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}
