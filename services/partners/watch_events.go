package partners

import (
	"time"

	"google.golang.org/grpc"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// heartbeat is the time between signs of life of a watch.
const heartbeat = 15 * time.Second

// WatchEvents streams events as they are logged.
func (s *eventsServer) WatchEvents(req *partnersv1.WatchEventsRequest, stream grpc.ServerStreamingServer[partnersv1.WatchEventsResponse]) error {
	ctx := stream.Context()
	r, err := s.openLog(ctx, req.GetCursor(), req.GetStartTime(), req.GetTypes(), req.GetSubject(), 0)
	if err != nil {
		return err
	}
	defer s.pulse.Join(ctx)()
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	for sign := true; ; {
		moved := s.pulse.Next() // before the look, so that nothing falls between the two
		list, more, err := r.next(ctx)
		if err != nil {
			return err
		}
		if len(list) > 0 || sign {
			cursor, err := r.token()
			if err != nil {
				return err
			}
			if err := stream.Send(&partnersv1.WatchEventsResponse{Events: list, NextCursor: cursor}); err != nil {
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
