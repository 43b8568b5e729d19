package partners

import (
	"context"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// ListEvents returns the events after a cursor.
func (s *eventsServer) ListEvents(ctx context.Context, req *partnersv1.ListEventsRequest) (*partnersv1.ListEventsResponse, error) {
	r, err := s.openLog(ctx, req.GetCursor(), req.GetStartTime(), req.GetTypes(), req.GetSubject(), int(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	list, more, err := r.next(ctx)
	if err != nil {
		return nil, err
	}
	cursor, err := r.token()
	if err != nil {
		return nil, err
	}
	return &partnersv1.ListEventsResponse{Events: list, NextCursor: cursor, HasMore: more}, nil
}
