package chassis_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/partners"
)

// A client that is disabled is out at once in every process, also in one that starts afterwards, and what it has open ends.
func TestADisabledClientIsOutEverywhere(t *testing.T) {
	t.Parallel()
	broker, err := embedded.StartNATS(t.Context(), t.TempDir(), nil, embedded.Listen("127.0.0.1", -1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	shared := func(c *chassis.Config) { c.NATSURL = broker.URL() }
	registry := suitetest.Start(t, []chassis.Component{partners.Component()}, shared)
	api := partnersv1.NewPartnersServiceClient(registry.Conn("partners"))
	platform := suitetest.Platform(t.Context(), "partners.read", "partners.write")
	o, err := api.CreateOrganization(platform, &partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{
		Kind: partnersv1.Organization_HOSPITAL, DisplayName: "St. Anna",
	}})
	if err != nil {
		t.Fatal(err)
	}
	name := "apiClients/test" // as suitetest's are called
	if _, err := api.CreateApiClient(platform, &partnersv1.CreateApiClientRequest{ApiClientId: "test", ApiClient: &partnersv1.ApiClient{
		Organization: o.GetName(), DisplayName: "EHR", Keys: &partnersv1.ApiClient_JwksUri{JwksUri: "https://ehr.example/keys"},
	}}); err != nil {
		t.Fatal(err)
	}
	disable := func(yes bool) {
		t.Helper()
		if _, err := api.UpdateApiClient(platform, &partnersv1.UpdateApiClientRequest{
			ApiClient: &partnersv1.ApiClient{Name: name, Disabled: yes}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := func() (*streamer, *suitetest.Suite) {
		impl := &streamer{ended: make(chan error, 10)}
		return impl, suitetest.Start(t, []chassis.Component{{Name: "groups", Start: func(_ context.Context, h *chassis.Host) error {
			groupsv1.RegisterSyncServiceServer(h, impl)
			groupsv1.RegisterFeedsServiceServer(h, impl)
			return nil
		}}, partners.Component()}, shared)
	}
	_, other := elsewhere()
	conn := other.Conn("groups")
	client := suitetest.Client(t.Context(), o.GetName(), "groups.read", "groups.write")

	waiting := opened(client, t, conn)
	uploading, err := groupsv1.NewFeedsServiceClient(conn).PushFeed(client)
	if err != nil {
		t.Fatal(err)
	}
	unharmed := opened(platform, t, conn)
	disable(true)
	if _, err := waiting.Recv(); whyOut(err) != nil {
		t.Errorf("a stream that was open: %v", whyOut(err))
	}
	for err = nil; err == nil; { // until it is told, or the stream's own end
		err = uploading.Send(&groupsv1.PushFeedRequest{})
	}
	if _, err := uploading.CloseAndRecv(); whyOut(err) != nil {
		t.Errorf("an upload: %v", whyOut(err))
	}
	if _, err := watch(client, conn, "nothing"); whyOut(err) != nil {
		t.Errorf("a new stream: %v", whyOut(err))
	}
	if _, err := partnersv1.NewPartnersServiceClient(other.Conn("partners")).GetOrganization(client, &partnersv1.GetOrganizationRequest{Name: o.GetName()}); whyOut(err) != nil {
		t.Errorf("a call: %v", whyOut(err))
	}
	_, later := elsewhere()
	if _, err := watch(client, later.Conn("groups"), "nothing"); whyOut(err) != nil {
		t.Errorf("a process that starts afterwards: %v", whyOut(err))
	}
	if err := unharmed.Context().Err(); err != nil {
		t.Errorf("another client's stream has ended: %v", err)
	}
	disable(false)
	for t.Context().Err() == nil {
		if _, err := watch(client, conn, "nothing"); whyOut(err) != nil {
			break
		}
	}
}

// opened opens a watch that waits, and returns when it does.
func opened(ctx context.Context, t *testing.T, conn grpc.ClientConnInterface) grpc.ServerStreamingClient[groupsv1.WatchDirectoryResponse] {
	t.Helper()
	stream, err := groupsv1.NewSyncServiceClient(conn).WatchDirectory(ctx, &groupsv1.WatchDirectoryRequest{SyncToken: "wait"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream
}

// whyOut returns nil if the error says that the client is disabled.
func whyOut(err error) error {
	if why, _ := reasonOf(err); status.Code(err) == codes.Unauthenticated && why == "CLIENT_DISABLED" {
		return nil
	}
	if err == nil {
		return errors.New("nothing was refused")
	}
	return fmt.Errorf("%w, want CLIENT_DISABLED", err)
}
