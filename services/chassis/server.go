package chassis

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/outbound"
)

// trustIssuers makes the verifier of bearer tokens: the built-in issuer's and the configured ones'.
func (p *Process) trustIssuers() {
	var issuers []auth.Issuer
	if conn, err := p.dial("chassis", "partners"); err != nil {
		p.tel.Log.Warn("tokens of the built-in issuer are not accepted", "err", err)
	} else {
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
			MemberClaim: i.MemberClaim, FacilitatorClaim: i.FacilitatorClaim,
		})
	}
	p.tokens = enabledTokens{auth.NewVerifier(issuers, p.clock), p.disabled}
}

// interceptors is what a component's requests and streams pass.
type interceptors struct {
	unary  grpc.UnaryServerInterceptor
	stream grpc.StreamServerInterceptor
}

// interceptors returns what every request and stream passes, in this order.
func (p *Process) interceptors(h *Host) (interceptors, error) {
	observer, err := newObserver(p.tel, h.Name, h.rules)
	if err != nil {
		return interceptors{}, err
	}
	authn := &authenticator{service: h.Name, identities: p.identities, tokens: p.tokens, disabled: p.disabled, limits: p.limits, plaintext: p.serverTLS == nil}
	unary := []grpc.UnaryServerInterceptor{
		recoverPanics(h.Log),
		observe(observer),
		deadline(p.config.RequestTimeout),
		mapErrors(h.Log),
		authenticate(authn),
		authorize(h.rules),
		validate(protovalidate.GlobalValidator),
	}
	streams := []grpc.StreamServerInterceptor{
		recoverStreams(h.Log),
		observeStreams(observer),
		mapStreamErrors(h.Log), // outside the bounds: they say why a stream ended
		boundStreams(p.stopping, streamIdle, uploadLimit),
		withContext(authn.authenticate),
		endDisabledStreams(p.disabled),
		authorizeStreams(h.rules),
		admitStreams(&p.streams, p.clock),
		validateStreams(protovalidate.GlobalValidator),
	}
	if h.DB != nil {
		unary = append(unary,
			audit.Interceptor(h.rules, h.Log), // outside idempotency: an answer given again is a disclosure too
			idem.Interceptor(h.DB, h.Name, h.Crypt.AEAD(), h.Reads),
			wake(h.waker),
		)
		streams = append(streams, audit.StreamInterceptor(h.rules, h.Log), wakeStreams(h.waker))
	}
	return interceptors{chain(unary), chainStreams(streams)}, nil
}

const maxStreams = 256 // requests at once on one connection

// streamWorkers is how many goroutines are kept for requests: a new one would have to grow its
// stack, which takes a tenth of a small request's time. When all are busy new ones are made.
const streamWorkers = 32

// newGRPCServer makes the listener's server: a request goes through its component's interceptors.
func (p *Process) newGRPCServer(byService map[string]interceptors) {
	byMethod := map[string]interceptors{}
	for _, h := range p.hosts {
		for method := range h.rules {
			byMethod[method] = byService[h.Name]
		}
	}
	creds := insecure.NewCredentials()
	if p.serverTLS != nil {
		creds = credentials.NewTLS(p.serverTLS)
	}
	p.grpc = grpc.NewServer(grpc.Creds(creds), grpc.MaxRecvMsgSize(int(p.config.MaxBodyBytes)), grpc.MaxConcurrentStreams(maxStreams),
		grpc.NumStreamWorkers(streamWorkers), grpc.KeepaliveParams(keepalive.ServerParameters{Time: streamIdle / 2}), // ends streams of the dead
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if i, ok := byMethod[info.FullMethod]; ok {
				return i.unary(ctx, req, info, next)
			}
			return next(ctx, req) // health and reflection
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if i, ok := byMethod[info.FullMethod]; ok {
				return i.stream(srv, ss, info, next)
			}
			return next(srv, ss)
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
		if !within(ctx, p.grpc.GracefulStop) {
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
			p.http.TLSConfig.ClientAuth, p.http.TLSConfig.ClientCAs = tls.NoClientCert, nil // REST asks for tokens, not for certificates
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
	if p.nats != nil {
		check("disabled clients", p.disabled.ready())
	}
	for _, h := range p.hosts {
		var err error
		if h.DB != nil {
			err = h.DB.Ping(ctx)
		}
		check(h.Name, err)
		for _, f := range h.followers {
			check(h.Name+" "+f.name, f.Ready())
		}
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
