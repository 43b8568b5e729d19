// Package partners is the service that knows who takes part and which systems call for
// them, and that issues access tokens to those systems.
package partners

import (
	"context"
	"crypto/x509"
	"embed"
	"fmt"
	"log/slog"

	"github.com/riverqueue/river"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/changefeed"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/erasure"
	"cairn.care/services/chassis/jwks"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/chassis/outbound"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/chassis/ratelimit"
)

// Name is the service's name.
const Name = "partners"

// TokenPath is where the token endpoint is under the public URL.
const TokenPath = "/oauth2/token" //nolint:gosec // a path, no credential

// tokensPerMinute is how many tokens a client may get in a minute: each is good for five.
const tokensPerMinute = 600

//go:embed migrations/*.sql
var migrations embed.FS

// Component returns the service for the chassis to host.
func Component() chassis.Component { return component(nil) }

// component trusts roots, or the system's authorities if nil, where clients publish their keys.
func component(roots *x509.CertPool) chassis.Component {
	return chassis.Component{
		Name:       Name,
		Migrations: migrations,
		Sealed:     sealed(),
		Start: func(ctx context.Context, h *chassis.Host) error {
			s := &service{
				db: h.DB, clock: h.Clock, log: h.Log, crypt: h.Crypt, mail: h.Mail, url: h.Config.PublicURL,
				clientKeys: newClientKeys(outbound.New(outbound.Options{
					AllowPrivate: h.Config.AllowPrivateOutbound, RootCAs: roots, MaxBytes: jwks.MaxBytes,
				}), h.Clock),
				issued: ratelimit.New("tokens", min(h.Config.RateLimit, tokensPerMinute), h.Clock),
			}
			var err error
			if s.decoy, err = newDecoy(); err != nil {
				return err
			}
			ctx = auth.System(ctx, Name)
			receivers := outbound.New(outbound.Options{
				AllowPrivate: h.Config.AllowPrivateOutbound, RootCAs: roots, MaxBytes: maxAnswer, Timeout: takeTime, MaxIdle: deliverAtMax,
			})
			if err := s.openEvents(ctx, h, receivers); err != nil {
				return err
			}
			if err := s.ensureSigningKeys(ctx); err != nil {
				return err
			}
			if h.Config.BootstrapFile != "" {
				b, err := ReadBootstrap(h.Config.BootstrapFile)
				if err != nil {
					return err
				}
				if err := s.bootstrap(ctx, b); err != nil {
					return fmt.Errorf("bootstrap %s: %w", h.Config.BootstrapFile, err)
				}
			}
			partnersv1.RegisterPartnersServiceServer(h, &partnersServer{service: s})
			partnersv1.RegisterTokenServiceServer(h, &tokenServer{service: s})
			river.AddWorker(h.Workers, &rotateWorker{service: s})
			river.AddWorker(h.Workers, &sweepWorker{service: s})
			h.Periodic = append(h.Periodic, periodicJobs()...)
			h.Subscribe(erasure.Subscription("partners", h.Clock, nil)) // keeps nothing about members
			return nil
		},
	}
}

// service is what both servers stand on.
type service struct {
	db         *pg.DB
	clock      clock.Clock
	log        *slog.Logger
	crypt      *crypt.Keyset
	url        string // public URL: iss and aud of access tokens
	clientKeys *clientKeys
	issued     *ratelimit.Limiter // tokens
	decoy      *decoy
	signer     signer
	groups     groupsv1.GroupsServiceClient
	pulse      *changefeed.Pulse // of the event log
	deliverer  *deliverer
	mail       *mail.Outbox
	texts      *mail.Texts
}

type partnersServer struct {
	partnersv1.UnimplementedPartnersServiceServer
	*service
}

type tokenServer struct {
	partnersv1.UnimplementedTokenServiceServer
	*service
}

type eventsServer struct {
	partnersv1.UnimplementedEventsServiceServer
	*service
}

type webhooksServer struct {
	partnersv1.UnimplementedWebhooksServiceServer
	*service
}
