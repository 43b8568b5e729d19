package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cairn.care/services/demo"
)

// bench is a running server and what is found out about it.
type bench struct {
	options
	dir    string // of everything; removed at the end
	server *server
	hook   *hook
	demo   demo.Server
	table  table

	filled  int // groups of the directory that the server has
	figures searchFigures
	indexes []indexFigure
}

func newBench(ctx context.Context, o options) (_ *bench, err error) {
	dir, err := os.MkdirTemp("", "cairn-bench-")
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	b := &bench{options: o, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL passes through as another user
		return nil, fmt.Errorf("directory: %w", err)
	}
	if b.hook, err = newHook(dir); err != nil {
		return nil, fmt.Errorf("receiver of webhooks: %w", err)
	}
	if b.server, err = startServer(ctx, b.data(), b.hook.cert); err != nil {
		return nil, err
	}
	b.demo = demo.Server{
		HTTP: "http://" + b.server.HTTP, Dir: filepath.Join(b.data(), "demo"),
		GRPC: func(string) string { return b.server.GRPC },
	}
	_, err = demo.Load(ctx, b.demo)
	return b, err
}

// data is the server's data directory.
func (b *bench) data() string { return filepath.Join(b.dir, "data") }

// close stops the server and removes everything.
func (b *bench) close() error {
	err := b.stopServer()
	if b.hook != nil {
		b.hook.server.Close()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

func (b *bench) stopServer() error {
	if b.server == nil {
		return nil
	}
	err := b.server.stop()
	b.server = nil
	return err
}

// server is the process that is measured: this program with serveCommand.
type server struct {
	addresses

	cmd   *exec.Cmd
	stdin io.Closer // closed: stop
}

// addresses is what the server writes when it is ready.
type addresses struct {
	HTTP string `json:"http"`
	GRPC string `json:"grpc"`
}

// startServer starts it; whom it sends to has the certificate.
func startServer(ctx context.Context, dir, certificate string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, serveCommand, dir) //nolint:gosec // this program
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+certificate)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	s := &server{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.addresses)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start server: it was not ready: %w", err), s.stop())
	}
	return s, nil
}

// stop ends the server and waits for that.
func (s *server) stop() error {
	if err := s.stdin.Close(); err != nil {
		return fmt.Errorf("stop server: %w", err)
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}

// ask calls one of the server's bench endpoints.
func (s *server) ask(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.HTTP+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, strings.TrimSpace(string(answer)))
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (s *server) usage(ctx context.Context) (u usage, err error) {
	return u, s.ask(ctx, "/bench/usage", struct{}{}, &u)
}

// load has the server do one of its own operations for a while.
func (s *server) load(ctx context.Context, name string, d time.Duration) (out sample, err error) {
	return out, s.ask(ctx, "/bench/load", loadRequest{name, d}, &out)
}
