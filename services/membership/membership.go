// Package membership is the service that knows people and the places they hold in groups. It seats nobody where there is
// no seat, serves waitlists in order, and keeps what names or reaches a person encrypted under a key of her own.
package membership

import (
	"context"
	"embed"
	"log/slog"
	"maps"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/chassis/pg"
)

//go:embed migrations/*.sql
var migrations embed.FS

const service = "membership"

// Component returns the membership service for the chassis to host.
func Component() chassis.Component {
	return chassis.Component{Name: service, Migrations: migrations, Sealed: sealed(), Start: start}
}

func start(ctx context.Context, h *chassis.Host) error {
	s := &server{db: h.DB, clock: h.Clock, keys: h.Crypt, groups: groupsv1.NewGroupsServiceClient(h.Peer("groups")),
		peers: dialPeers(h), log: h.Log, mail: h.Mail}
	var err error
	if s.texts, err = writtenTexts(); err != nil {
		return err
	}
	h.Periodic = append(h.Periodic, s.addMatchJobs(h.Workers)...)
	membershipv1.RegisterMembershipServiceServer(h, s)
	membershipv1.RegisterFeedbackServiceServer(h, s)
	membershipv1.RegisterPeerMatchesServiceServer(h, s)
	s.startCare(h)
	h.Periodic = append(h.Periodic, s.addJobs(h.Workers)...)
	membershipv1.RegisterRecipientsServiceServer(h, s)
	h.Subscribe(s.subscription())
	h.Subscribe(s.referralContacts())
	h.Subscribe(s.referralConsents())
	h.Reindexes["member_identifiers"] = s.reindexMember
	maps.Copy(h.Reads, s.reads())
	return s.startApps(ctx, h)
}

// server implements MembershipService.
type server struct {
	membershipv1.UnimplementedMembershipServiceServer
	membershipv1.UnimplementedFeedbackServiceServer
	membershipv1.UnimplementedPeerMatchesServiceServer
	membershipv1.UnimplementedRecipientsServiceServer
	membershipv1.UnimplementedPrivacyServiceServer
	membershipv1.UnimplementedSafetyServiceServer

	apps

	db     *pg.DB
	clock  clock.Clock
	keys   *crypt.Keyset
	groups groupsv1.GroupsServiceClient
	peers
	holders
	log    *slog.Logger
	mail   *mail.Outbox
	texts  *mail.Texts
	lines  lines
	places places
}
