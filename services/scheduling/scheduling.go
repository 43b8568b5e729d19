// Package scheduling is the service that keeps when and where groups meet, and who came.
// It makes a session of each occurrence of a series for the coming 54 weeks, holds the
// wall clock across daylight saving, and leaves what people moved or cancelled as it is
// when the series changes.
package scheduling

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"time"
	_ "time/tzdata" // zones are there on every machine

	"buf.build/go/protovalidate"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/chassis/erasure"
	"cairn.care/services/chassis/pg"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	service = "scheduling"

	// window is how far ahead sessions exist.
	window = 54 * 7 * 24 * time.Hour

	// grace is how far in the past a new series may start.
	grace = 24 * time.Hour

	// maxSessions is how many sessions one series may have in the window.
	maxSessions = 1000

	// maxNext is how many coming sessions calendar.changed tells.
	maxNext = 60
)

// Component returns the scheduling service for the chassis to host.
func Component() chassis.Component {
	return chassis.Component{Name: service, Migrations: migrations, Start: start}
}

func start(_ context.Context, h *chassis.Host) error {
	validator, err := protovalidate.New()
	if err != nil {
		return fmt.Errorf("validator: %w", err)
	}
	s := &server{
		db: h.DB, clock: h.Clock, log: h.Log, validator: validator, jobs: h.Jobs, publicURL: h.Config.PublicURL,
		groups:  groupsv1.NewGroupsServiceClient(h.Peer("groups")),
		members: membershipv1.NewMembershipServiceClient(h.Peer("membership")),
	}
	schedulingv1.RegisterSchedulingServiceServer(h, s)
	schedulingv1.RegisterRsvpServiceServer(h, s)
	schedulingv1.RegisterSlotsServiceServer(h, s)
	schedulingv1.RegisterRoomsServiceServer(h, s)
	schedulingv1.RegisterSeriesServiceServer(h, s)
	schedulingv1.RegisterCalendarsServiceServer(h, s)
	h.Subscribe(s.subscription())
	schedulingv1.RegisterPrivacyServiceServer(h, s)
	h.Subscribe(s.memberships())
	h.Subscribe(erasure.Subscription(service, h.Clock, s.eraseAttendance))
	if err := s.startNotifier(h); err != nil {
		return fmt.Errorf("notifier: %w", err)
	}
	return s.addJobs(h)
}

// server implements the services of package scheduling.
type server struct {
	schedulingv1.UnimplementedSchedulingServiceServer
	schedulingv1.UnimplementedSeriesServiceServer
	schedulingv1.UnimplementedCalendarsServiceServer
	schedulingv1.UnimplementedRsvpServiceServer
	schedulingv1.UnimplementedSlotsServiceServer
	schedulingv1.UnimplementedRoomsServiceServer
	schedulingv1.UnimplementedPrivacyServiceServer

	db        *pg.DB
	clock     clock.Clock
	log       *slog.Logger
	validator protovalidate.Validator
	groups    groupsv1.GroupsServiceClient
	members   membershipv1.MembershipServiceClient
	jobs      func() *river.Client[pgx.Tx]
	publicURL string // under which people reach the gateway
}
