package groups

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/partners"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const (
	ours   = "organizations/0192d7a5-0000-7000-8000-00000000000a"
	theirs = "organizations/0192d7a5-0000-7000-8000-00000000000b"
)

// suite is the service as its callers reach it.
type suite struct {
	*suitetest.Suite
	groupsv1.GroupsServiceClient
	groupsv1.DirectoryServiceClient
	groupsv1.SyncServiceClient
	groupsv1.ResourcesServiceClient

	owner, stranger, platform, public context.Context
}

func setup(t *testing.T) *suite {
	t.Helper()
	s := suitetest.Start(t, []chassis.Component{partners.Component(), Component()})
	conn := s.Conn("groups")
	return &suite{
		Suite: s, GroupsServiceClient: groupsv1.NewGroupsServiceClient(conn), DirectoryServiceClient: groupsv1.NewDirectoryServiceClient(conn),
		SyncServiceClient: groupsv1.NewSyncServiceClient(conn), ResourcesServiceClient: groupsv1.NewResourcesServiceClient(conn),
		owner:    suitetest.Client(t.Context(), ours, "groups.read", "groups.write"),
		stranger: suitetest.Client(t.Context(), theirs, "groups.read", "groups.write"),
		platform: suitetest.Platform(t.Context(), "groups.read", "groups.write"),
		public:   t.Context(),
	}
}

// setupServer returns the handlers without what stands before them, over a database of the test's own, with a search index
// that follows it.
func setupServer(t *testing.T) *server {
	t.Helper()
	s := &server{db: pgtest.New(t, "groups", migrations), clock: clock.NewFake(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))}
	s.indexer = startIndexer(t, s, "")
	return s
}

// startIndexer has a search index follow the server's database until the test ends.
func startIndexer(t *testing.T, s *server, file string) *indexer {
	t.Helper()
	f, err := newIndexer(s.db, s.clock, slog.New(slog.DiscardHandler), nil, file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

// caughtUp returns when what was written so far can be searched for.
func (s *server) caughtUp(t *testing.T) {
	t.Helper()
	if err := s.indexer.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// as returns a context as the interceptors leave it.
func as(ctx context.Context, organization string) context.Context {
	id := uuid.MustParse(organization[len("organizations/"):])
	p := auth.Principal{Kind: auth.Client, Subject: "apiClients/test", Organization: organization, Scopes: []string{"groups.read", "groups.write"}}
	return auth.WithTenant(auth.WithPrincipal(ctx, p), auth.Tenant{Org: id})
}

// listing is a group that can be published as it is: taken from elsewhere, so that its lead is vouched for.
func listing(title string) *groupsv1.Group {
	return &groupsv1.Group{
		Title: title, Summary: "For people after breast cancer.", Languages: []string{"en"}, Kind: groupsv1.Group_PEER_SUPPORT,
		Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_IN_PERSON, CancerTypes: []string{"breast"},
		Venue: &groupsv1.Group_Venue{
			Label: "Library", Address: &typev1.PostalAddress{Locality: "Kansas City", Country: "US"},
			Location: &latlng.LatLng{Latitude: 39.1, Longitude: -94.58},
		},
		Capacity: &groupsv1.Group_Capacity{Seats: 8}, TimeZone: "America/Chicago",
		SourceSystem: "test", ExternalId: uuid.NewString(),
	}
}

// therapist creates a facilitator with a licence that is verified and valid to the end of the given day.
func (s *suite) therapist(t *testing.T, until *date.Date) *groupsv1.Facilitator {
	t.Helper()
	f := must[*groupsv1.Facilitator](t)(s.CreateFacilitator(s.owner, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
		DisplayName: "Dr Reyes", Licence: &groupsv1.Facilitator_Licence{Profession: "Psychologist", Number: "1", Jurisdiction: "US-MO", ExpireDate: until},
	}}))
	return must[*groupsv1.Facilitator](t)(s.VerifyLicence(s.owner, &groupsv1.VerifyLicenceRequest{Name: f.GetName(), Evidence: "https://register.test/1"}))
}

// create creates a group of ours; one of another system is marked as a feed would.
func (s *suite) create(t *testing.T, g *groupsv1.Group) *groupsv1.Group {
	t.Helper()
	created := must[*groupsv1.Group](t)(s.CreateGroup(s.owner, &groupsv1.CreateGroupRequest{Group: g}))
	if created.GetSourceSystem() != "" {
		markListed(t, s.DBs["groups"], created.GetName())
	}
	return created
}

func (s *suite) published(t *testing.T, g *groupsv1.Group) *groupsv1.Group {
	t.Helper()
	return must[*groupsv1.Group](t)(s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: s.create(t, g).GetName()}))
}

// must returns a function that gives the answer of a call that has to succeed.
func must[M any](t *testing.T) func(M, error) M {
	t.Helper()
	return func(m M, err error) M {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

// refused checks that err has the code, and that it names the fields or rules.
func refused(t *testing.T, err error, code codes.Code, names ...string) {
	t.Helper()
	var got []string
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				got = append(got, v.GetField())
			}
		case *errdetails.PreconditionFailure:
			for _, v := range d.GetViolations() {
				got = append(got, v.GetType())
			}
		case *errdetails.ResourceInfo:
			got = append(got, d.GetResourceName())
		}
	}
	for _, n := range names {
		if !slices.Contains(got, n) {
			t.Errorf("got %v about %v, want %v about %v", err, got, code, names)
			return
		}
	}
	if status.Code(err) != code {
		t.Errorf("got %v, want %v", err, code)
	}
}
