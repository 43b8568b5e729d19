// Package groups keeps the directory: groups, the people who lead them, and search over both.
package groups

import (
	"context"
	"crypto/x509"
	"embed"
	"fmt"
	"slices"

	"github.com/riverqueue/river"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/changefeed"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/erasure"
	"cairn.care/services/chassis/pg"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Component returns the groups service.
func Component() chassis.Component { return component(nil) }

// component trusts roots, or the system's authorities if nil, where feeds are pulled from.
func component(roots *x509.CertPool) chassis.Component {
	return chassis.Component{Name: "groups", Migrations: migrations, Sealed: sealed(), Start: func(ctx context.Context, h *chassis.Host) error {
		return start(ctx, h, roots)
	}}
}

func start(ctx context.Context, h *chassis.Host, roots *x509.CertPool) error {
	partners := partnersv1.NewPartnersServiceClient(h.Peer("partners"))
	s := &server{db: h.DB, clock: h.Clock, keys: h.Crypt, orgs: newOrganizations(partners, h.Clock), pulse: changefeed.NewPulse(h.DB, "groups", h.Log, "groups")}
	if err := openFeed(ctx, h.DB, h.Log); err != nil {
		return err
	}
	var err error
	if s.indexer, err = newIndexer(h.DB, h.Clock, h.Log, h.Woken(), h.Config.Path("index", "groups")); err != nil {
		return fmt.Errorf("search index: %w", err)
	}
	h.Follow("index", s.indexer)
	groupsv1.RegisterGroupsServiceServer(h, s)
	groupsv1.RegisterDirectoryServiceServer(h, s)
	groupsv1.RegisterSyncServiceServer(h, s)
	groupsv1.RegisterResourcesServiceServer(h, s)
	h.Subscribe(s.fromMembership())
	h.Subscribe(s.fromScheduling())
	h.Subscribe(erasure.Subscription("groups", h.Clock, nil)) // keeps nothing about members
	h.Periodic = append(h.Periodic, licenceSweep(), reviewSweep())
	if err := river.AddWorkerSafely(h.Workers, &reviewWorker{server: s}); err != nil {
		return err
	}
	if err := startFeeds(h, s.orgs, roots); err != nil {
		return err
	}
	if err := startDuplicates(h); err != nil {
		return err
	}
	return river.AddWorkerSafely(h.Workers, &licenceWorker{server: s, log: h.Log})
}

// server answers every service of groups but those of feeds and duplicates.
type server struct {
	groupsv1.UnimplementedGroupsServiceServer
	groupsv1.UnimplementedDirectoryServiceServer
	groupsv1.UnimplementedSyncServiceServer
	groupsv1.UnimplementedResourcesServiceServer
	db    *pg.DB
	clock clock.Clock
	keys  *crypt.Keyset
	orgs  *organizations
	pulse *changefeed.Pulse // of the change feed

	indexer *indexer
}

// insider returns the tenant whose unpublished groups and private fields the caller may see: that of the context, but
// nobody's for a client or user of the organization that was not given access to groups.
func insider(ctx context.Context) auth.Tenant {
	t, p := auth.TenantFrom(ctx), auth.PrincipalFrom(ctx)
	switch {
	case p.Service != "" && t.All, // a service for itself or for its caller
		p.HasScope("groups.read"), p.HasScope("groups.write"), slices.Contains(p.Roles, "COORDINATOR"):
		return t
	}
	return auth.Tenant{}
}
