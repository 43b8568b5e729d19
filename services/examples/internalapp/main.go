// Command internalapp is an internal app of Cairn in small: it finds a group, takes a new
// member in, and shows her what is new there, over gRPC. docs/internal-apps.md explains it. It imports nothing of Cairn but
// cairn.care/gen.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// serviceConfig has every call end within ten seconds but for those that watch, and repeats those that
// found the server unavailable. A repeated mutation does nothing twice because it carries a request_id.
const serviceConfig = `{"methodConfig": [
	{"name": [{}], "timeout": "10s", "retryPolicy": {
		"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}},
	{"name": [
		{"service": "cairn.groups.v1.SyncService", "method": "WatchDirectory"},
		{"service": "cairn.membership.v1.GroupAppsService", "method": "WatchMyGroups"},
		{"service": "cairn.partners.v1.EventsService", "method": "WatchEvents"}]}]}`

func main() {
	log.SetFlags(0)
	httpAddr := flag.String("http", "127.0.0.1:8080", "Cairn's HTTP listener, for tokens")
	grpcAddr := flag.String("grpc", "127.0.0.1:9090", "Cairn's gRPC listener")
	client := flag.String("client", "demo-app", "client id")
	key := flag.String("key", "data/demo/demo-app.private.jwk", "the client's private key")
	flag.Parse()
	if err := run(context.Background(), "http://"+*httpAddr, *grpcAddr, *client, *key); err != nil {
		log.Fatal(explain(err))
	}
}

func run(ctx context.Context, httpURL, grpcAddr, client, key string) (err error) {
	creds, err := newTokens(httpURL, client, key, "groups.read schedule.read members.read members.write")
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(creds), grpc.WithDefaultServiceConfig(serviceConfig))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()

	group, err := find(ctx, groupsv1.NewDirectoryServiceClient(conn))
	if err != nil {
		return err
	}
	if err := sessions(ctx, schedulingv1.NewSchedulingServiceClient(conn), group); err != nil {
		return err
	}
	place, err := join(ctx, membershipv1.NewMembershipServiceClient(conn), group)
	if err != nil {
		return err
	}
	return together(ctx, conn, group, place)
}

// find returns a German-speaking group with a free seat.
func find(ctx context.Context, directory groupsv1.DirectoryServiceClient) (*groupsv1.Group, error) {
	found, err := directory.SearchGroups(ctx, &groupsv1.SearchGroupsRequest{
		Kinds: []groupsv1.Group_Kind{groupsv1.Group_PEER_SUPPORT}, Languages: []string{"de"}, MinOpenSeats: 1, AcceptsIntake: true, PageSize: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	if len(found.GetResults()) == 0 {
		return nil, errors.New("search: no such group")
	}
	g := found.GetResults()[0].GetGroup()
	fmt.Printf("found %s, %q\n", g.GetName(), g.GetTitle())
	return g, nil
}

// sessions prints when the group meets next.
func sessions(ctx context.Context, scheduling schedulingv1.SchedulingServiceClient, group *groupsv1.Group) error {
	filter := fmt.Sprintf("group = %q AND start_time > %q AND state != CANCELLED", group.GetName(), time.Now().UTC().Format(time.RFC3339))
	list, err := scheduling.ListSessions(ctx, &schedulingv1.ListSessionsRequest{Filter: filter, PageSize: 1})
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	for _, s := range list.GetSessions() {
		fmt.Printf("it meets next on %s\n", s.GetStartTime().AsTime().Format(time.RFC3339))
	}
	return nil
}

// join keeps a new member and takes her into the group.
func join(ctx context.Context, members membershipv1.MembershipServiceClient, group *groupsv1.Group) (*membershipv1.Membership, error) {
	create := &membershipv1.CreateMemberRequest{RequestId: uuid.NewString(), Member: &membershipv1.Member{
		Organization: group.GetOrganization(), Alias: "Amsel", Role: membershipv1.Member_SURVIVOR, Languages: []string{"de"}, LegalName: "Erika Beispiel",
	}}
	member, err := members.CreateMember(ctx, create)
	if err != nil {
		return nil, fmt.Errorf("create member: %w", err)
	}
	again, err := members.CreateMember(ctx, create) // as after a timeout
	if err != nil {
		return nil, fmt.Errorf("create member again: %w", err)
	}
	fmt.Printf("%s, and the same request again: %t\n", member.GetName(), again.GetName() == member.GetName())

	place, err := members.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{
		Group: group.GetName(), Member: member.GetName(), RequestId: uuid.NewString(),
	})
	if err != nil {
		return nil, fmt.Errorf("ask to join: %w", err)
	}
	if place, err = members.ApproveMembership(ctx, &membershipv1.ApproveMembershipRequest{Name: place.GetName(), Etag: place.GetEtag(), RequestId: uuid.NewString()}); err != nil {
		return nil, fmt.Errorf("approve: %w", err)
	}
	fmt.Printf("%s is %s\n", place.GetName(), place.GetState())

	read := group.GetGuidelines().GetVersion()
	if _, err = members.AcknowledgeGuidelines(ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: place.GetName(), Version: read + 1}); err == nil {
		return nil, errors.New("guidelines that do not exist were acknowledged")
	}
	fmt.Println("refused as it should be:", explain(err))
	if place, err = members.AcknowledgeGuidelines(ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: place.GetName(), Version: read, RequestId: uuid.NewString()}); err != nil {
		return nil, fmt.Errorf("acknowledge guidelines: %w", err)
	}
	fmt.Printf("%s is %s\n", place.GetName(), place.GetState())
	return place, nil
}

// explain says what a failed call's status tells: code, stable reason, words, and the id to quote.
func explain(err error) string {
	st, ok := status.FromError(err)
	if !ok || st.Code() == codes.Unknown {
		return err.Error()
	}
	reason, request := "", ""
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.RequestInfo:
			request = d.GetRequestId()
		}
	}
	return fmt.Sprintf("%s %s: %s (request %s)", st.Code(), reason, st.Message(), request)
}
