// Package gateway is the REST face of Cairn: every RPC under /v1 as its contract's route says,
// its OpenAPI description, the reference page, and the OAuth endpoints.
//
// It has no data. Requests go to the services over gRPC, in this process or over TCP, with all
// of their interceptors; what is decided here is what only HTTP knows.
package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/gateway/fhir"
)

// Options are what a Gateway needs.
type Options struct {
	Peer         func(service string) grpc.ClientConnInterface // connection to a service
	Verify       func(ctx context.Context, bearer string) (auth.Principal, error)
	Seal         func(purpose string, plain []byte) (string, error)
	Open         func(purpose, sealed string) ([]byte, error)
	PublicURL    string      // under which callers reach the gateway; the token issuer's name
	MaxBodyBytes int64       // largest request body
	CORSOrigins  []string    // origins whose browser apps may call; "*" is all
	Clock        clock.Clock // the system's if nil
	Log          *slog.Logger
	Tracer       trace.Tracer
	Meter        metric.Meter
}

// Gateway serves the REST API. It is an [http.Handler].
type Gateway struct {
	options  Options
	routes   *routes
	muxes    map[string]*runtime.ServeMux // by collection: a mux tries its patterns one after another
	guests   map[string][]guest           // by collection: routes below it that another component serves
	none     *runtime.ServeMux            // of other paths
	fhir     *fhir.Face
	handler  http.Handler
	duration metric.Float64Histogram
}

// guest is a route below a collection that is mostly another component's, such as the roster of a group.
type guest struct {
	*route
	mux *runtime.ServeMux
}

// service is one gRPC service and where it is.
type service struct {
	peer     string // name of the component that serves it
	register func(context.Context, *runtime.ServeMux, grpc.ClientConnInterface) error
	name     string // full name, for its descriptor
}

func services() []service {
	return []service{
		{"groups", clientOf(groupsv1.RegisterDirectoryServiceHandlerClient, groupsv1.NewDirectoryServiceClient), groupsv1.DirectoryService_ServiceDesc.ServiceName},
		{"groups", clientOf(groupsv1.RegisterGroupsServiceHandlerClient, groupsv1.NewGroupsServiceClient), groupsv1.GroupsService_ServiceDesc.ServiceName},
		{"groups", clientOf(groupsv1.RegisterSyncServiceHandlerClient, groupsv1.NewSyncServiceClient), groupsv1.SyncService_ServiceDesc.ServiceName},
		{"groups", clientOf(groupsv1.RegisterFeedsServiceHandlerClient, groupsv1.NewFeedsServiceClient), groupsv1.FeedsService_ServiceDesc.ServiceName},
		{"groups", clientOf(groupsv1.RegisterResourcesServiceHandlerClient, groupsv1.NewResourcesServiceClient), groupsv1.ResourcesService_ServiceDesc.ServiceName},
		{"groups", clientOf(groupsv1.RegisterDuplicatesServiceHandlerClient, groupsv1.NewDuplicatesServiceClient), groupsv1.DuplicatesService_ServiceDesc.ServiceName},
		{"membership", clientOf(membershipv1.RegisterMembershipServiceHandlerClient, membershipv1.NewMembershipServiceClient), membershipv1.MembershipService_ServiceDesc.ServiceName},
		{"membership", clientOf(membershipv1.RegisterRecipientsServiceHandlerClient, membershipv1.NewRecipientsServiceClient), membershipv1.RecipientsService_ServiceDesc.ServiceName},
		{"membership", clientOf(membershipv1.RegisterFeedbackServiceHandlerClient, membershipv1.NewFeedbackServiceClient), membershipv1.FeedbackService_ServiceDesc.ServiceName},
		{"membership", clientOf(membershipv1.RegisterPeerMatchesServiceHandlerClient, membershipv1.NewPeerMatchesServiceClient), membershipv1.PeerMatchesService_ServiceDesc.ServiceName},
		{"membership", clientOf(membershipv1.RegisterGroupAppsServiceHandlerClient, membershipv1.NewGroupAppsServiceClient), membershipv1.GroupAppsService_ServiceDesc.ServiceName},
		{"membership", clientOf(membershipv1.RegisterSafetyServiceHandlerClient, membershipv1.NewSafetyServiceClient), membershipv1.SafetyService_ServiceDesc.ServiceName},
		{"membership", clientOf(membershipv1.RegisterPrivacyServiceHandlerClient, membershipv1.NewPrivacyServiceClient), membershipv1.PrivacyService_ServiceDesc.ServiceName},
		{"scheduling", clientOf(schedulingv1.RegisterSchedulingServiceHandlerClient, schedulingv1.NewSchedulingServiceClient), schedulingv1.SchedulingService_ServiceDesc.ServiceName},
		{"scheduling", clientOf(schedulingv1.RegisterRsvpServiceHandlerClient, schedulingv1.NewRsvpServiceClient), schedulingv1.RsvpService_ServiceDesc.ServiceName},
		{"scheduling", clientOf(schedulingv1.RegisterRoomsServiceHandlerClient, schedulingv1.NewRoomsServiceClient), schedulingv1.RoomsService_ServiceDesc.ServiceName},
		{"scheduling", clientOf(schedulingv1.RegisterSeriesServiceHandlerClient, schedulingv1.NewSeriesServiceClient), schedulingv1.SeriesService_ServiceDesc.ServiceName},
		{"scheduling", clientOf(schedulingv1.RegisterPrivacyServiceHandlerClient, schedulingv1.NewPrivacyServiceClient), schedulingv1.PrivacyService_ServiceDesc.ServiceName},
		{"scheduling", clientOf(schedulingv1.RegisterCalendarsServiceHandlerClient, schedulingv1.NewCalendarsServiceClient), schedulingv1.CalendarsService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterReferralServiceHandlerClient, referralv1.NewReferralServiceClient), referralv1.ReferralService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterBookingsServiceHandlerClient, referralv1.NewBookingsServiceClient), referralv1.BookingsService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterPatientsServiceHandlerClient, referralv1.NewPatientsServiceClient), referralv1.PatientsService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterReferralRecordsServiceHandlerClient, referralv1.NewReferralRecordsServiceClient), referralv1.ReferralRecordsService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterReferralProcessServiceHandlerClient, referralv1.NewReferralProcessServiceClient), referralv1.ReferralProcessService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterConsentsServiceHandlerClient, referralv1.NewConsentsServiceClient), referralv1.ConsentsService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterMessagesServiceHandlerClient, referralv1.NewMessagesServiceClient), referralv1.MessagesService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterConcernsServiceHandlerClient, referralv1.NewConcernsServiceClient), referralv1.ConcernsService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterPrivacyServiceHandlerClient, referralv1.NewPrivacyServiceClient), referralv1.PrivacyService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterWeightingsServiceHandlerClient, referralv1.NewWeightingsServiceClient), referralv1.WeightingsService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterReportsServiceHandlerClient, referralv1.NewReportsServiceClient), referralv1.ReportsService_ServiceDesc.ServiceName},
		{"referral", clientOf(referralv1.RegisterAccessServiceHandlerClient, referralv1.NewAccessServiceClient), referralv1.AccessService_ServiceDesc.ServiceName},
		{"partners", clientOf(partnersv1.RegisterPartnersServiceHandlerClient, partnersv1.NewPartnersServiceClient), partnersv1.PartnersService_ServiceDesc.ServiceName},
		{"partners", clientOf(partnersv1.RegisterTokenServiceHandlerClient, partnersv1.NewTokenServiceClient), partnersv1.TokenService_ServiceDesc.ServiceName},
		{"partners", clientOf(partnersv1.RegisterEventsServiceHandlerClient, partnersv1.NewEventsServiceClient), partnersv1.EventsService_ServiceDesc.ServiceName},
		{"partners", clientOf(partnersv1.RegisterWebhooksServiceHandlerClient, partnersv1.NewWebhooksServiceClient), partnersv1.WebhooksService_ServiceDesc.ServiceName},
	}
}

func clientOf[C any](register func(context.Context, *runtime.ServeMux, C) error, client func(grpc.ClientConnInterface) C) func(context.Context, *runtime.ServeMux, grpc.ClientConnInterface) error {
	return func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		return register(ctx, mux, client(conn))
	}
}

// New returns the gateway over the services that o.Peer reaches.
func New(ctx context.Context, o Options) (*Gateway, error) {
	g := &Gateway{options: o}
	var err error
	if g.duration, err = o.Meter.Float64Histogram("http.server.request.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from a request's arrival to its answer."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)); err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	if g.routes, err = routesOf(services()); err != nil {
		return nil, err
	}
	if err := g.register(ctx); err != nil {
		return nil, err
	}
	if err := g.openFHIR(); err != nil {
		return nil, err
	}
	static, err := g.static()
	if err != nil {
		return nil, err
	}
	g.handler = g.recovered(g.observed(g.shared(static)))
	return g, nil
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.handler.ServeHTTP(w, r) }

// register makes the muxes and registers the services with them.
func (g *Gateway) register(ctx context.Context) error {
	m := newMarshaler()
	newMux := func() *runtime.ServeMux {
		return runtime.NewServeMux(
			runtime.WithMarshalerOption(runtime.MIMEWildcard, m),
			runtime.WithMarshalerOption(csvType, tables{m}),
			runtime.WithIncomingHeaderMatcher(incomingHeader),
			runtime.WithOutgoingHeaderMatcher(noHeader),
			runtime.WithOutgoingTrailerMatcher(noHeader),
			runtime.WithMetadata(requestMetadata),
			runtime.WithErrorHandler(g.handleError),
			runtime.WithRoutingErrorHandler(g.handleRoutingError),
			runtime.WithStreamErrorHandler(streamError),
			runtime.WithForwardResponseOption(rememberETag),
			runtime.WithMiddlewares(g.routed),
			runtime.WithDisablePathLengthFallback(),
			runtime.WithDisableHTTPMethodOverride(),
			runtime.WithWriteContentLength(),
		)
	}
	g.none, g.muxes, g.guests = newMux(), map[string]*runtime.ServeMux{}, map[string][]guest{}
	byPeer := map[string]*runtime.ServeMux{}
	for _, s := range services() {
		mux, ok := byPeer[s.peer]
		if !ok {
			mux = newMux()
			byPeer[s.peer] = mux
		}
		if err := s.register(ctx, mux, conn{rated{g.options.Peer(s.peer)}}); err != nil {
			return fmt.Errorf("register %s: %w", s.name, err)
		}
	}
	feeds := groupsv1.NewFeedsServiceClient(conn{rated{g.options.Peer("groups")}})
	if err := byPeer["groups"].HandlePath(http.MethodPost, "/v1/{name=feeds/*}:push", g.pushFeed(feeds)); err != nil {
		return fmt.Errorf("register pushes: %w", err)
	}
	for _, rt := range g.routes.all {
		mux := byPeer[rt.peer]
		if other, ok := g.muxes[rt.collection]; ok && other != mux {
			g.guests[rt.collection] = append(g.guests[rt.collection], guest{rt, mux})
			continue
		}
		g.muxes[rt.collection] = mux
	}
	return nil
}

// muxOf returns the mux of a path below /v1/.
func (g *Gateway) muxOf(path string) *runtime.ServeMux {
	collection := collectionOf(path)
	for _, rt := range g.guests[collection] {
		if rt.path.MatchString(path) {
			return rt.mux
		}
	}
	if mux, ok := g.muxes[collection]; ok {
		return mux
	}
	return g.none
}
