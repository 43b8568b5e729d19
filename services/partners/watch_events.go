package partners

import (
	"google.golang.org/grpc"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/changefeed"
)

// WatchEvents streams events as they are logged.
func (s *eventsServer) WatchEvents(req *partnersv1.WatchEventsRequest, stream grpc.ServerStreamingServer[partnersv1.WatchEventsResponse]) error {
	ctx := stream.Context()
	r, err := s.openLog(ctx, req.GetCursor(), req.GetStartTime(), req.GetTypes(), req.GetSubject(), 0)
	if err != nil {
		return err
	}
	return changefeed.Watch(ctx, s.pulse, r.next, r.token, func(events []*partnersv1.Event, cursor string) error {
		return stream.Send(&partnersv1.WatchEventsResponse{Events: events, NextCursor: cursor})
	})
}
