package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// keep is how long published outbox rows stay: longer than JetStream may keep an acknowledged
// message in memory only (it syncs its files every two minutes), so that what a crashed server
// lost can be published again.
const keep = 10 * time.Minute

// Connect connects to NATS for relays and consumers, with [Options].
func Connect(url, name string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(url, append(Options(name, log), opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return nc, nil
}

// Options are the options of the connection that relays and consumers use: connecting succeeds
// although the server may not be there yet, reconnecting never stops, and nothing is buffered
// while disconnected (a publish fails at once, and the relay decides what to publish again).
func Options(name string, log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 200*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("NATS disconnected", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("NATS connected again", "server", nc.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS", "error", err) }),
	}
}

// openStream returns the stream of a service's events, which it creates if there is none. An
// existing one is left as its operator has it.
func openStream(ctx context.Context, js jetstream.JetStream, service string, replicas int) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, StreamName(service))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name:        StreamName(service),
			Description: "Events of Cairn's " + service + " service, kept for replay",
			Subjects:    []string{"cairn." + service + ".>"},
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardNew,
			Storage:     jetstream.FileStorage,
			Replicas:    max(replicas, 1),
			Duplicates:  2 * time.Minute,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
			s, err = js.Stream(ctx, StreamName(service))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", StreamName(service), err)
	}
	return s, nil
}
