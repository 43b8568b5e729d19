package chassis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"github.com/fullstorydev/grpchan/inprocgrpc"
	"github.com/nats-io/nats.go"
	"github.com/riverqueue/river"
	"go.opentelemetry.io/otel"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/jobs"
	"cairn.care/services/chassis/outbound"
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
	reads      map[string]bool
	clientTLS  *tls.Config
	serverTLS  *tls.Config

	hosts  []*Host
	mux    *http.ServeMux
	grpc   *grpc.Server
	health *health.Server
	http   *http.Server
	nats   *nats.Conn

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
	p := &Process{config: config, clock: o.Clock, mux: http.NewServeMux(), conns: map[string]*grpc.ClientConn{}, failed: make(chan error, 1)}
	if p.clock == nil {
		p.clock = clock.System{}
	}
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

	if err := p.loadKeys(o.Embedded); err != nil {
		return nil, err
	}
	if err := p.startParts(ctx, o, components); err != nil {
		return nil, err
	}
	// Listen before the components start, so that an address in use is refused at once.
	httpLis, err := net.Listen("tcp", config.HTTP)
	if err != nil {
		return nil, fmt.Errorf("http: %w (another program listens there? --http changes the address)", err)
	}
	p.onStop(func(context.Context) error { return ignoreClosed(httpLis.Close()) })
	grpcLis, err := net.Listen("tcp", config.GRPC)
	if err != nil {
		return nil, fmt.Errorf("grpc: %w (another program listens there? --grpc changes the address)", err)
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

// loadKeys reads the keys that the configuration names; an embedded process makes its own.
func (p *Process) loadKeys(standalone bool) (err error) {
	c := p.config
	switch {
	case c.EncryptionKeysFile != "":
		p.crypt, err = crypt.Load(c.EncryptionKeysFile)
	case standalone:
		if err := os.MkdirAll(c.Path("keys"), 0o700); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		p.crypt, err = crypt.LoadOrGenerate(c.Path("keys", "encryption.json"))
	default:
		return errors.New("encryption_keys_file is not set")
	}
	if err != nil {
		return err
	}
	p.identities = auth.NewIdentities(p.clock)
	if c.IdentityKeysFile != "" {
		if p.identities, err = auth.LoadIdentities(c.IdentityKeysFile, p.clock); err != nil {
			return err
		}
	}
	if c.TLSCertFile == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	p.serverTLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	p.clientTLS = p.serverTLS.Clone()
	if c.TLSCAFile != "" {
		pem, err := os.ReadFile(c.TLSCAFile)
		if err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("tls: %s holds no certificate", c.TLSCAFile)
		}
		p.serverTLS.ClientCAs, p.serverTLS.ClientAuth = pool, tls.VerifyClientCertIfGiven
		p.clientTLS.RootCAs = pool
	}
	return nil
}

// startParts brings up PostgreSQL and NATS, or connects to those configured.
func (p *Process) startParts(ctx context.Context, o Options, components []Component) error {
	c := p.config
	needsData := false
	for _, comp := range components {
		needsData = needsData || comp.Migrations != nil
	}
	if !needsData {
		return nil
	}
	if !o.Embedded && (c.PostgresURL == "" || c.NATSURL == "") {
		return errors.New("postgres_url and nats_url are needed: only `cairn` brings its own")
	}
	if o.Embedded {
		lock, err := embedded.Lock(c.DataDir)
		if err != nil {
			return err
		}
		p.onStop(func(context.Context) error { return lock.Unlock() })
	}
	if c.PostgresURL == "" && o.OpenDB == nil {
		postgres, err := embedded.StartPostgres(ctx, c.Path("postgres"), p.tel.Log)
		if err != nil {
			return err
		}
		p.onStop(func(context.Context) error { return postgres.Stop() })
		p.config = new(*c)
		p.config.PostgresURL = postgres.URL()
	}
	if c.NATSURL == "" {
		server, err := embedded.StartNATS(ctx, c.Path("nats"), p.tel.Log)
		if err != nil {
			return err
		}
		p.onStop(func(context.Context) error { server.Stop(); return nil })
		if p.nats, err = server.Conn(); err != nil {
			return err
		}
	} else {
		var opts []nats.Option
		if c.NATSCredentialsFile != "" {
			opts = append(opts, nats.UserCredentials(c.NATSCredentialsFile))
		}
		conn, err := events.Connect(c.NATSURL, o.Name, p.tel.Log, opts...)
		if err != nil {
			return err
		}
		p.nats = conn
	}
	p.onStop(func(context.Context) error { p.nats.Close(); return nil })
	return nil
}

// startComponents opens the databases, starts every component, then what works in the background.
func (p *Process) startComponents(ctx context.Context, o Options, components []Component) error {
	for _, comp := range components {
		h := &Host{
			Name: comp.Name, Config: p.config, Clock: p.clock, Crypt: p.crypt, process: p,
			Log:     p.tel.Log.With("service", comp.Name),
			Workers: river.NewWorkers(), waker: events.NewWaker(), rules: auth.Rules{}, channel: &inprocgrpc.Channel{},
		}
		if comp.Migrations != nil {
			open := o.OpenDB
			if open == nil {
				open = func(ctx context.Context, service string, migrations fs.FS) (*pg.DB, error) {
					return pg.Open(ctx, pg.Options{
						AdminURL: p.config.PostgresURL, PasswordFile: p.config.PostgresPasswordFile,
						Service: service, Migrations: migrations, Log: h.Log,
					})
				}
			}
			db, err := open(ctx, comp.Name, comp.Migrations)
			if err != nil {
				return err
			}
			p.onStop(func(context.Context) error { db.Close(); return nil })
			h.DB = db
		}
		p.hosts = append(p.hosts, h)
	}
	p.trustIssuers()
	interceptors := map[string]grpc.UnaryServerInterceptor{} // by service
	for _, h := range p.hosts {
		list, err := p.interceptors(h)
		if err != nil {
			return err
		}
		h.channel.WithServerUnaryInterceptor(chain(list))
		interceptors[h.Name] = chain(list)
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
	p.newGRPCServer(interceptors)
	for _, h := range p.hosts {
		if h.DB == nil {
			continue
		}
		if err := p.startWork(ctx, h); err != nil {
			return fmt.Errorf("start %s: %w", h.Name, err)
		}
	}
	return nil
}

// trustIssuers makes the verifier of bearer tokens: the built-in issuer's and the configured ones'.
func (p *Process) trustIssuers() {
	var issuers []auth.Issuer
	if conn, err := p.dial("chassis", "partners"); err == nil {
		issuers = append(issuers, auth.Issuer{
			URL: p.config.PublicURL, Audience: p.config.PublicURL,
			Keys: auth.PartnersKeys(partnersv1.NewTokenServiceClient(conn), p.clock),
		})
	}
	client := outbound.New(outbound.Options{AllowPrivate: p.config.AllowPrivateOutbound})
	for _, i := range p.config.Issuers {
		issuers = append(issuers, auth.Issuer{
			URL: i.URL, Audience: i.Audience, Keys: auth.RemoteKeys(client, i.URL, i.JWKSURL, p.clock),
			OrganizationClaim: i.OrganizationClaim, RolesClaim: i.RolesClaim,
		})
	}
	p.tokens = auth.NewVerifier(issuers, p.clock)
}

// interceptors is what every request passes, in this order.
func (p *Process) interceptors(h *Host) ([]grpc.UnaryServerInterceptor, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("protovalidate: %w", err)
	}
	observed, err := observe(p.tel, h.Name)
	if err != nil {
		return nil, err
	}
	list := []grpc.UnaryServerInterceptor{
		recoverPanics(h.Log),
		observed,
		deadline(p.config.RequestTimeout),
		mapErrors(h.Log),
		authenticate(h.Name, p.identities, p.tokens, p.serverTLS == nil),
		authorize(h.rules),
		validate(validator),
	}
	if h.DB == nil {
		return list, nil
	}
	return append(list,
		idem.Interceptor(h.DB, h.Name, h.Crypt.AEAD()),
		audit.Interceptor(h.rules, h.Log),
		wake(h.waker),
	), nil
}

// newGRPCServer makes the listener's server: a request goes through its component's interceptors.
func (p *Process) newGRPCServer(interceptors map[string]grpc.UnaryServerInterceptor) {
	byMethod := map[string]grpc.UnaryServerInterceptor{}
	for _, h := range p.hosts {
		for method := range h.rules {
			byMethod[method] = interceptors[h.Name]
		}
	}
	creds := insecure.NewCredentials()
	if p.serverTLS != nil {
		creds = credentials.NewTLS(p.serverTLS)
	}
	p.grpc = grpc.NewServer(grpc.Creds(creds), grpc.MaxRecvMsgSize(int(p.config.MaxBodyBytes)),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if i, ok := byMethod[info.FullMethod]; ok {
				return i(ctx, req, info, next)
			}
			return next(ctx, req) // health and reflection
		}))
	for _, h := range p.hosts {
		for i, desc := range h.services {
			p.grpc.RegisterService(desc, h.impls[i])
		}
	}
	p.health = health.NewServer()
	healthpb.RegisterHealthServer(p.grpc, p.health)
	reflection.Register(p.grpc)
}

// startWork starts a component's relay, consumers and jobs.
func (p *Process) startWork(ctx context.Context, h *Host) error {
	work, cancel := context.WithCancel(auth.System(context.WithoutCancel(ctx), h.Name))
	var running sync.WaitGroup
	run := func(what string, fn func(context.Context) error) {
		running.Go(func() {
			if err := fn(work); err != nil && work.Err() == nil {
				p.fail(fmt.Errorf("%s: %s: %w", h.Name, what, err))
			}
		})
	}
	p.onStop(func(stop context.Context) error {
		cancel()
		done := make(chan struct{})
		go func() { running.Wait(); close(done) }()
		select {
		case <-done:
			return nil
		case <-stop.Done():
			return fmt.Errorf("%s: relay and consumers did not stop in time", h.Name)
		}
	})
	config := events.Config{Service: h.Name, DB: h.DB, NATS: p.nats, Waker: h.waker, Log: h.Log}
	relay, err := events.NewRelay(config)
	if err != nil {
		return err
	}
	run("relay", relay.Run)
	if len(h.subscriptions) > 0 {
		consumer, err := events.NewConsumer(config, h.subscriptions...)
		if err != nil {
			return err
		}
		run("consumer", consumer.Run)
	}
	h.jobs, err = jobs.New(jobs.Config{Service: h.Name, DB: h.DB, Workers: h.Workers, Periodic: h.Periodic, Waker: h.waker, Log: h.Log})
	if err != nil {
		return err
	}
	run("jobs", func(ctx context.Context) error { return jobs.Run(ctx, h.jobs) })
	return nil
}

// serve opens the doors.
func (p *Process) serve(httpLis, grpcLis net.Listener) error {
	p.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "SERVING"})
	})
	p.mux.HandleFunc("GET /readyz", p.readyz)
	p.mux.Handle("GET /metrics", p.tel.Metrics)
	p.http = &http.Server{
		Handler: p.mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: p.config.RequestTimeout + time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(p.tel.Log.Handler(), slog.LevelDebug),
	}
	p.onStop(func(ctx context.Context) error {
		done := make(chan struct{})
		go func() { p.grpc.GracefulStop(); close(done) }()
		select {
		case <-done:
		case <-ctx.Done():
			p.grpc.Stop()
		}
		return nil
	})
	p.onStop(p.http.Shutdown)
	p.onStop(func(context.Context) error { p.health.Shutdown(); return nil })
	go func() {
		serve := p.http.Serve
		if p.serverTLS != nil {
			p.http.TLSConfig = p.serverTLS.Clone()
			serve = func(l net.Listener) error { return p.http.ServeTLS(l, "", "") }
		}
		if err := serve(httpLis); !errors.Is(err, http.ErrServerClosed) {
			p.fail(fmt.Errorf("http: %w", err))
		}
	}()
	go func() {
		if err := p.grpc.Serve(grpcLis); err != nil {
			p.fail(fmt.Errorf("grpc: %w", err))
		}
	}()
	for _, h := range p.hosts {
		for _, desc := range h.services {
			p.health.SetServingStatus(desc.ServiceName, healthpb.HealthCheckResponse_SERVING)
		}
	}
	return nil
}

// readyz answers 200 when every part that the process needs answers.
func (p *Process) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	checks, code := map[string]string{}, http.StatusOK
	check := func(name string, err error) {
		checks[name] = "ok"
		if err != nil {
			p.tel.Log.WarnContext(ctx, "not ready", "part", name, "err", err)
			checks[name], code = "unavailable", http.StatusServiceUnavailable
		}
	}
	if p.nats != nil && !p.nats.IsConnected() {
		check("nats", errors.New("not connected"))
	} else if p.nats != nil {
		check("nats", nil)
	}
	for _, h := range p.hosts {
		var err error
		if h.DB != nil {
			err = h.DB.Ping(ctx)
		}
		for _, fn := range h.ready {
			err = errors.Join(err, fn(ctx))
		}
		check(h.Name, err)
	}
	writeJSON(w, code, checks)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return // the caller has gone
	}
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
	var errs []error
	for i := len(p.stops) - 1; i >= 0; i-- {
		errs = append(errs, p.stops[i](ctx))
	}
	return errors.Join(errs...)
}
