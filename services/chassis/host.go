// Package chassis is what every Cairn service stands on: it hosts one service or several
// in a process, with their database, events, jobs, listeners and telemetry.
package chassis

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"google.golang.org/grpc"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/chassis/rekey"
)

// Component is one service as the chassis hosts it.
type Component struct {
	Name       string // "groups": its database and role are cairn_groups, its peers call it that
	Migrations fs.FS  // goose files; nil: the service has no database

	// Sealed is what of the database the keyset itself has sealed or indexed, beside what the chassis keeps there.
	Sealed rekey.Schema

	// Start builds the server and registers it. Nothing is served, consumed or worked on
	// before every component's Start has returned.
	Start func(ctx context.Context, h *Host) error
}

// Host is what the chassis gives a component.
type Host struct {
	Name   string
	Config *Config
	DB     *pg.DB // nil if the component has no migrations
	Clock  clock.Clock
	Log    *slog.Logger
	Crypt  *crypt.Keyset
	Mail   *mail.Outbox // nil, and may be used so, where no SMTP server is configured

	// Workers and Periodic are the service's jobs; fill them in Start.
	Workers  *river.Workers
	Periodic []*river.PeriodicJob

	// Reindexes make the blind indexes of a table anew, for each table of the component's Sealed.Indexes; fill it in Start.
	Reindexes map[string]Reindex

	// Reads are the answers of which repeated calls get what may be seen by then; fill it in Start.
	Reads idem.Reads

	process       *Process
	channel       *inprocgrpc.Channel
	services      []*grpc.ServiceDesc
	impls         []any
	rules         auth.Rules
	subscriptions []events.Subscription
	followers     []namedFollower
	waker         *events.Waker
	jobs          *river.Client[pgx.Tx]
	schema        rekey.Schema
	errs          []error
}

// RegisterService registers a gRPC service; Host is a [grpc.ServiceRegistrar].
func (h *Host) RegisterService(desc *grpc.ServiceDesc, impl any) {
	rules, err := auth.RulesOf(desc)
	if err != nil {
		h.errs = append(h.errs, err)
		return
	}
	h.rules.Merge(rules)
	h.channel.RegisterService(desc, impl)
	h.services, h.impls = append(h.services, desc), append(h.impls, impl)
}

// Subscribe has the service consume a peer's events.
func (h *Host) Subscribe(s events.Subscription) { h.subscriptions = append(h.subscriptions, s) }

// Follower keeps something up to date with the service's database, such as an index in memory.
type Follower interface {
	// Run works until ctx ends. An error ends the process.
	Run(ctx context.Context) error
	// Ready returns nil once what is kept may be relied on; until then the process is not ready.
	Ready() error
	// CatchUp returns when all that was committed before the call is in.
	CatchUp(ctx context.Context) error
}

type namedFollower struct {
	name string
	Follower
}

// Follow has a follower run with the service.
func (h *Host) Follow(name string, f Follower) {
	h.followers = append(h.followers, namedFollower{name, f})
}

// Woken returns a channel that gets a value whenever a request or job of this process has committed events. Call it in Start.
func (h *Host) Woken() <-chan struct{} { return h.waker.Also() }

// HandleHTTP adds a handler to the process's HTTP listener.
func (h *Host) HandleHTTP(pattern string, handler http.Handler) {
	h.process.mux.Handle(pattern, handler)
}

// Jobs returns the client that enqueues jobs; it is there once the process has started.
func (h *Host) Jobs() *river.Client[pgx.Tx] { return h.jobs }

// Peer returns a connection to another service, in this process or at its address. It
// passes the context's caller on; call with [auth.System] to act for this service itself.
func (h *Host) Peer(name string) grpc.ClientConnInterface {
	conn, err := h.process.dial(h.Name, name)
	if err != nil {
		h.errs = append(h.errs, err)
	}
	return conn
}

// Verify tells who a bearer token is, as the interceptors do: for a face that speaks another protocol than gRPC and decides
// itself what its callers may do. It counts as a call: how many are left is told to [WithRateLimit]'s function. The purpose is
// [WithPurpose]'s.
func (h *Host) Verify(ctx context.Context, bearer string) (auth.Principal, error) {
	p, err := h.process.tokens.Verify(ctx, bearer)
	if err != nil {
		return p, err
	}
	if err := h.process.limits.take(p).admit(ctx); err != nil {
		return auth.Principal{}, err
	}
	if why, ok := ctx.Value(purposeKey{}).(string); ok {
		return p.WithPurpose(why)
	}
	return p, nil
}

type purposeKey struct{}

// WithPurpose returns a context in which who is let in by [Host.Verify] says why it looks at or changes personal data: a code, or
// nothing.
func WithPurpose(ctx context.Context, purpose string) context.Context {
	return context.WithValue(ctx, purposeKey{}, purpose)
}
