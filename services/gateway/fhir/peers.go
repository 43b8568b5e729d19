package fhir

import (
	"google.golang.org/grpc"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// peers are the services that the face stands in front of.
type peers struct {
	partners  partnersv1.PartnersServiceClient
	groups    groupsv1.GroupsServiceClient
	directory groupsv1.DirectoryServiceClient
	sync      groupsv1.SyncServiceClient
}

func newPeers(to func(service string) grpc.ClientConnInterface) *peers {
	return &peers{
		partners:  partnersv1.NewPartnersServiceClient(to("partners")),
		groups:    groupsv1.NewGroupsServiceClient(to("groups")),
		directory: groupsv1.NewDirectoryServiceClient(to("groups")),
		sync:      groupsv1.NewSyncServiceClient(to("groups")),
	}
}
