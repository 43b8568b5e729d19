package chassis_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"cairn.care/services/chassis"
)

func load(t *testing.T, file string, env []string, args ...string) (*chassis.Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	chassis.AddFlags(fs)
	if file != "" {
		path := filepath.Join(t.TempDir(), "cairn.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	return chassis.LoadConfig(chassis.DefaultConfig(), fs, env)
}

func TestConfigPrecedence(t *testing.T) {
	t.Parallel()
	c, err := load(t, "http: 127.0.0.1:1\ngrpc: 127.0.0.1:1\ndata_dir: file\nlog_level: warn\n",
		[]string{"CAIRN_HTTP=127.0.0.1:2", "CAIRN_GRPC=127.0.0.1:2", "CAIRN_CORS_ORIGINS=https://a.example,https://b.example", "OTHER=1"},
		"--http", "127.0.0.1:3", "--peers", "groups=127.0.0.1:7,partners=127.0.0.1:8", "--identity-keys-file", "k")
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP != "127.0.0.1:3" || c.GRPC != "127.0.0.1:2" || c.DataDir != "file" || c.LogLevel != "warn" {
		t.Errorf("got http %s, grpc %s, data_dir %s, log_level %s; want the flag, the environment, the file, the file", c.HTTP, c.GRPC, c.DataDir, c.LogLevel)
	}
	if len(c.CORSOrigins) != 2 || c.Peers["partners"] != "127.0.0.1:8" {
		t.Errorf("got cors_origins %v, peers %v", c.CORSOrigins, c.Peers)
	}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file string
		env  []string
		args []string
		want string
	}{
		"unknown key in the file":     {"htpt: x\n", nil, nil, "htpt"},
		"unknown environment":         {"", []string{"CAIRN_HTPT=x"}, nil, "CAIRN_HTPT"},
		"unknown flag":                {"", nil, []string{"--htpt=x"}, "htpt"},
		"address":                     {"", nil, []string{"--http=8080"}, "http"},
		"duration":                    {"", []string{"CAIRN_REQUEST_TIMEOUT=soon"}, nil, "CAIRN_REQUEST_TIMEOUT"},
		"no time at all":              {"request_timeout: 0s\n", nil, nil, "request_timeout"},
		"demo beyond loopback":        {"", nil, []string{"--http=0.0.0.0:8080", "--demo-clients"}, "demo clients"},
		"plaintext gRPC beyond":       {"", nil, []string{"--grpc=0.0.0.0:9090"}, "tls_cert_file"},
		"certificate without its key": {"tls_cert_file: a\n", nil, nil, "go together"},
		"ratio":                       {"trace_ratio: 2\n", nil, nil, "trace_ratio"},
		"mail in clear":               {"", nil, []string{"--smtp-address=mail.example.org:25", "--smtp-tls=none", "--smtp-from=a@example.org"}, "loopback"},
		"mail from nobody":            {"", nil, []string{"--smtp-address=mail.example.org:587"}, "smtp_from"},
		"mail from nowhere":           {"", nil, []string{"--smtp-from=a@example.org"}, "smtp_address"},
		"mail user, no password":      {"smtp_user: a\n", nil, nil, "smtp_password_file"},
		"mail somehow":                {"smtp_tls: tls\n", nil, nil, "smtp_tls"},
		"issuer half said":            {"issuers: [{url: https://id.example}]\n", nil, nil, "issuers[0]"},
	} {
		if _, err := load(t, tc.file, tc.env, tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v; want an error that names %q", name, err, tc.want)
		}
	}
}

func TestConfigTakesIPv6Addresses(t *testing.T) {
	t.Parallel()
	c, err := load(t, "", nil, "--http=[::1]:8080", "--cors-origins=https://a.example,https://b.example")
	if err != nil || c.HTTP != "[::1]:8080" || len(c.CORSOrigins) != 2 {
		t.Errorf("got http %s, cors_origins %v, %v", c.HTTP, c.CORSOrigins, err)
	}
}

func TestConfigRedacts(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--postgres-url", "postgres://u:hunter2@127.0.0.1/x?password=hunter2"},
		{"--postgres-url", "host=127.0.0.1 password=hunter2"},
		{"--nats-url", "nats://hunter2@127.0.0.1:4222"},
		{"--nats-url", "nats://a:hunter2@127.0.0.1:4222,nats://a:hunter2@127.0.0.2:4222"},
	} {
		c, err := load(t, "", nil, args...)
		if err != nil {
			t.Fatal(err)
		}
		if s := c.LogValue().String(); strings.Contains(s, "hunter2") || strings.Contains(args[1], "://") && !strings.Contains(s, "127.0.0.1") {
			t.Errorf("%s is printed as %s", args, s)
		}
	}
}
