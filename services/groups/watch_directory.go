package groups

import (
	"google.golang.org/grpc"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/changefeed"
)

// WatchDirectory streams changes as they come.
func (s *server) WatchDirectory(req *groupsv1.WatchDirectoryRequest, stream grpc.ServerStreamingServer[groupsv1.WatchDirectoryResponse]) error {
	ctx := stream.Context()
	f := &changeFeed{server: s, organization: req.GetOrganization(), size: directoryPage}
	if err := f.open(ctx, req.GetSyncToken()); err != nil {
		return err
	}
	return changefeed.Watch(ctx, s.pulse, f.next, f.token, func(changes []*groupsv1.Change, token string) error {
		return stream.Send(&groupsv1.WatchDirectoryResponse{Changes: changes, NextSyncToken: token})
	})
}
