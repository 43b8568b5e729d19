package chassis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"github.com/nats-io/nats.go"
	"github.com/riverqueue/river"
	"go.opentelemetry.io/otel"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/jobs"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/chassis/telemetry"
)

// Process is a running set of components.
type Process struct {
	HTTPAddr string // where the HTTP listener is
	GRPCAddr string // where the gRPC listener is

	config     *Config
	clock      clock.Clock
	tel        *telemetry.Telemetry
	identities *auth.Identities
	crypt      *crypt.Keyset
	tokens     TokenVerifier
	disabled   *disabledClients
	limits     callLimits
	reads      map[string]bool
	clientTLS  *tls.Config
	serverTLS  *tls.Config

	hosts  []*Host
	mux    *http.ServeMux
	grpc   *grpc.Server
	health *health.Server
	http   *http.Server
	nats   *nats.Conn

	stopping   context.Context // of server streams: ends before the listeners close
	endStreams context.CancelFunc
	streams    streamCount

	mu      sync.Mutex
	conns   map[string]*grpc.ClientConn
	stops   []func(context.Context) error // run last to first
	failed  chan error
	stopped bool
}

// Options are what a program or a test decides beside the configuration.
type Options struct {
	Name     string      // of the process, in telemetry: "cairn", "groups"
	Embedded bool        // start PostgreSQL and NATS in the data directory where no URL is set
	Clock    clock.Clock // nil: the system's

	// OpenDB opens a service's migrated database; nil: pg.Open on the configured server.
	OpenDB func(ctx context.Context, service string, migrations fs.FS) (*pg.DB, error)
}

// Start brings the components up and returns once they serve. The caller stops the process.
func Start(ctx context.Context, config *Config, o Options, components ...Component) (_ *Process, err error) {
	p := &Process{config: config, clock: o.Clock, mux: http.NewServeMux(), conns: map[string]*grpc.ClientConn{}, failed: make(chan error, 1), disabled: newDisabledClients()}
	if p.clock == nil {
		p.clock = clock.System{}
	}
	p.limits = newCallLimits(config.RateLimit, p.clock)
	p.stopping, p.endStreams = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.ShutdownTimeout)
			defer cancel()
			err = errors.Join(err, p.Stop(stopCtx))
		}
	}()
	p.tel, err = telemetry.Setup(ctx, telemetry.Options{
		Service: o.Name, OTLPEndpoint: config.OTLPEndpoint, TraceRatio: config.TraceRatio,
		LogLevel: config.LogLevel, LogFormat: config.LogFormat, LogWriter: os.Stderr,
	})
	if err != nil {
		return nil, err
	}
	p.onStop(p.tel.Shutdown)
	otel.SetTracerProvider(p.tel.Tracer)
	otel.SetMeterProvider(p.tel.Meter)
	p.tel.Log.InfoContext(ctx, "configuration", "values", config)

	if config.SMTPAddress == "" && haveData(components) {
		p.tel.Log.InfoContext(ctx, "no e-mail is sent: smtp_address is not set")
	}
	if err := p.loadKeys(o.Embedded, haveData(components)); err != nil {
		return nil, err
	}
	if err := p.startParts(ctx, o, components); err != nil {
		return nil, err
	}
	// Listen before the components start, so that an address in use is refused at once.
	httpLis, err := net.Listen("tcp", config.HTTP)
	if err != nil {
		return nil, listenError("http", err)
	}
	p.onStop(func(context.Context) error { return ignoreClosed(httpLis.Close()) })
	grpcLis, err := net.Listen("tcp", config.GRPC)
	if err != nil {
		return nil, listenError("grpc", err)
	}
	p.onStop(func(context.Context) error { return ignoreClosed(grpcLis.Close()) })
	p.HTTPAddr, p.GRPCAddr = httpLis.Addr().String(), grpcLis.Addr().String()
	if p.config.PublicURL == "" {
		scheme := "http://"
		if p.serverTLS != nil {
			scheme = "https://"
		}
		p.config = new(*p.config)
		p.config.PublicURL = scheme + p.HTTPAddr
	}
	if p.reads, err = readMethods(); err != nil {
		return nil, err
	}
	if err := p.startComponents(ctx, o, components); err != nil {
		return nil, err
	}
	if err := p.serve(httpLis, grpcLis); err != nil {
		return nil, err
	}
	p.tel.Log.InfoContext(ctx, "ready", "http", p.HTTPAddr, "grpc", p.GRPCAddr)
	return p, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Process) onStop(fn func(context.Context) error) { p.stops = append(p.stops, fn) }

// startComponents opens the databases, starts every component, then what works in the background.
func (p *Process) startComponents(ctx context.Context, o Options, components []Component) error {
	if err := p.openDatabases(ctx, o, components); err != nil {
		return err
	}
	p.trustIssuers()
	byService := map[string]interceptors{}
	for _, h := range p.hosts {
		i, err := p.interceptors(h)
		if err != nil {
			return err
		}
		h.channel.WithServerUnaryInterceptor(i.unary).WithServerStreamInterceptor(i.stream)
		byService[h.Name] = i
	}
	for i, comp := range components {
		h := p.hosts[i]
		if err := comp.Start(ctx, h); err != nil {
			return fmt.Errorf("start %s: %w", comp.Name, err)
		}
		if err := errors.Join(h.errs...); err != nil {
			return fmt.Errorf("start %s: %w", comp.Name, err)
		}
	}
	p.newGRPCServer(byService)
	p.followDisabled(ctx)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	p.onStop(func(stop context.Context) error {
		cancel() // of all services at once: each takes a while to end
		if !within(stop, running.Wait) {
			return errors.New("relays, consumers and jobs did not stop in time")
		}
		return nil
	})
	for _, h := range p.hosts {
		if h.DB == nil {
			continue
		}
		if err := p.startWork(auth.System(work, h.Name), &running, h); err != nil {
			return fmt.Errorf("start %s: %w", h.Name, err)
		}
	}
	return nil
}

// openDatabases makes a host for every component, with its migrated database; several at a time.
func (p *Process) openDatabases(ctx context.Context, o Options, components []Component) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, comp := range components {
		h := &Host{
			Name: comp.Name, Config: p.config, Clock: p.clock, Crypt: p.crypt, process: p,
			Log:     p.tel.Log.With("service", comp.Name),
			Workers: river.NewWorkers(), Reindexes: map[string]Reindex{}, Reads: idem.Reads{}, schema: comp.Keyed(), waker: events.NewWaker(), rules: auth.Rules{}, channel: &inprocgrpc.Channel{},
		}
		p.hosts = append(p.hosts, h)
		if comp.Migrations == nil {
			continue
		}
		if p.config.SMTPAddress != "" {
			h.Mail = mail.NewOutbox(comp.Name, p.crypt, p.clock)
		}
		open := o.OpenDB
		if open == nil {
			open = func(ctx context.Context, service string, migrations fs.FS) (*pg.DB, error) {
				return pg.Open(ctx, pg.Options{
					AdminURL: p.config.PostgresURL, PasswordFile: p.config.PostgresPasswordFile,
					Service: service, Migrations: migrations, Log: h.Log,
				})
			}
		}
		g.Go(func() (err error) {
			h.DB, err = open(ctx, comp.Name, comp.Migrations)
			return err
		})
	}
	err := g.Wait()
	p.onStop(func(stop context.Context) error {
		if !within(stop, func() {
			for _, h := range p.hosts {
				if h.DB != nil {
					h.DB.Close() // waits for connections in use
				}
			}
		}) {
			return errors.New("database connections are still in use")
		}
		return nil
	})
	return err
}

// within runs fn and tells whether it ended before ctx did; it does not wait longer.
func within(ctx context.Context, fn func()) bool {
	done := make(chan struct{})
	go func() { fn(); close(done) }()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// startWork starts a component's relay, consumers and jobs, which run until ctx ends.
func (p *Process) startWork(ctx context.Context, running *sync.WaitGroup, h *Host) error {
	run := func(what string, fn func(context.Context) error) {
		running.Go(func() {
			if err := fn(ctx); err != nil && ctx.Err() == nil {
				p.fail(fmt.Errorf("%s: %s: %w", h.Name, what, err))
			}
		})
	}
	config := events.Config{Service: h.Name, DB: h.DB, NATS: p.nats, Waker: h.waker, Log: h.Log}
	relay, err := events.NewRelay(config)
	if err != nil {
		return err
	}
	if err := h.addRekeying(); err != nil {
		return err
	}
	// Before the consumer runs: its handlers enqueue jobs.
	h.jobs, err = jobs.New(jobs.Config{Service: h.Name, DB: h.DB, Workers: h.Workers, Periodic: h.Periodic, Waker: h.waker, Log: h.Log})
	if err != nil {
		return err
	}
	run("relay", relay.Run)
	for _, f := range h.followers {
		run(f.name, f.Run)
	}
	if len(h.subscriptions) > 0 {
		consumer, err := events.NewConsumer(config, h.subscriptions...)
		if err != nil {
			return err
		}
		run("consumer", consumer.Run)
	}
	if h.Mail.On() {
		sender, err := mail.NewSender(mail.Config{Service: h.Name, DB: h.DB, Keys: p.crypt, Clock: p.clock, Log: h.Log, Server: p.config.smtpServer()})
		if err != nil {
			return err
		}
		run("e-mail", sender.Run)
	}
	run("keys", h.watchKeys)
	run("jobs", func(ctx context.Context) error { return jobs.Run(ctx, h.jobs, h.DB, h.Log) })
	return nil
}

// dial returns self's connection to a peer.
func (p *Process) dial(self, peer string) (grpc.ClientConnInterface, error) {
	conn := &peerConn{self: self, peer: peer, identities: p.identities, timeout: p.config.RequestTimeout, reads: p.reads}
	for _, h := range p.hosts {
		if h.Name == peer {
			conn.under = h.channel
			return conn, nil
		}
	}
	addr, ok := p.config.Peers[peer]
	if !ok {
		return nil, fmt.Errorf("no address of the %s service: set peers.%s", peer, peer)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	under, ok := p.conns[peer]
	if !ok {
		creds := insecure.NewCredentials()
		if p.clientTLS != nil {
			creds = credentials.NewTLS(p.clientTLS)
		}
		var err error
		if under, err = grpc.NewClient(addr, grpc.WithTransportCredentials(creds), grpc.WithDisableServiceConfig(),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20))); err != nil {
			return nil, fmt.Errorf("peer %s: %w", peer, err)
		}
		p.conns[peer] = under
		p.onStop(func(context.Context) error { return under.Close() })
	}
	conn.under = under
	return conn, nil
}

// Peer returns a connection to a service as the named service, or program, self has it.
func (p *Process) Peer(self, name string) (grpc.ClientConnInterface, error) {
	return p.dial(self, name)
}

// CatchUp returns when all followers have what was committed before the call.
func (p *Process) CatchUp(ctx context.Context) error {
	for _, h := range p.hosts {
		for _, f := range h.followers {
			if err := f.CatchUp(auth.System(ctx, h.Name)); err != nil {
				return fmt.Errorf("%s: %s: %w", h.Name, f.name, err)
			}
		}
	}
	return nil
}

// Log is the process's logger.
func (p *Process) Log() *slog.Logger { return p.tel.Log }

// Wait returns when ctx ends, or with the error of a part that failed.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.failed:
		return err
	}
}

// fail makes Wait return err; the first failure is enough.
func (p *Process) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

// Stop drains: no new requests, those under way end, then workers, then data stores. It
// gives up waiting when ctx ends.
func (p *Process) Stop(ctx context.Context) error {
	if p.stopped {
		return nil
	}
	p.stopped = true
	p.endStreams()
	var errs []error
	for i := len(p.stops) - 1; i >= 0; i-- {
		errs = append(errs, p.stops[i](ctx))
	}
	return errors.Join(errs...)
}

// listenError says which listener failed and, where another program has its address, how to choose another one.
func listenError(key string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: %w: another program listens there; --%[1]s changes the address", key, err)
	}
	return fmt.Errorf("%s: %w", key, err)
}
