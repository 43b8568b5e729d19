// Package referral is the service that carries a hospital's referral from "please help her" to "she came, and it helped":
// who acts next and until when, placing people through membership, following them through scheduling, and reporting back.
package referral

import (
	"context"
	"embed"
	"log/slog"
	"maps"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/erasure"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/chassis/pg"
)

//go:embed migrations/*.sql
var migrations embed.FS

const service = "referral"

// Component returns the referral service for the chassis to host.
func Component() chassis.Component {
	return chassis.Component{Name: service, Migrations: migrations, Sealed: sealed(), Start: start}
}

func start(_ context.Context, h *chassis.Host) error {
	s, err := newServer(h)
	if err == nil {
		s.register(h)
	}
	return err
}

func newServer(h *chassis.Host) (*server, error) {
	texts, err := writtenTexts()
	if err != nil {
		return nil, err
	}
	return &server{
		mail: h.Mail, texts: texts,
		db: h.DB, clock: h.Clock, keys: h.Crypt, log: h.Log, jobs: h.Jobs,
		groups:     groupsv1.NewGroupsServiceClient(h.Peer("groups")),
		directory:  groupsv1.NewDirectoryServiceClient(h.Peer("groups")),
		resources:  groupsv1.NewResourcesServiceClient(h.Peer("groups")),
		membership: membershipv1.NewMembershipServiceClient(h.Peer("membership")),
		safety:     membershipv1.NewSafetyServiceClient(h.Peer("membership")),
		scheduling: schedulingv1.NewSchedulingServiceClient(h.Peer("scheduling")),
		rsvps:      schedulingv1.NewRsvpServiceClient(h.Peer("scheduling")),
		partners:   partnersv1.NewPartnersServiceClient(h.Peer("partners")),
	}, nil
}

func (s *server) register(h *chassis.Host) {
	referralv1.RegisterReferralServiceServer(h, s)
	referralv1.RegisterPrivacyServiceServer(h, s)
	referralv1.RegisterPatientsServiceServer(h, s)
	referralv1.RegisterReferralRecordsServiceServer(h, s)
	referralv1.RegisterWeightingsServiceServer(h, s)
	referralv1.RegisterReportsServiceServer(h, s)
	referralv1.RegisterReferralProcessServiceServer(h, s)
	referralv1.RegisterConsentsServiceServer(h, s)
	referralv1.RegisterMessagesServiceServer(h, s)
	referralv1.RegisterConcernsServiceServer(h, s)
	referralv1.RegisterBookingsServiceServer(h, s)
	referralv1.RegisterAccessServiceServer(h, s)
	h.Subscribe(s.membershipEvents())
	h.Subscribe(s.escalationEvents())
	h.Subscribe(s.wishEvents())
	h.Subscribe(s.feedbackEvents())
	h.Subscribe(erasure.Subscription(service, h.Clock, s.eraseReferrals))
	h.Subscribe(s.schedulingEvents())
	h.Periodic = append(h.Periodic, s.addJobs(h.Workers)...)
	h.Reindexes["patient_identifiers"] = s.reindexPatient
	maps.Copy(h.Reads, s.reads())
}

// server implements ReferralService.
type server struct {
	referralv1.UnimplementedReferralServiceServer
	referralv1.UnimplementedPrivacyServiceServer
	referralv1.UnimplementedPatientsServiceServer
	referralv1.UnimplementedReferralRecordsServiceServer
	referralv1.UnimplementedWeightingsServiceServer
	referralv1.UnimplementedReportsServiceServer
	referralv1.UnimplementedReferralProcessServiceServer
	referralv1.UnimplementedConsentsServiceServer
	referralv1.UnimplementedMessagesServiceServer
	referralv1.UnimplementedConcernsServiceServer
	referralv1.UnimplementedBookingsServiceServer
	referralv1.UnimplementedAccessServiceServer

	db    *pg.DB
	clock clock.Clock
	keys  *crypt.Keyset
	log   *slog.Logger
	jobs  func() *river.Client[pgx.Tx]
	mail  *mail.Outbox
	texts *mail.Texts

	groups     groupsv1.GroupsServiceClient
	directory  groupsv1.DirectoryServiceClient
	resources  groupsv1.ResourcesServiceClient
	membership membershipv1.MembershipServiceClient
	safety     membershipv1.SafetyServiceClient
	scheduling schedulingv1.SchedulingServiceClient
	rsvps      schedulingv1.RsvpServiceClient
	partners   partnersv1.PartnersServiceClient
}
