// Package suitetest runs Cairn's services in the test's process over a real PostgreSQL and
// a real JetStream, as the program cairn does.
package suitetest

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/internal/pgtest"
)

// Suite is a running set of services.
type Suite struct {
	*chassis.Process
	Config *chassis.Config
	Clock  *clock.Fake       // stands at the real time of the start
	DBs    map[string]*pg.DB // by service

	t testing.TB
}

// Option changes the configuration before the start.
type Option func(*chassis.Config)

// Mail has e-mail go to an SMTP server of the test's, see package smtptest.
func Mail(address string) Option {
	return func(c *chassis.Config) {
		c.SMTPAddress, c.SMTPTLS, c.SMTPFrom = address, "none", "Cairn <cairn@cairn.test>"
	}
}

// Start starts the components; they stop when the test ends. TestMain must be pgtest.Run.
func Start(t testing.TB, components []chassis.Component, options ...Option) *Suite {
	t.Helper()
	dir := t.TempDir()
	config := chassis.DefaultConfig()
	config.DataDir = dir
	config.HTTP, config.GRPC = "127.0.0.1:0", "127.0.0.1:0"
	config.PublicURL = "http://cairn.test"
	config.LogLevel = "error"
	config.EncryptionKeysFile = filepath.Join(dir, "encryption.json")
	config.AllowPrivateOutbound = true
	if os.Getenv("CAIRN_TEST_LOG") != "" {
		config.LogLevel = os.Getenv("CAIRN_TEST_LOG")
	}
	config.Peers = outOfReach(components)
	for _, o := range options {
		o(config)
	}
	if _, err := crypt.LoadOrGenerate(config.EncryptionKeysFile); err != nil {
		t.Fatal(err)
	}
	schemas := map[string]fs.FS{}
	for _, c := range components {
		if c.Migrations != nil {
			schemas[c.Name] = c.Migrations
		}
	}
	s := &Suite{Config: config, Clock: clock.NewFake(time.Now()), DBs: pgtest.NewAll(t, schemas), t: t}
	p, err := chassis.Start(t.Context(), config, chassis.Options{
		Name: "suite", Embedded: true, Clock: s.Clock,
		OpenDB: func(_ context.Context, service string, _ fs.FS) (*pg.DB, error) { return s.DBs[service], nil },
	}, components...)
	if err != nil {
		t.Fatalf("start the suite: %v", err)
	}
	s.Process = p
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Errorf("stop the suite: %v", err)
		}
	})
	s.CatchUp()
	return s
}

// outOfReach returns an address that nobody listens on for each service that is not among the components.
func outOfReach(components []chassis.Component) map[string]string {
	peers := map[string]string{}
	for _, name := range []string{"gateway", "groups", "membership", "partners", "referral", "scheduling"} {
		if !slices.ContainsFunc(components, func(c chassis.Component) bool { return c.Name == name }) {
			peers[name] = "127.0.0.1:1"
		}
	}
	return peers
}

// CatchUp returns when what was written so far can be searched for.
func (s *Suite) CatchUp() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.Process.CatchUp(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// Conn returns a connection to a service, for callers made by [Client], [Platform] and [User].
func (s *Suite) Conn(service string) grpc.ClientConnInterface { return s.ConnAs("suitetest", service) }

// ConnAs returns the connection that the service self has to its peer.
func (s *Suite) ConnAs(self, service string) grpc.ClientConnInterface {
	s.t.Helper()
	conn, err := s.Peer(self, service)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// Client returns a context in which a client of the organization calls.
func Client(ctx context.Context, organization string, scopes ...string) context.Context {
	return auth.WithPrincipal(ctx, auth.Principal{Kind: auth.Client, Subject: "apiClients/test", Organization: organization, Scopes: scopes})
}

// Platform returns a context in which an internal app calls.
func Platform(ctx context.Context, scopes ...string) context.Context {
	return auth.WithPrincipal(ctx, auth.Principal{
		Kind: auth.Client, Subject: "apiClients/internal-app", Platform: true, Scopes: scopes,
		Organization: "organizations/0192d7a5-0000-7000-8000-00000000ffff",
	})
}

// Member returns a context in which a member calls, for herself: "members/<uuid>".
func Member(ctx context.Context, organization, member string) context.Context {
	return auth.WithPrincipal(ctx, auth.Principal{Kind: auth.User, Subject: "person", Organization: organization, Roles: []string{"MEMBER"}, Member: member})
}

// Facilitator returns a context in which a facilitator calls, for the groups that she leads: "facilitators/<uuid>".
func Facilitator(ctx context.Context, organization, facilitator string) context.Context {
	return auth.WithPrincipal(ctx, auth.Principal{Kind: auth.User, Subject: "person", Organization: organization, Roles: []string{"FACILITATOR"}, Facilitator: facilitator})
}

// User returns a context in which a person with the roles calls.
func User(ctx context.Context, organization string, roles ...string) context.Context {
	return auth.WithPrincipal(ctx, auth.Principal{Kind: auth.User, Subject: "person", Organization: organization, Roles: roles})
}
