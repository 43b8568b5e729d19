package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
)

// together shows what a member's and a facilitator's app do: it lists the member's groups and who is there, and watches for what
// is new while an announcement is made.
func together(ctx context.Context, conn *grpc.ClientConn, group *groupsv1.Group, place *membershipv1.Membership) error {
	apps := membershipv1.NewGroupAppsServiceClient(conn)
	mine, err := apps.ListMyGroups(ctx, &membershipv1.ListMyGroupsRequest{Person: place.GetMember()})
	if err != nil {
		return fmt.Errorf("list my groups: %w", err)
	}
	for _, g := range mine.GetGroups() {
		fmt.Printf("she is %s in %q\n", g.GetMembership().GetState(), g.GetTitle())
	}
	roster, err := apps.ListRoster(ctx, &membershipv1.ListRosterRequest{Group: group.GetName()})
	if err != nil {
		return fmt.Errorf("list roster: %w", err)
	}
	for _, e := range roster.GetEntries() {
		if e.GetMembership() == place.GetName() {
			fmt.Printf("the group calls her %s, and sees the e-mail address %q\n", e.GetAlias(), e.GetEmail())
		}
	}

	watching, stop := context.WithCancel(ctx)
	defer stop()
	watch, err := apps.WatchMyGroups(watching, &membershipv1.WatchMyGroupsRequest{Person: place.GetMember()})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if _, err := watch.Recv(); err != nil { // comes at once: from here on nothing is missed
		return fmt.Errorf("watch: %w", err)
	}
	said, err := apps.CreateAnnouncement(ctx, &membershipv1.CreateAnnouncementRequest{
		Parent: group.GetName(), RequestId: uuid.NewString(),
		Announcement: &membershipv1.Announcement{Title: "Welcome, Amsel", Text: "We meet at the door five minutes before."},
	})
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	for {
		resp, err := watch.Recv()
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		for _, n := range resp.GetNews() {
			if n.GetResource() != said.GetName() {
				continue
			}
			if n.GetAnnouncement().GetText() != said.GetText() {
				return errors.New("watch: another text than was said")
			}
			fmt.Printf("her app is told: %s %q\n", n.GetKind(), n.GetAnnouncement().GetTitle())
			return nil
		}
	}
}
