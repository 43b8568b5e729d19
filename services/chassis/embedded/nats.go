package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// NATS is a NATS server with JetStream inside this process.
type NATS struct {
	s *natsserver.Server
}

// A NATSOption changes how [StartNATS] runs the server.
type NATSOption func(*natsserver.Options)

// Listen has the server accept connections on a TCP address too, with no authentication: for
// a loopback address.
func Listen(host string, port int) NATSOption {
	return func(o *natsserver.Options) { o.DontListen, o.Host, o.Port = false, host, port }
}

// syncInterval is how much of what JetStream acknowledged may be lost when the machine fails
// (not when the process does). The outboxes keep published events for longer and publish them
// again after such a failure.
const syncInterval = 10 * time.Second

// StartNATS starts a NATS server with JetStream whose streams are in dir, and returns when it is
// ready. ctx bounds the start only.
func StartNATS(ctx context.Context, dir string, log *slog.Logger, opts ...NATSOption) (*NATS, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	o := &natsserver.Options{
		ServerName:   "cairn",
		DontListen:   true,
		JetStream:    true,
		StoreDir:     dir,
		SyncInterval: syncInterval,
		NoSigs:       true,
		MaxPayload:   1 << 20,
	}
	for _, opt := range opts {
		opt(o)
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	s.SetLoggerV2(natsLog{log}, false, false, false)
	s.Start()
	for !s.ReadyForConnections(50 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			s.Shutdown()
			return nil, fmt.Errorf("start NATS: %w", err)
		}
		if !s.Running() {
			return nil, errors.New("start NATS: it ended at once; the log says why")
		}
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, fmt.Errorf("start NATS: JetStream cannot use %s; the log says why", o.StoreDir)
	}
	return &NATS{s}, nil
}

// Conn opens a connection to the server, past the network. The caller closes it.
func (n *NATS) Conn(opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("", append([]nats.Option{nats.InProcessServer(n.s), nats.MaxReconnects(-1)}, opts...)...)
}

// URL is the address that clients connect to, if the server listens.
func (n *NATS) URL() string { return n.s.ClientURL() }

// Stop ends the server when its streams are on disk.
func (n *NATS) Stop() {
	n.s.Shutdown()
	n.s.WaitForShutdown()
}

// natsLog writes the server's log to ours. Its notices are of interest only when looking for a
// fault.
type natsLog struct{ log *slog.Logger }

func (l natsLog) Noticef(format string, v ...any) { l.log.Debug("NATS: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Warnf(format string, v ...any)   { l.log.Warn("NATS: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Errorf(format string, v ...any)  { l.log.Error("NATS: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Fatalf(format string, v ...any)  { l.log.Error("NATS: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Debugf(format string, v ...any)  { l.log.Debug("NATS: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Tracef(format string, v ...any)  { l.log.Debug("NATS: " + fmt.Sprintf(format, v...)) }
