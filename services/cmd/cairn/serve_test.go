package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Switching demo clients off does not take them away: data that has some is not served beyond loopback.
func TestServeRefusesLeftoverDemoClients(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "demo"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "demo", "bootstrap.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := rootCommand()
	cmd.SetArgs([]string{"serve", "--demo-clients=false", "--data-dir", dir, "--http", "0.0.0.0:0", "--grpc", "127.0.0.1:0"})
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(t.Context()) }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "demo clients from an earlier start") {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it serves")
	}
}
