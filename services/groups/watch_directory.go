package groups

import (
	"time"

	"google.golang.org/grpc"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// heartbeat is the time between signs of life.
const heartbeat = 15 * time.Second

// WatchDirectory streams changes as they come.
func (s *server) WatchDirectory(req *groupsv1.WatchDirectoryRequest, stream grpc.ServerStreamingServer[groupsv1.WatchDirectoryResponse]) error {
	ctx := stream.Context()
	f := &changeFeed{server: s, organization: req.GetOrganization(), size: directoryPage}
	if err := f.open(ctx, req.GetSyncToken()); err != nil {
		return err
	}
	defer s.pulse.Join(ctx)()
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	for sign := true; ; {
		moved := s.pulse.Next() // before the look, so that nothing falls between the two
		changes, more, err := f.next(ctx)
		if err != nil {
			return err
		}
		if len(changes) > 0 || sign {
			token, err := f.token()
			if err != nil {
				return err
			}
			if err := stream.Send(&groupsv1.WatchDirectoryResponse{Changes: changes, NextSyncToken: token}); err != nil {
				return err
			}
			alive.Reset(heartbeat)
		}
		sign = false
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		case <-alive.C:
			sign = true
		}
	}
}
